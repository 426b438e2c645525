//! What the end of an operation means: the root causes first.

use aws_sdk_cloudformation::types::StackEvent;

use model::stack_state::{Progress, StackState};

use super::events::{Reader, is_of_stack, state};
use crate::cloud::Cloud;
use crate::deployed::DeployedStack;
use crate::error::{Error, OperationEnd, Result};

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
    let began = events.iter().rposition(|event| is_of_stack(event) && state(event).of_stack().is_begin()).unwrap_or(0);
    let failed = |event: &&StackEvent| state(event).progress() == Progress::Failed && !is_of_stack(event);
    let failures: Vec<StackEvent> = events[began..].iter().filter(failed).cloned().collect();
    Ok(root_causes(&failures))
}

/// What the last state of an operation means.
pub(super) fn outcome(stack: &str, state: StackState, findings: &Findings) -> Result<()> {
    if state.is_success() {
        return Ok(());
    }
    let causes = findings.evidence.iter().cloned().chain(root_causes(&findings.failures)).collect();
    let end = OperationEnd { stack: stack.to_owned(), state, cancelled: findings.cancelled, causes };
    Err(Error::Ended(Box::new(end)))
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

    fn end(state: StackState, findings: &Findings) -> OperationEnd {
        match outcome("s", state, findings) {
            Err(Error::Ended(end)) => *end,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_update_that_was_rolled_back_says_why() {
        let end = end(StackState::UpdateRollbackComplete, &failed(&[failure("B", "broken")]));
        assert!(end.to_string().contains("failed and was rolled back"), "{end}");
        assert_eq!(end.causes, ["B (AWS::ECS::Service): broken"]);
    }

    #[test]
    fn only_the_state_that_was_asked_for_is_no_error() {
        for state in StackState::KNOWN {
            assert_eq!(outcome("s", state.clone(), &Findings::default()).is_ok(), state.is_success(), "{state}");
        }
    }

    #[test]
    fn what_the_tasks_said_comes_before_what_cloudformation_made_of_it() {
        let mut findings = failed(&[failure("BlueService", "Resource handler returned message: timed out")]);
        findings.evidence.push("3 tasks failed; the last one: exit code 3".to_owned());
        let end = end(StackState::UpdateRollbackComplete, &findings);
        assert!(end.causes[0].contains("exit code 3"), "{end:?}");
        assert_eq!(end.causes.len(), 2);
    }

    #[test]
    fn an_update_that_was_cancelled_says_so() {
        let findings = Findings { cancelled: true, ..Findings::default() };
        assert!(end(StackState::UpdateRollbackComplete, &findings).to_string().contains("was cancelled"));
    }
}
