//! A finished run as one log line in CloudWatch's embedded metric format: the log group makes metrics of it, without a
//! call to anybody. Must not know who reads them.

use crate::Record;
use serde_json::{Value, json};

/// The metrics' namespace.
pub const NAMESPACE: &str = "BlueGreen/Cutover";

/// The log line of a finished run; none for one that still runs. Units: counts,
/// and milliseconds. An alarm on `Unsuccessful` tells of rolled back, held and failed cutovers; a refusal is the caller's
/// affair.
pub fn log_line(record: &Record) -> Option<Value> {
    use crate::Outcome::{Failed, Held, RolledBack};
    let outcome = record.outcome?;
    let finished = record.finished?;
    let probes = record.probes.as_ref();
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    Some(json!({
        "_aws": {
            "Timestamp": finished.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["Operation"], ["Operation", "Outcome"]],
                "Metrics": [
                    metric("Runs", "Count"),
                    metric("Unsuccessful", "Count"),
                    metric("FailedProbes", "Count"),
                    metric("LatencyP99", "Milliseconds"),
                    metric("Duration", "Milliseconds"),
                ],
            }],
        },
        "Operation": record.op,
        "Outcome": outcome,
        "RunId": record.id,
        "Runs": 1,
        "Unsuccessful": u8::from(matches!(outcome, RolledBack | Held | Failed)),
        "FailedProbes": probes.map_or(0, |probes| probes.counts.failed),
        "LatencyP99": probes.and_then(|probes| probes.after.p99.or(probes.during.p99)).unwrap_or(0.0),
        "Duration": record.duration_ms,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Request};
    use jiff::Timestamp;

    #[test]
    fn every_metric_that_is_declared_has_a_value() {
        let mut record = Record::begin("id".to_owned(), Request::default(), Timestamp::UNIX_EPOCH, String::new());
        assert_eq!(log_line(&record), None);
        record.outcome = Some(Outcome::RolledBack);
        record.finished = Some(Timestamp::UNIX_EPOCH);
        let line = log_line(&record).unwrap();
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in declared["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        for dimension in declared["Dimensions"][1].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
        assert_eq!(line["Unsuccessful"], 1);
    }
}
