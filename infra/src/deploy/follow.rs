//! Follows an operation of a stack through its events to its end, and finds the root cause of a failure.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_cloudformation::types::StackEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::event::{Event, Listener};
use super::poll::Poll;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Calling, Error, Kind, Result};

/// How many root causes are named; the rest follow from them as a rule.
const CAUSES_NAMED: usize = 3;

/// Reads a stack's events, each once.
struct Reader<'a> {
    cloud: &'a Cloud,
    stack_id: String,
    seen: HashSet<String>,
}

impl<'a> Reader<'a> {
    /// A reader to which everything up to now is old.
    async fn from_now(cloud: &'a Cloud, stack_id: &str) -> Result<Self> {
        let mut reader = Self { cloud, stack_id: stack_id.to_owned(), seen: HashSet::new() };
        reader.new_events().await?;
        Ok(reader)
    }

    /// What is new, the oldest first.
    async fn new_events(&mut self) -> Result<Vec<StackEvent>> {
        let mut pages =
            self.cloud.cloudformation.describe_stack_events().stack_name(&self.stack_id).into_paginator().send();
        let mut new = Vec::new();
        'pages: while let Some(page) = pages.next().await {
            let page = match page {
                // A stack whose first change set was never executed has no events, nor has one that is gone.
                Err(error) if error.code() == Some("ValidationError") => break,
                other => other.calling(|| format!("read the events of {}", self.stack_id))?,
            };
            for event in page.stack_events() {
                // Pages go back in time: from the first known event on, everything is known.
                if !self.seen.insert(event.event_id().unwrap_or_default().to_owned()) {
                    break 'pages;
                }
                new.push(event.clone());
            }
        }
        new.reverse();
        Ok(new)
    }
}

/// Runs `begin` and follows what it began on the stack to its end. Told are events of the resources `expected` to
/// change, and failures of any.
///
/// The error of an operation that failed names the root causes and says what state the stack is in now.
pub async fn follow_operation<F>(
    cloud: &Cloud,
    stack: &DeployedStack,
    expected: &BTreeSet<String>,
    listener: &dyn Listener,
    begin: F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let mut reader = Reader::from_now(cloud, &stack.id).await?;
    begin.await?;
    let mut failures = Vec::new();
    let mut poll = Poll::default();
    loop {
        let events = reader.new_events().await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            let status = event.resource_status().map_or("", |status| status.as_str());
            let of_stack = event.physical_resource_id() == event.stack_id();
            let failed = status.ends_with("_FAILED");
            if of_stack || failed || event.logical_resource_id().is_some_and(|id| expected.contains(id)) {
                tell(listener, &event);
            }
            if !of_stack && failed {
                failures.push(event);
            } else if of_stack && !status.ends_with("_IN_PROGRESS") {
                return outcome(&stack.name, status, &failures);
            }
        }
        poll.wait().await;
    }
}

/// Follows the deletion of a stack to its end.
pub async fn follow_deletion<F>(cloud: &Cloud, stack: &DeployedStack, listener: &dyn Listener, begin: F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let mut reader = Reader::from_now(cloud, &stack.id).await?;
    begin.await?;
    let mut failures = Vec::new();
    let mut poll = Poll::default();
    loop {
        let events = reader.new_events().await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            tell(listener, &event);
            let failed = event.resource_status().is_some_and(|status| status.as_str() == "DELETE_FAILED");
            if failed && event.physical_resource_id() != event.stack_id() {
                failures.push(event);
            }
        }
        // Events of a stack that is gone may be unreadable, so the stack itself is asked.
        match DeployedStack::find(cloud, &stack.name).await? {
            Some(now) if now.id == stack.id && now.status == "DELETE_FAILED" => {
                return outcome(&stack.name, &now.status, &failures);
            }
            Some(now) if now.id == stack.id && now.status != "DELETE_COMPLETE" => poll.wait().await,
            _ => return Ok(()),
        }
    }
}

/// Waits until an operation that somebody else began on the stack is over, and returns the stack then.
pub async fn settle(cloud: &Cloud, mut stack: DeployedStack, listener: &dyn Listener) -> Result<Option<DeployedStack>> {
    if !stack.in_progress() {
        return Ok(Some(stack));
    }
    listener.note(format!("stack {} is in {}: following that operation first", stack.name, stack.status));
    let mut reader = Reader::from_now(cloud, &stack.id).await?;
    let mut poll = Poll::default();
    loop {
        poll.wait().await;
        for event in reader.new_events().await? {
            poll.progress();
            tell(listener, &event);
        }
        match DeployedStack::find(cloud, &stack.name).await? {
            None => return Ok(None),
            Some(now) => stack = now,
        }
        if !stack.in_progress() {
            return Ok(Some(stack));
        }
    }
}

fn tell(listener: &dyn Listener, event: &StackEvent) {
    listener.on(Event::Resource {
        id: event.logical_resource_id().unwrap_or_default().to_owned(),
        kind: event.resource_type().unwrap_or_default().to_owned(),
        status: event.resource_status().map_or_else(String::new, |status| status.as_str().to_owned()),
        reason: event.resource_status_reason().map(str::to_owned),
    });
}

/// What the last status of an operation means.
fn outcome(stack: &str, status: &str, failures: &[StackEvent]) -> Result<()> {
    let error = match status {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE" | "IMPORT_COMPLETE" => return Ok(()),
        "UPDATE_ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!("the update of stack {stack} failed and was taken back: everything is as it was before"),
        )
        .hint("fix the cause and run the same command again"),
        "ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!("the creation of stack {stack} failed and was taken back: nothing of it runs"),
        )
        .hint("fix the cause and run the same command again: it removes the empty stack first"),
        "DELETE_FAILED" => Error::failed(format!("stack {stack} could not be deleted completely"))
            .hint("remove what holds the resources named above, then run make destroy again"),
        "UPDATE_ROLLBACK_FAILED" => {
            Error::failed(format!("the update of stack {stack} failed, and taking it back failed too")).hint(format!(
                "repair the resources named above, then: aws cloudformation continue-update-rollback --stack-name \
                 {stack}"
            ))
        }
        other => Error::failed(format!("stack {stack} ended in {other}")),
    };
    Err(root_causes(failures).into_iter().fold(error, Error::because))
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
        let error = outcome("s", "UPDATE_ROLLBACK_COMPLETE", &[failure("B", "broken")]).unwrap_err();
        assert_eq!(error.kind(), Kind::RolledBack);
        assert_eq!(error.causes(), ["B (AWS::ECS::Service): broken"]);
    }

    #[test]
    fn a_complete_update_is_no_error() {
        assert!(outcome("s", "UPDATE_COMPLETE", &[]).is_ok());
    }
}
