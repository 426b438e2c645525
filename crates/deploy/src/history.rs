//! How long operations took before, by the stack's own events: that is what the next one is expected to take. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudformation::types::StackEvent;
use model::stack_state::{Progress, StackState};

use super::events::{is_of_stack, state};

/// How long the last operation took that ended well and changed these resources (and maybe others). `events` are the
/// stack's, the oldest first, as far back as they were read.
pub fn estimate(events: &[StackEvent], resources: &BTreeSet<String>) -> Option<Duration> {
    let mut began: Option<i64> = None;
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    let mut last = None;
    for event in events {
        let at = millis(event);
        if !is_of_stack(event) {
            changed.extend(event.logical_resource_id());
            continue;
        }
        match state(event).of_stack() {
            state if state.is_begin() => {
                began = at;
                changed.clear();
            }
            StackState::CreateComplete | StackState::UpdateComplete => {
                let same = resources.iter().all(|id| changed.contains(id.as_str()));
                if let (Some(began), Some(ended), true) = (began.take(), at, same) {
                    last = u64::try_from(ended - began).ok().map(Duration::from_millis);
                }
            }
            // Nobody waits for the clean-up after an update; a failed operation does not predict the next one.
            state if state.progress() != Progress::InProgress => began = None,
            _ => {}
        }
    }
    last
}

fn millis(event: &StackEvent) -> Option<i64> {
    event.timestamp().and_then(|at| at.to_millis().ok())
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::ResourceStatus;
    use aws_smithy_types::DateTime;

    use super::*;

    fn event(id: &str, status: &str, second: i64) -> StackEvent {
        StackEvent::builder()
            .stack_id("stack")
            .stack_name("s")
            .event_id(format!("{id}{second}"))
            .logical_resource_id(id)
            .physical_resource_id(if id == "s" { "stack" } else { id })
            .resource_status(ResourceStatus::from(status))
            .timestamp(DateTime::from_secs(second))
            .build()
    }

    fn ids(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn the_last_operation_on_the_same_resources_is_the_estimate() {
        let events = [
            event("s", "UPDATE_IN_PROGRESS", 0),
            event("BlueService", "UPDATE_COMPLETE", 80),
            event("s", "UPDATE_COMPLETE", 90),
            event("s", "UPDATE_IN_PROGRESS", 100),
            event("GreenService", "UPDATE_COMPLETE", 101),
            event("s", "UPDATE_COMPLETE", 102),
        ];
        assert_eq!(estimate(&events, &ids(&["BlueService"])), Some(Duration::from_secs(90)));
        assert_eq!(estimate(&events, &ids(&["Cluster"])), None);
    }

    #[test]
    fn an_operation_that_failed_says_nothing() {
        let events = [
            event("s", "UPDATE_IN_PROGRESS", 0),
            event("BlueService", "UPDATE_FAILED", 5),
            event("s", "UPDATE_ROLLBACK_IN_PROGRESS", 6),
            event("s", "UPDATE_ROLLBACK_COMPLETE", 9),
        ];
        assert_eq!(estimate(&events, &ids(&["BlueService"])), None);
    }
}
