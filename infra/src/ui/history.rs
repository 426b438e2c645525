//! The history of runs as a table, and the evidence of a finished run.

use std::fmt::Write as _;
use std::time::Duration;

use model::Record;
use model::record::{AddressLag, ProbeReport};

use super::{Style, runs};
use crate::report::facts::lag_summary;
use crate::report::verdict::is_whole;

/// A lag of the load balancer below this is normal and not shown.
const NOTEWORTHY_LAG_MS: u64 = 2000;

/// Runs, one per line: time, environments, outcome, probe results, id, and caller.
pub fn history(runs: &[Record], style: Style) -> String {
    let head =
        format!("{}  {:>8}  {:>9}  {:>9}  {:>8}  {:<36}  {}", runs::heads(), "err ≤", "p50", "p99", "took", "id", "by");
    let mut text = format!("{}\n", style.dim(head.trim_end()));
    for run in runs {
        let latency = runs::latency(run);
        let bound = run.probes.as_ref().filter(|_| is_whole(run)).and_then(|probes| probes.bound95);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}  {:>8}  {:>9}  {:>9}  {:>8}  {:<36}  {}",
            runs::columns(run, style),
            bound.map_or_else(|| "-".to_owned(), percent),
            runs::ms(latency.p50),
            runs::ms(latency.p99),
            took(Duration::from_millis(run.duration_ms)),
            run.id,
            run.request.by.as_deref().unwrap_or("-"),
        );
    }
    if !runs.is_empty() {
        let legend =
            "err ≤: upper bound of the request error rate, 95 % confidence. p50, p99: latency while traffic moved.";
        let _ = writeln!(text, "{}", style.dim(legend));
    }
    text
}

/// The confidence of a run's verdict and the latency for users, as lines below its message.
pub fn evidence(record: &Record) -> String {
    let Some(probes) = &record.probes else { return String::new() };
    let mut text = String::new();
    if let Some(bound) = probes.bound95.filter(|_| is_whole(record)) {
        let counts = probes.counts;
        let rule = if counts.failed == 0 { "rule of three" } else { "Clopper-Pearson" };
        let _ = writeln!(
            text,
            "  error rate: less than {}, 95 % confidence ({} of {} probes failed; {rule})",
            percent(bound),
            counts.failed,
            counts.due
        );
    }
    let _ = writeln!(text, "  latency: {}", latencies(probes));
    if let Some(first) = probes.first_new_ms {
        let flips = match probes.flip_flops {
            0 => "no response of the old version after that".to_owned(),
            flips => format!("{flips} responses of the old version after a response of the new version"),
        };
        let _ = writeln!(text, "  first response of the new version {:.1} s after the start; {flips}", seconds(first));
    }
    let slow = |lag: &&AddressLag| lag.followed_ms.is_none_or(|ms| ms > NOTEWORTHY_LAG_MS);
    for (way, lag) in [("", &probes.lag), (" during the rollback", &probes.lag_back)] {
        if lag.iter().any(|lag| slow(&lag)) {
            let _ = writeln!(text, "  slow load balancer{way}: {}", lag_summary(lag));
        }
    }
    if probes.counts.late > 0 {
        let _ = writeln!(text, "  {} probes were sent more than 10 ms late", probes.counts.late);
    }
    text
}

fn latencies(probes: &ProbeReport) -> String {
    let groups = [("before", probes.before), ("during", probes.during), ("after", probes.after)];
    let reported = groups
        .iter()
        .filter_map(|(name, group)| Some(format!("{name} p50 {:.1} ms, p99 {:.1} ms", group.p50?, group.p99?)));
    let reported: Vec<_> = reported.collect();
    if reported.is_empty() { "no probe got a response".to_owned() } else { reported.join("; ") }
}

/// A rate in percent, with as many digits as say something.
fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent < 1.0 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

fn took(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        whole => format!("{}m {:02}s", whole / 60, whole % 60),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run, far below 2^52")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use model::Color;
    use model::record::{Percentiles, ProbeCounts};
    use model::request::{Op, Request};
    use model::{Outcome, Phase};

    use super::*;

    fn run(op: Op, outcome: Option<Outcome>, failed: u32) -> Record {
        let request = Request { op, by: Some("ada@shell".to_owned()), ..Request::default() };
        let mut run = Record::begin("x".to_owned(), request, "2026-11-23T10:00:00Z".parse().unwrap(), String::new());
        run.outcome = outcome;
        run.phase = Phase::Done;
        (run.from, run.to) = (Some(Color::Green), Some(Color::Blue));
        run.duration_ms = 16_240;
        let latency = |p50, p99| Percentiles { count: 9, p50: Some(p50), p99: Some(p99), ..Percentiles::default() };
        run.probes = Some(ProbeReport {
            counts: ProbeCounts { due: 150, sent: 150, ok: 150 - failed, failed, late: failed },
            before: latency(4.0, 9.0),
            during: latency(4.1, 12.34),
            bound95: Some(if failed == 0 { 0.02 } else { 0.0511 }),
            first_new_ms: (failed == 0).then_some(2150),
            ..ProbeReport::default()
        });
        run
    }

    #[test]
    fn the_history_has_a_line_for_every_run() {
        let mut short = run(Op::Reconcile, None, 0);
        short.probes = None;
        short.request.by = None;
        short.duration_ms = 75_000;
        let runs = [run(Op::Cutover, Some(Outcome::Done), 0), run(Op::Rollback, Some(Outcome::RolledBack), 3), short];
        insta::assert_snapshot!(history(&runs, Style::PLAIN));
    }

    #[test]
    fn a_run_that_writes_no_more_is_not_shown_as_running() {
        let mut silent = run(Op::Cutover, None, 0);
        assert!(history(std::slice::from_ref(&silent), Style::PLAIN).contains("  running  "));
        silent.interrupted = true;
        let text = history(&[silent], Style::PLAIN);
        assert!(text.contains("  interrupted  ") && !text.contains("running"), "{text}");
    }

    #[test]
    fn the_verdict_says_how_sure_it_is_where_every_probe_was_sent() {
        insta::assert_snapshot!(evidence(&run(Op::Cutover, Some(Outcome::Done), 0)), @r"
          error rate: less than 2.0 %, 95 % confidence (0 of 150 probes failed; rule of three)
          latency: before p50 4.0 ms, p99 9.0 ms; during p50 4.1 ms, p99 12.3 ms
          first response of the new version 2.1 s after the start; no response of the old version after that
        ");
        insta::assert_snapshot!(evidence(&run(Op::Cutover, Some(Outcome::Done), 3)), @r"
          error rate: less than 5.1 %, 95 % confidence (3 of 150 probes failed; Clopper-Pearson)
          latency: before p50 4.0 ms, p99 9.0 ms; during p50 4.1 ms, p99 12.3 ms
          3 probes were sent more than 10 ms late
        ");
        // A run that stopped at a failure knows no rate.
        insta::assert_snapshot!(evidence(&run(Op::Cutover, Some(Outcome::RolledBack), 3)), @r"
          latency: before p50 4.0 ms, p99 9.0 ms; during p50 4.1 ms, p99 12.3 ms
          3 probes were sent more than 10 ms late
        ");
    }
}
