//! What the end of an operation means: the root causes first, and what to do next.

use aws_sdk_cloudformation::types::StackEvent;

use super::events::Reader;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Error, Kind, Result};

/// How many root causes are named; the rest follow from them as a rule.
const CAUSES_NAMED: usize = 3;

/// What was found out about an operation.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What CloudFormation could not do.
    pub(super) failures: Vec<StackEvent>,
    /// What the tasks and the load balancer said, the root causes.
    pub(super) evidence: Vec<String>,
    /// Whether its cancellation was requested.
    pub(super) cancelled: bool,
}

/// Why the stack's last operation failed, the root causes first; as far as its newest events say.
pub async fn why_it_failed(cloud: &Cloud, stack: &DeployedStack) -> Result<Vec<String>> {
    let (_, events) = Reader::from_now(cloud, &stack.id).await?;
    let begins = |event: &StackEvent| {
        let status = event.resource_status().map_or("", |status| status.as_str());
        event.physical_resource_id() == event.stack_id()
            && ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"].contains(&status)
    };
    let began = events.iter().rposition(begins).unwrap_or(0);
    let failed = |event: &&StackEvent| {
        let failed = event.resource_status().is_some_and(|status| status.as_str().ends_with("_FAILED"));
        failed && event.physical_resource_id() != event.stack_id()
    };
    let failures: Vec<StackEvent> = events[began..].iter().filter(failed).cloned().collect();
    Ok(root_causes(&failures))
}

/// What the last status of an operation means.
pub(super) fn outcome(stack: &str, status: &str, findings: &Findings) -> Result<()> {
    let error = match status {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE" | "IMPORT_COMPLETE" => return Ok(()),
        "UPDATE_ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!(
                "the update of stack {stack} {} and was rolled back: the previous state is restored",
                if findings.cancelled { "was cancelled" } else { "failed" }
            ),
        )
        .hint("fix the cause, and run the command again"),
        "ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!("the creation of stack {stack} failed and was rolled back: none of its resources run"),
        )
        .hint("fix the cause, and run the command again: it deletes the empty stack first"),
        "DELETE_FAILED" => Error::failed(format!("stack {stack} could not be deleted completely"))
            .hint("remove what uses the resources named above, and run bluegreen destroy again"),
        "UPDATE_ROLLBACK_FAILED" => {
            Error::failed(format!("the update of stack {stack} failed, and its rollback failed too"))
                .hint("repair the resources named above, and run the command again: it continues the rollback")
                .hint("if a resource cannot be repaired, pass --skip with its logical id, and restore it manually")
        }
        other => Error::failed(format!("stack {stack} ended in {other}"))
            .hint("run the command again: it continues from this state"),
    };
    let causes = findings.evidence.iter().cloned().chain(root_causes(&findings.failures));
    Err(causes.fold(error, Error::because))
}

/// The first failures that are not only the consequence of another one.
fn root_causes(failures: &[StackEvent]) -> Vec<String> {
    let cause = |event: &StackEvent| {
        let id = event.logical_resource_id().unwrap_or("?");
        let kind = event.resource_type().unwrap_or("?");
        format!("{id} ({kind}): {}", event.resource_status_reason().unwrap_or("no reason given"))
    };
    let is_root = |event: &&StackEvent| {
        !event.resource_status_reason().is_some_and(|reason| reason.to_lowercase().contains("cancelled"))
    };
    failures.iter().filter(is_root).take(CAUSES_NAMED).map(cause).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::ResourceStatus;

    use super::*;

    fn failure(id: &str, reason: &str) -> StackEvent {
        StackEvent::builder()
            .stack_id("stack")
            .event_id(id)
            .stack_name("s")
            .logical_resource_id(id)
            .resource_type("AWS::ECS::Service")
            .resource_status(ResourceStatus::CreateFailed)
            .resource_status_reason(reason)
            .timestamp(aws_smithy_types::DateTime::from_secs(0))
            .build()
    }

    fn failed(failures: &[StackEvent]) -> Findings {
        Findings { failures: failures.to_vec(), ..Findings::default() }
    }

    #[test]
    fn the_root_cause_is_the_first_failure_that_is_not_a_cancellation() {
        let failures = [
            failure("A", "Resource creation cancelled"),
            failure("B", "Circuit breaker triggered"),
            failure("C", "Resource creation cancelled"),
        ];
        assert_eq!(root_causes(&failures), ["B (AWS::ECS::Service): Circuit breaker triggered"]);
    }

    #[test]
    fn an_update_that_was_taken_back_is_told_as_rolled_back() {
        let error = outcome("s", "UPDATE_ROLLBACK_COMPLETE", &failed(&[failure("B", "broken")])).unwrap_err();
        assert_eq!(error.kind(), Kind::RolledBack);
        assert_eq!(error.causes(), ["B (AWS::ECS::Service): broken"]);
    }

    #[test]
    fn a_complete_update_is_no_error() {
        assert!(outcome("s", "UPDATE_COMPLETE", &Findings::default()).is_ok());
    }

    #[test]
    fn what_the_tasks_said_comes_before_what_cloudformation_made_of_it() {
        let mut findings = failed(&[failure("BlueService", "Resource handler returned message: timed out")]);
        findings.evidence.push("3 tasks failed; the last one: exit code 3".to_owned());
        let error = outcome("s", "UPDATE_ROLLBACK_COMPLETE", &findings).unwrap_err();
        assert!(error.causes()[0].contains("exit code 3"), "{:?}", error.causes());
        assert_eq!(error.causes().len(), 2);
    }

    #[test]
    fn an_update_that_was_cancelled_says_so() {
        let findings = Findings { cancelled: true, ..Findings::default() };
        let error = outcome("s", "UPDATE_ROLLBACK_COMPLETE", &findings).unwrap_err();
        assert!(error.message().contains("cancelled"), "{}", error.message());
        assert_eq!(error.kind(), Kind::RolledBack);
    }

    #[test]
    fn every_end_of_an_operation_has_a_hint() {
        for status in [
            "UPDATE_ROLLBACK_COMPLETE",
            "ROLLBACK_COMPLETE",
            "DELETE_FAILED",
            "UPDATE_ROLLBACK_FAILED",
            "UPDATE_FAILED",
        ] {
            let error = outcome("s", status, &Findings::default()).unwrap_err();
            assert!(!error.hints().is_empty(), "{status}");
        }
    }
}
