//! A cutover as it goes on: one line that is rewritten on a terminal, one line a phase elsewhere.

use std::io::{IsTerminal as _, Write as _};

use cutover_lambda::{Phase, Record};

use super::Style;
use crate::commands::cutover::Follower;

/// Bars of the sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Latencies shown.
const SHOWN: usize = 30;

/// Shows a cutover on standard error.
#[derive(Debug)]
pub struct CutoverProgress {
    style: Style,
    rewrites: bool,
    phase: Option<Phase>,
}

impl CutoverProgress {
    /// A progress display in this style.
    pub fn new(style: Style) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { style, rewrites: std::io::stderr().is_terminal() && !dumb, phase: None }
    }

    /// The state of a run in one line.
    pub fn line(style: Style, record: &Record) -> String {
        let phase = format!("{:<10}", record.phase.as_str());
        let mut line = format!("  {}", style.strong(&phase));
        if let (Some(prod), Some(dev)) = (record.prod, record.dev) {
            let prod = style.environment(prod, prod.as_str());
            let dev = style.environment(dev, dev.as_str());
            line.push_str(&format!(" prod {prod}, dev {dev}"));
        }
        if let Some(probes) = &record.probes {
            let counts = probes.counts;
            let failed = format!("{} failed", counts.failed);
            let failed = if counts.failed == 0 { failed } else { style.bad(&failed) };
            line.push_str(&format!("; {} probes, {failed}", counts.sent));
            if let Some(version) = &record.versions.seen {
                line.push_str(&format!(", answers: {version}"));
            }
            line.push_str(&format!(" {}", style.dim(&sparkline(&probes.recent_ms))));
        }
        line
    }
}

impl Follower for CutoverProgress {
    fn progress(&mut self, record: &Record) {
        let line = Self::line(self.style, record);
        let new_phase = self.phase != Some(record.phase);
        self.phase = Some(record.phase);
        let mut stderr = std::io::stderr().lock();
        // Nothing can be done about a terminal that takes no more text.
        let _ = if self.rewrites {
            let end = if record.is_final() { "\n" } else { "" };
            write!(stderr, "\r\x1b[K{line}{end}").and_then(|()| stderr.flush())
        } else if new_phase {
            writeln!(stderr, "{line}")
        } else {
            Ok(())
        };
    }
}

/// Latencies as bars, from nothing to the highest of them.
fn sparkline(latencies: &[f64]) -> String {
    let last = &latencies[latencies.len().saturating_sub(SHOWN)..];
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
    use cutover_lambda::color::Color;
    use cutover_lambda::request::Request;

    use super::*;

    #[test]
    fn the_highest_latency_has_the_highest_bar() {
        assert_eq!(sparkline(&[1.0, 10.0, 100.0]), "▁▂█");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn a_line_says_phase_and_traffic() {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        record.phase = Phase::Verify;
        record.prod = Some(Color::Blue);
        record.dev = Some(Color::Green);
        assert_eq!(CutoverProgress::line(Style::PLAIN, &record), "  verify     prod blue, dev green");
    }
}
