//! A cutover as it goes on: one line that is rewritten on a terminal, one line a phase elsewhere, one JSON object a
//! phase for programs.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use ledger::Holder;
use model::{Color, Phase, Record};
use serde_json::{Value, json};

use super::style::{Style, columns, cut};
use crate::commands::cutover::Follower;

/// Bars of the sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Latencies shown.
const SHOWN: usize = 30;

/// What is worth a new line where lines cannot be rewritten: the phase, the new side's share, whether probes failed.
type Stage = (Phase, Option<u8>, bool);

fn stage(record: &Record) -> Stage {
    let failed = record.probes.as_ref().is_some_and(|probes| probes.counts.failed > 0);
    (record.phase, record.weight, failed)
}

/// Shows a cutover on standard error.
#[derive(Debug)]
pub struct CutoverProgress {
    style: Style,
    rewrites: bool,
    stage: Option<Stage>,
    waited: bool,
}

impl CutoverProgress {
    /// A progress display in this style.
    pub fn new(style: Style) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let rewrites = std::io::stderr().is_terminal() && !dumb;
        Self { style, rewrites, stage: None, waited: false }
    }

    /// The state of a run in one line of limited length.
    fn line(style: Style, record: &Record, width: usize) -> String {
        let (text, plain) = (Self::text(style, record), Self::text(Style::PLAIN, record));
        let Some(probes) = &record.probes else { return fitting(text, &plain, width) };
        // As many bars as there is room for.
        let room = width.saturating_sub(columns(&plain) + 1);
        match sparkline(&probes.recent_ms, room.min(SHOWN)) {
            bars if bars.is_empty() => fitting(text, &plain, width),
            bars => format!("{text} {}", style.dim(&bars)),
        }
    }

    fn text(style: Style, record: &Record) -> String {
        let phase = format!("{:<10}", record.phase.as_str());
        let mut line = format!("  {}", style.strong(&phase));
        if let (Some(prod), Some(dev)) = (record.prod, record.dev) {
            let name = |color: Color| style.environment(color, color.as_str());
            let share = record.weight.zip(record.to);
            let share = share.map_or_else(String::new, |(weight, to)| format!(" and {weight} % {}", name(to)));
            line.push_str(&format!(" prod {}{share}, dev {}", name(prod), name(dev)));
        }
        if let Some(probes) = &record.probes {
            let counts = probes.counts;
            let failed = format!("{} failed", counts.failed);
            let failed = if counts.failed == 0 { failed } else { style.bad(&failed) };
            line.push_str(&format!("; {} probes, {failed}", counts.sent));
            if let Some(version) = &record.versions.seen {
                line.push_str(&format!(", version: {version}"));
            }
        }
        line
    }

    /// How long a line may be. One that is longer than the terminal is wide could not be rewritten.
    fn width(&self) -> usize {
        let size = terminal_size::terminal_size_of(std::io::stderr()).filter(|_| self.rewrites);
        size.map_or(usize::MAX, |(width, _)| usize::from(width.0).saturating_sub(1))
    }

    /// Shows a line; elsewhere than on a terminal only one that is worth it.
    fn show(&self, line: &str, worth: bool, last: bool) {
        let mut stderr = std::io::stderr().lock();
        // Nothing can be done about a terminal that takes no more text.
        let _ = if self.rewrites {
            let end = if last { "\n" } else { "" };
            write!(stderr, "\r\x1b[K{line}{end}").and_then(|()| stderr.flush())
        } else if worth {
            writeln!(stderr, "{line}")
        } else {
            Ok(())
        };
    }
}

impl Follower for CutoverProgress {
    fn waiting(&mut self, holder: &Holder) {
        let left = holder.left().as_secs();
        let line = |style: Style| {
            let waiting = style.strong("waiting   ");
            format!(
                "  {waiting} for {} {}: its lease expires in {left} s unless renewed",
                holder.info.purpose, holder.info.holder
            )
        };
        let line = fitting(line(self.style), &line(Style::PLAIN), self.width());
        let first = !std::mem::replace(&mut self.waited, true);
        self.show(&line, first, false);
    }

    fn reconnecting(&mut self) {
        let line = |style: Style| format!("  {} ... the run continues", style.strong("reconnecting"));
        self.show(&fitting(line(self.style), &line(Style::PLAIN), self.width()), true, false);
    }

