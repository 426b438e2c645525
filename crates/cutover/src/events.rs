//! Sends the outcome of a cutover to the account's event bus, for a rule that sends mail or starts a job. The event is sent
//! only after the outcome is recorded, within a short time, and an error does not affect the run. Must not know who
//! receives the event.
//!
//! | part of the event | value |
//! |---|---|
//! | `source` | `bluegreen` |
//! | `detail-type` | `Blue/green cutover finished` |
//! | `detail` | the record, without the last latencies, plus `stack` (its name) and `summary` (one sentence for people) |
//!
//! Every run that ends `done`, `rolled_back`, `held` or `failed` sends an event. This includes an interrupted run that a
//! later run recovers. A run that ends `refused`, `planned` or `noop` sends none: the caller has the answer. Each event is
//! sent at least once: if the process dies before it releases the lease, the next run sends the event again with the same `id`.

use crate::notifier::TIMEOUT;
use aws::OnlyPermitted;
use aws::error_text;
use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_smithy_types::timeout::TimeoutConfig;
use model::names::EVENT_SOURCE;
use model::request::Op;
use model::{Outcome, Record};
use serde_json::Value;

/// The events' `detail-type`.
pub const DETAIL_TYPE: &str = "Blue/green cutover finished";

/// An event bus.
#[derive(Clone, Debug)]
pub struct EventBus {
    client: Client,
    bus: String,
    stack: String,
}

impl EventBus {
    /// This bus, for the runs of this stack.
    pub fn new(sdk: &SdkConfig, bus: &str, stack: &str) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT / 2).operation_timeout(TIMEOUT).build();
        let config =
            aws_sdk_eventbridge::config::Builder::from(sdk).timeout_config(timeouts).interceptor(OnlyPermitted).build();
        Self { client: Client::from_conf(config), bus: bus.to_owned(), stack: stack.to_owned() }
    }

    /// Sends the event of a run that has ended, if its outcome has one. Logs errors.
    pub async fn notify(&self, record: &Record) {
        let Some(detail) = detail(&self.stack, record) else { return };
        let entry = PutEventsRequestEntry::builder()
            .source(EVENT_SOURCE)
            .detail_type(DETAIL_TYPE)
            .event_bus_name(&self.bus)
            .detail(detail.to_string())
            .build();
        match self.client.put_events().entries(entry).send().await {
            Ok(answer) if answer.failed_entry_count() == 0 => {}
            Ok(answer) => {
                let refused = answer.entries().first().and_then(|entry| entry.error_message());
                tracing::warn!(id = record.id, refused, "the event bus rejected the event");
            }
            Err(error) => {
                let error = error_text(&error);
                tracing::warn!(id = record.id, error, "the event was not sent");
            }
        }
    }
}

/// The `detail` of the event of a run; `None` if the outcome sends no event.
pub fn detail(stack: &str, record: &Record) -> Option<Value> {
    let outcome = record.outcome?;
    if !matches!(outcome, Outcome::Done | Outcome::RolledBack | Outcome::Held | Outcome::Failed) {
        return None;
    }
    let mut record_alone = record.clone();
    if let Some(probes) = &mut record_alone.probes {
        probes.recent_ms.clear();
    }
    // A record contains only texts and numbers, so the conversion to JSON cannot fail.
    let mut detail = serde_json::to_value(record_alone).ok()?;
    detail["stack"] = stack.into();
    detail["summary"] = summary(stack, outcome, record).into();
    Some(detail)
}

fn summary(stack: &str, outcome: Outcome, record: &Record) -> String {
    let what = match record.op {
        Op::Cutover | Op::Plan | Op::Status | Op::Sleep | Op::Abort | Op::Pause | Op::Promote => "The cutover",
        Op::Rollback => "The rollback",
        Op::Reconcile => "The reconciliation",
    };
    let ended = match outcome {
        Outcome::Done => "succeeded",
        Outcome::RolledBack => "failed and was rolled back",
        Outcome::Held => "failed and was held: somebody has to look",
        _ => "failed: somebody has to look",
    };
    let by = record.request.by.as_ref().map(|by| format!(" (asked for by {by})")).unwrap_or_default();
    format!("{what} of stack {stack}{by} {ended}. {}", capitalized(&record.message))
}

fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use model::Request;
    use model::record::ProbeReport;

    fn ended(outcome: Outcome) -> Record {
        let request = Request { by: Some("ada@shell".to_owned()), ..Request::default() };
        let mut record = Record::begin("id".to_owned(), request, Timestamp::UNIX_EPOCH, String::new());
        record.outcome = Some(outcome);
        record.message = "blue is prod and green is dev: 150 probes, 0 failed.".to_owned();
        record.probes = Some(ProbeReport { recent_ms: vec![1.0; 60], ..ProbeReport::default() });
        record
    }

    #[test]
    fn people_read_one_sentence_and_programs_the_record() {
        let detail = detail("shop", &ended(Outcome::Done)).unwrap();
        assert_eq!(
            detail["summary"],
            "The cutover of stack shop (asked for by ada@shell) succeeded. Blue is prod and green is dev: 150 probes, 0 failed."
        );
        assert_eq!(
            (&detail["id"], &detail["outcome"], &detail["stack"]),
            (&"id".into(), &"done".into(), &"shop".into())
        );
        assert_eq!(detail["probes"]["recent_ms"], Value::Array(Vec::new()));
    }

    #[test]
    fn only_runs_that_moved_or_should_have_moved_traffic_send_an_event() {
        for outcome in [Outcome::RolledBack, Outcome::Held, Outcome::Failed] {
            assert!(detail("shop", &ended(outcome)).is_some());
        }
        for outcome in [Outcome::Noop, Outcome::Planned, Outcome::Refused] {
            assert_eq!(detail("shop", &ended(outcome)), None);
        }
        let mut running = ended(Outcome::Done);
        running.outcome = None;
        assert_eq!(detail("shop", &running), None);
    }
}
