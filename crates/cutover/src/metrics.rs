//! A finished run as one log line in CloudWatch's embedded metric format: the log group turns it into metrics, without an
//! API call. Must not know who reads them.
//!
//! | metric in [`NAMESPACE`] | unit | meaning |
//! |---|---|---|
//! | `Runs` | count | 1 for every finished run, a refused one included |
//! | `FailedOrHeld` | count | 1 if traffic may be in the wrong place and a person has to look: the metric for an alarm |
//! | `Unsuccessful` | count | 1 if the run was rolled back, held, or failed; a refused run is 0 |
//! | `FailedProbes` | count | probes of prod that failed |
//! | `LatencyP99` | milliseconds | of the probes after the swap, or during it if there are none after; absent without probes |
//! | `Duration` | milliseconds | from beginning to end |
//!
//! Each metric has the dimension `Stack` (the stack's name), and a second time the three `Stack`, `Operation` (`cutover`, `rollback`,
//! `reconcile`, `plan`) and `Outcome` (as in records). An alarm needs only `Stack`.

use model::Record;
use model::record::ProbeReport;
use serde_json::{Value, json};

/// Namespace of the metrics.
pub const NAMESPACE: &str = "BlueGreen/Cutover";
/// 1 for every finished run.
pub const RUNS: &str = "Runs";
/// 1 if a run was held or failed.
pub const FAILED_OR_HELD: &str = "FailedOrHeld";
/// 1 if a run was rolled back, held, or failed.
pub const UNSUCCESSFUL: &str = "Unsuccessful";
/// Probes of prod that failed.
pub const FAILED_PROBES: &str = "FailedProbes";
/// 99th percentile of the latency of the probes after the swap, in milliseconds.
pub const LATENCY_P99: &str = "LatencyP99";
/// Milliseconds from beginning to end.
pub const DURATION: &str = "Duration";
/// The dimension of every metric: the name of the stack.
pub const STACK: &str = "Stack";

/// The log line of a finished run of this stack; `None` if the run is in progress.
pub fn log_line(stack: &str, record: &Record) -> Option<Value> {
    use model::Outcome::{Failed, Held, RolledBack};
    let outcome = record.outcome?;
    let finished = record.finished?;
    let probes = record.probes.as_ref();
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    let mut metrics = vec![
        metric(RUNS, "Count"),
        metric(FAILED_OR_HELD, "Count"),
        metric(UNSUCCESSFUL, "Count"),
        metric(FAILED_PROBES, "Count"),
        metric(DURATION, "Milliseconds"),
    ];
    let p99 = probes.and_then(p99);
    if p99.is_some() {
        metrics.push(metric(LATENCY_P99, "Milliseconds"));
    }
    let mut line = json!({
        "_aws": {
            "Timestamp": finished.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [[STACK], [STACK, "Operation", "Outcome"]],
                "Metrics": metrics,
            }],
        },
        STACK: stack,
        "Operation": record.op,
        "Outcome": outcome,
        "RunId": record.id,
        RUNS: 1,
        FAILED_OR_HELD: u8::from(matches!(outcome, Held | Failed)),
        UNSUCCESSFUL: u8::from(matches!(outcome, RolledBack | Held | Failed)),
        FAILED_PROBES: probes.map_or(0, |probes| probes.counts.failed),
        DURATION: record.duration_ms,
    });
    if let Some(p99) = p99 {
        line[LATENCY_P99] = p99.into();
    }
    Some(line)
}

fn p99(probes: &ProbeReport) -> Option<f64> {
    probes.after.p99.or(probes.during.p99)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use model::record::Percentiles;
    use model::{Outcome, Request};

    fn finished(outcome: Outcome) -> Record {
        let mut record = Record::begin("id".to_owned(), Request::default(), Timestamp::UNIX_EPOCH, String::new());
        record.outcome = Some(outcome);
        record.finished = Some(Timestamp::UNIX_EPOCH);
        record
    }

    #[test]
    fn every_metric_and_dimension_that_is_declared_has_a_value() {
        let mut record = finished(Outcome::RolledBack);
        let during = Percentiles { count: 1, p99: Some(12.5), ..Percentiles::default() };
        record.probes = Some(ProbeReport { during, ..ProbeReport::default() });
        let line = log_line("shop", &record).unwrap();
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Metrics"].as_array().unwrap().len(), 6);
        for metric in declared["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        for dimension in declared["Dimensions"][1].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
        assert_eq!((&line["Stack"], &line["LatencyP99"]), (&json!("shop"), &json!(12.5)));
    }

    #[test]
    fn a_run_that_continues_has_no_metrics_yet() {
        let record = Record::begin("id".to_owned(), Request::default(), Timestamp::UNIX_EPOCH, String::new());
        assert_eq!(log_line("shop", &record), None);
    }

    #[test]
    fn only_what_needs_a_person_is_alarming() {
        for (outcome, failed_or_held, unsuccessful) in [
            (Outcome::Done, 0, 0),
            (Outcome::Refused, 0, 0),
            (Outcome::RolledBack, 0, 1),
            (Outcome::Held, 1, 1),
            (Outcome::Failed, 1, 1),
        ] {
            let line = log_line("shop", &finished(outcome)).unwrap();
            assert_eq!((&line[FAILED_OR_HELD], &line[UNSUCCESSFUL]), (&json!(failed_or_held), &json!(unsuccessful)));
            assert!(line.get(LATENCY_P99).is_none(), "no latency without probes");
        }
    }
}