    fn progress(&mut self, record: &Record) {
        let stage = stage(record);
        let worth = self.stage.replace(stage) != Some(stage);
        self.show(&Self::line(self.style, record, self.width()), worth, record.is_final());
    }
}

/// Tells of a cutover on standard error, one JSON object a line.
#[derive(Debug, Default)]
pub struct JsonProgress {
    stage: Option<Stage>,
    told: Option<Instant>,
}

impl JsonProgress {
    fn object(record: &Record) -> Value {
        let counts = record.probes.as_ref().map(|probes| probes.counts).unwrap_or_default();
        json!({
            "event": "cutover", "id": record.id, "phase": record.phase, "prod": record.prod, "dev": record.dev,
            "weight": record.weight, "sent": counts.sent, "failed": counts.failed, "version": record.versions.seen,
        })
    }
}

impl Follower for JsonProgress {
    fn waiting(&mut self, holder: &Holder) {
        let due = self.told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1));
        if due {
            self.told = Some(Instant::now());
            eprintln!("{}", json!({ "event": "waiting", "for": holder.info }));
        }
    }

    fn reconnecting(&mut self) {
        eprintln!("{}", json!({ "event": "reconnecting" }));
    }

    fn progress(&mut self, record: &Record) {
        let stage = stage(record);
        if self.stage.replace(stage) != Some(stage) {
            eprintln!("{}", Self::object(record));
        }
    }
}

/// The text unchanged if it fits; otherwise truncated and without colors.
fn fitting(text: String, plain: &str, width: usize) -> String {
    if columns(plain) <= width { text } else { cut(plain, width).to_owned() }
}

/// The last latencies as bars, from zero to the highest of them.
fn sparkline(latencies: &[f64], bars: usize) -> String {
    let last = &latencies[latencies.len().saturating_sub(bars)..];
    let highest = last.iter().copied().fold(1.0, f64::max);
    last.iter()
        .map(|latency| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
            let height = (latency.max(0.0) / highest * 7.0).round() as usize;
            BARS[height.min(BARS.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::record::{ProbeCounts, ProbeReport};
    use model::request::Request;

    use super::*;

    fn record() -> Record {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        record.phase = Phase::Verify;
        record.prod = Some(Color::Blue);
        record.dev = Some(Color::Green);
        record
    }

    #[test]
    fn the_highest_latency_has_the_highest_bar() {
        assert_eq!(sparkline(&[1.0, 10.0, 100.0], 30), "▁▂█");
        assert_eq!(sparkline(&[], 30), "");
    }

    #[test]
    fn a_line_says_phase_and_traffic() {
        assert_eq!(CutoverProgress::line(Style::PLAIN, &record(), 80), "  verify     prod blue, dev green");
    }

    #[test]
    fn a_line_is_never_longer_than_the_terminal_is_wide() {
        let mut record = record();
        record.probes = Some(ProbeReport { recent_ms: vec![1.0; 60], ..ProbeReport::default() });
        let line = |width| CutoverProgress::line(Style::PLAIN, &record, width);
        assert_eq!(line(79).chars().filter(|it| BARS.contains(it)).count(), 25);
        assert_eq!(line(200).chars().filter(|it| BARS.contains(it)).count(), SHOWN);
        for width in [10, 40, 52, 53, 54, 55, 79] {
            assert!(columns(&line(width)) <= width, "{width}: {}", line(width));
        }
        record.versions.seen = Some("第二版".to_owned());
        let line = |width| CutoverProgress::line(Style::PLAIN, &record, width);
        for width in 10..90 {
            assert!(columns(&line(width)) <= width, "{width}: {}", line(width));
        }
    }

    #[test]
    fn a_shift_says_the_share_of_the_new_side() {
        let mut record = record();
        (record.phase, record.weight) = (Phase::Shift, Some(10));
        (record.prod, record.to) = (Some(Color::Green), Some(Color::Blue));
        record.versions.seen = Some("1".to_owned());
        let counts = ProbeCounts { sent: 42, failed: 1, ..ProbeCounts::default() };
        record.probes = Some(ProbeReport { counts, recent_ms: vec![1.0, 7.0], ..ProbeReport::default() });
        assert_eq!(
            CutoverProgress::line(Style::PLAIN, &record, 120),
            "  shift      prod green and 10 % blue, dev green; 42 probes, 1 failed, version: 1 ▂█"
        );
        assert_eq!(JsonProgress::object(&record)["weight"], 10);
    }
}
