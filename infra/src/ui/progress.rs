//! A run of the cutover function in one line: on a terminal the line is rewritten, elsewhere each change that matters is one
//! line, and one event for programs.

use std::time::{Duration, Instant};

use deploy::EventKind;
use model::lease::LeaseInfo;
use model::{Color, Phase, Record};

use super::style::{Style, columns, cut};

/// Bars of the sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Latencies shown.
const SHOWN: usize = 30;

/// The pause between two events of a wait.
const WAITING_EVERY: Duration = Duration::from_secs(1);

/// What is worth a new line where lines cannot be rewritten: the phase, the new side's share, whether probes failed.
type Stage = (Phase, Option<u8>, bool);

fn stage(record: &Record) -> Stage {
    let failed = record.probes.as_ref().is_some_and(|probes| probes.counts.failed > 0);
    (record.phase, record.weight, failed)
}

/// Decides which events of a run get a line.
#[derive(Debug, Default)]
pub(super) struct RunProgress {
    stage: Option<Stage>,
    waiting: Option<Instant>,
    waited: bool,
}

/// The line of an event about a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RunLine {
    /// The text, not longer than the width.
    pub(super) text: String,
    /// Whether it is worth a line where lines cannot be rewritten.
    pub(super) is_news: bool,
    /// Whether the run is over.
    pub(super) is_last: bool,
}

impl RunProgress {
    /// The line of an event about a run; none for any other event.
    pub(super) fn line(&mut self, event: &EventKind, style: Style, width: usize) -> Option<RunLine> {
        let (text, is_news, is_last) = match event {
            EventKind::Waiting { holder, left } => {
                let text = fitting(waiting(style, holder, *left), &waiting(Style::PLAIN, holder, *left), width);
                (text, !std::mem::replace(&mut self.waited, true), false)
            }
            EventKind::Reconnecting => {
                let text = |style: Style| format!("  {} ... the run continues", style.strong("reconnecting"));
                (fitting(text(style), &text(Style::PLAIN), width), true, false)
            }
            EventKind::Run(record) => {
                let stage = stage(record);
                let is_news = self.stage.replace(stage) != Some(stage);
                (Self::run(style, record, width), is_news, record.is_final())
            }
            _ => return None,
        };
        Some(RunLine { text, is_news, is_last })
    }

    /// Whether programs should read this event: a run each time that its stage changes, and a wait once a second.
    pub(super) fn is_due(&mut self, event: &EventKind) -> bool {
        match event {
            EventKind::Waiting { .. } => {
                let due = self.waiting.is_none_or(|last| last.elapsed() >= WAITING_EVERY);
                if due {
                    self.waiting = Some(Instant::now());
                }
                due
            }
            EventKind::Run(record) => {
                let stage = stage(record);
                self.stage.replace(stage) != Some(stage)
            }
            _ => true,
        }
    }

    /// The state of a run in one line of limited length.
    fn run(style: Style, record: &Record, width: usize) -> String {
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
}

fn waiting(style: Style, holder: &LeaseInfo, left: Duration) -> String {
    let LeaseInfo { purpose, holder, .. } = holder;
    let waiting = style.strong("waiting   ");
    format!("  {waiting} for {purpose} {holder}: its lease expires in {} s unless renewed", left.as_secs())
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
        assert_eq!(RunProgress::run(Style::PLAIN, &record(), 80), "  verify     prod blue, dev green");
    }

    #[test]
    fn a_line_is_never_longer_than_the_terminal_is_wide() {
        let mut record = record();
        record.probes = Some(ProbeReport { recent_ms: vec![1.0; 60], ..ProbeReport::default() });
        let line = |width| RunProgress::run(Style::PLAIN, &record, width);
        assert_eq!(line(79).chars().filter(|it| BARS.contains(it)).count(), 25);
        assert_eq!(line(200).chars().filter(|it| BARS.contains(it)).count(), SHOWN);
        for width in [10, 40, 52, 53, 54, 55, 79] {
            assert!(columns(&line(width)) <= width, "{width}: {}", line(width));
        }
        record.versions.seen = Some("第二版".to_owned());
        let line = |width| RunProgress::run(Style::PLAIN, &record, width);
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
            RunProgress::run(Style::PLAIN, &record, 120),
            "  shift      prod green and 10 % blue, dev green; 42 probes, 1 failed, version: 1 ▂█"
        );
    }

    #[test]
    fn only_a_change_of_stage_is_worth_a_line_or_an_event() {
        let mut record = record();
        let (mut lines, mut events) = (RunProgress::default(), RunProgress::default());
        let mut seen = |record: &Record| {
            let event = EventKind::Run(Box::new(record.clone()));
            let line = lines.line(&event, Style::PLAIN, 80).unwrap();
            (line.is_news, events.is_due(&event))
        };
        assert_eq!(seen(&record), (true, true));
        assert_eq!(seen(&record), (false, false));
        record.weight = Some(50);
        assert_eq!(seen(&record), (true, true));
        let counts = ProbeCounts { sent: 9, failed: 1, ..ProbeCounts::default() };
        record.probes = Some(ProbeReport { counts, ..ProbeReport::default() });
        assert_eq!(seen(&record), (true, true), "the first failed probe");
        assert!(lines.line(&EventKind::Note { text: String::new() }, Style::PLAIN, 80).is_none());
    }

    #[test]
    fn a_wait_says_who_is_waited_for_and_how_long_at_most() {
        let text = r#"{"holder":"d1","purpose":"deployment","since":"2026-11-23T10:00:00Z","expires":"2026-11-23T10:00:00Z","released":false,"writer":"w"}"#;
        let holder: LeaseInfo = serde_json::from_str(text).unwrap();
        let event = EventKind::Waiting { holder, left: Duration::from_secs(12) };
        let mut progress = RunProgress::default();
        let line = progress.line(&event, Style::PLAIN, 200).unwrap();
        assert!(line.is_news && line.text.contains("deployment d1") && line.text.contains("12 s"), "{line:?}");
        assert!(!progress.line(&event, Style::PLAIN, 200).unwrap().is_news);
    }
}
