//! Follows an operation of a stack through its events to its end, gathers evidence meanwhile, and finds the root cause of
//! a failure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_cloudformation::types::StackEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::control::{Control, Stage};
use super::event::{Event, Listener};
use super::evidence::Evidence;
use super::history::estimate;
use super::poll::Poll;
use super::service::Watch;
use super::steady::Expected;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Calling, Error, Kind, Result};
use crate::stack::outputs::Outputs;

/// How many root causes are named; the rest follow from them as a rule.
const CAUSES_NAMED: usize = 3;

/// How long AWS may be out of reach before following it is given up. What goes on there goes on all the same.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);

/// What an operation of a stack is followed with.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    /// Where it goes on.
    pub cloud: &'a Cloud,
    /// On what.
    pub stack: &'a DeployedStack,
    /// Whether it is an update, which can be cancelled.
    pub update: bool,
    /// The resources that it changes: logical id and type.
    pub resources: &'a BTreeMap<String, String>,
    /// What environments will run once it is through, for evidence on the way.
    pub expected: &'a [Expected],
    /// Who may cancel it.
    pub control: &'a Control,
    /// Who is told.
    pub listener: &'a dyn Listener,
}

/// What was found out about an operation.
#[derive(Debug, Default)]
struct Findings {
    /// What CloudFormation could not do.
    failures: Vec<StackEvent>,
    /// What the tasks and the load balancer said, the root causes.
    evidence: Vec<String>,
    cancelled: bool,
}

/// Reads a stack's events, each once.
struct Reader<'a> {
    cloud: &'a Cloud,
    stack_id: String,
    seen: HashSet<String>,
    /// Since when there is no answer.
    silent: Option<Instant>,
}

impl<'a> Reader<'a> {
    /// A reader to which everything up to now is old, and the newest of that, the oldest first.
    async fn from_now(cloud: &'a Cloud, stack_id: &str) -> Result<(Self, Vec<StackEvent>)> {
        let mut reader = Self { cloud, stack_id: stack_id.to_owned(), seen: HashSet::new(), silent: None };
        // Beyond the first page everything is older still, so it is never read.
        let old = reader.read(1).await?;
        Ok((reader, old))
    }

    /// What is new, the oldest first. Nothing while AWS cannot be reached for a moment.
    async fn new_events(&mut self, listener: &dyn Listener) -> Result<Vec<StackEvent>> {
        match self.read(usize::MAX).await {
            Ok(events) => {
                if self.silent.take().is_some() {
                    listener.note("AWS answers again");
                }
                Ok(events)
            }
            Err(error) if error.is_transient() => {
                let since = *self.silent.get_or_insert_with(|| {
                    let why = error.causes().first().map_or_else(String::new, |cause| format!(" ({cause})"));
                    listener.warn(format!("AWS does not answer{why}; trying again, what was begun there goes on"));
                    Instant::now()
                });
                if since.elapsed() < SILENCE_LIMIT { Ok(Vec::new()) } else { Err(goes_on(error)) }
            }
            Err(error) => Err(goes_on(error)),
        }
    }

    async fn read(&mut self, pages: usize) -> Result<Vec<StackEvent>> {
        let mut answers =
            self.cloud.cloudformation.describe_stack_events().stack_name(&self.stack_id).into_paginator().send();
        let mut new: Vec<StackEvent> = Vec::new();
        let mut read = 0;
        'pages: while let Some(page) = answers.next().await {
            let page = match page {
                // A stack whose first change set was never executed has no events, nor has one that is gone.
                Err(error) if error.code() == Some("ValidationError") => break,
                other => other.calling(|| format!("read the events of {}", self.stack_id))?,
            };
            for event in page.stack_events() {
                // Pages go back in time: from the first known event on, everything is known.
                if self.seen.contains(event.event_id().unwrap_or_default()) {
                    break 'pages;
                }
                new.push(event.clone());
            }
            read += 1;
            if read == pages {
                break;
            }
        }
        // Only now: where a later page could not be read, all of them are read again.
        self.seen.extend(new.iter().filter_map(|event| event.event_id().map(str::to_owned)));
        new.reverse();
        Ok(new)
    }
}

/// An error of following, not of what is followed.
fn goes_on(error: Error) -> Error {
    error.hint("what CloudFormation has begun it finishes by itself: run the same command again to follow it")
}

/// Runs `begin` and follows what it began on the stack to its end. Told are events of the resources that are expected
/// to change, and failures of any; and, while CloudFormation waits for ECS, what ECS and the load balancer say.
///
/// The error of an operation that failed names the root causes and says what state the stack is in now.
pub async fn follow_operation<F>(operation: Operation<'_>, begin: F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let Operation { cloud, stack, listener, control, .. } = operation;
    let (reader, old) = Reader::from_now(cloud, &stack.id).await?;
    let ids: BTreeSet<String> = operation.resources.keys().cloned().collect();
    listener.on(Event::Operation {
        resources: operation.resources.iter().map(|(id, kind)| (id.clone(), kind.clone())).collect(),
        estimate: estimate(&old, &ids),
    });
    let _stage = control.enter(if operation.update { Stage::Updating } else { Stage::Changing });
    begin.await?;
    let findings = Mutex::new(Findings::default());
    // Evidence alone never ends the wait, not even where there is none: CloudFormation says when its operation is over.
    let evidence = async {
        gather(operation, &findings).await;
        std::future::pending::<Infallible>().await
    };
    let status = tokio::select! {
        status = watch_events(operation, reader, &findings) => status?,
        never = evidence => match never {},
    };
    control.done();
    outcome(&stack.name, &status, &findings.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Follows the stack's events until its operation is over, and returns the stack's status then.
async fn watch_events(operation: Operation<'_>, mut reader: Reader<'_>, findings: &Mutex<Findings>) -> Result<String> {
    let Operation { stack, listener, control, .. } = operation;
    let note = |change: &dyn Fn(&mut Findings)| change(&mut findings.lock().unwrap_or_else(PoisonError::into_inner));
    let mut poll = Poll::default();
    let mut cancelling = false;
    loop {
        let events = reader.new_events(listener).await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            let status = event.resource_status().map_or("", |status| status.as_str()).to_owned();
            let of_stack = event.physical_resource_id() == event.stack_id();
            let failed = status.ends_with("_FAILED");
            if of_stack || failed || event.logical_resource_id().is_some_and(|id| operation.resources.contains_key(id))
            {
                tell(listener, &event);
            }
            if !of_stack && failed {
                note(&|findings| findings.failures.push(event.clone()));
            } else if of_stack && !status.ends_with("_IN_PROGRESS") {
                return Ok(status);
            }
        }
        tokio::select! {
            () = poll.wait() => {}
            () = control.cancelled(), if operation.update && !cancelling => {
                cancelling = true;
                if cancel(operation).await? {
                    note(&|findings| findings.cancelled = true);
                }
                listener.note(format!("asked CloudFormation to take the update of stack {} back", stack.name));
            }
        }
    }
}

/// Cancels the update; false where it is over already or being taken back.
async fn cancel(operation: Operation<'_>) -> Result<bool> {
    let Operation { cloud, stack, .. } = operation;
    match cloud.cloudformation.cancel_update_stack().stack_name(&stack.id).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ValidationError") => Ok(false),
        Err(error) => Err(error).calling(|| format!("cancel the update of stack {}", stack.name)).map_err(goes_on),
    }
}

/// Looks at the environments that get something new, again and again.
async fn gather(operation: Operation<'_>, findings: &Mutex<Findings>) {
    // A stack that is being made has no services yet, and no outputs.
    let Ok(outputs) = operation.stack.outputs() else { return };
    let looks = operation.expected.iter().map(|expected| gather_from(operation, &outputs, expected, findings));
    futures_util::future::join_all(looks).await;
}

async fn gather_from(operation: Operation<'_>, outputs: &Outputs, expected: &Expected, findings: &Mutex<Findings>) {
    let Operation { cloud, stack, control, listener, .. } = operation;
    let color = expected.color;
    let mut poll = Poll::default();
    let service = loop {
        match outputs.service(color) {
            Some(service) => break service.to_owned(),
            // It is only being made: its name is known as soon as CloudFormation has begun with it.
            None => match physical_id(cloud, stack, &format!("{}Service", crate::stack::title(color))).await {
                Some(service) => break service,
                None => poll.wait().await,
            },
        }
    };
    let mut evidence = Evidence::new(Watch::new(cloud, outputs, color, &service), expected);
    let mut hopeless = false;
    loop {
        // What cannot be read is no evidence; whether AWS answers at all is told by who reads the events.
        if let Ok(Some((reality, news))) = Box::pin(evidence.look(listener)).await {
            if news {
                poll.progress();
            }
            if !hopeless && let Some(reason) = evidence.despair(&reality) {
                hopeless = true;
                let why = evidence.failures().unwrap_or_else(|| reason.clone());
                findings.lock().unwrap_or_else(PoisonError::into_inner).evidence.push(format!("{color}: {why}"));
                listener.on(Event::Hopeless { color, reason });
                control.give_up(&format!("{color} will not come up: {why}"));
            }
        }
        poll.wait().await;
    }
}

/// What a resource is called outside of the template; `None` as long as it is not.
async fn physical_id(cloud: &Cloud, stack: &DeployedStack, id: &str) -> Option<String> {
    let answer =
        cloud.cloudformation.describe_stack_resource().stack_name(&stack.id).logical_resource_id(id).send().await;
    let found = answer.ok()?.stack_resource_detail?.physical_resource_id;
    found.filter(|id| !id.is_empty())
}

/// Follows the deletion of a stack to its end.
pub async fn follow_deletion<F>(operation: Operation<'_>, begin: F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let Operation { cloud, stack, listener, control, .. } = operation;
    let (mut reader, old) = Reader::from_now(cloud, &stack.id).await?;
    let ids: BTreeSet<String> = operation.resources.keys().cloned().collect();
    listener.on(Event::Operation {
        resources: operation.resources.iter().map(|(id, kind)| (id.clone(), kind.clone())).collect(),
        estimate: estimate(&old, &ids),
    });
    let _stage = control.enter(Stage::Changing);
    begin.await?;
    let mut findings = Findings::default();
    let mut poll = Poll::default();
    loop {
        let events = reader.new_events(listener).await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            tell(listener, &event);
            let failed = event.resource_status().is_some_and(|status| status.as_str() == "DELETE_FAILED");
            if failed && event.physical_resource_id() != event.stack_id() {
                findings.failures.push(event);
            }
        }
        // Events of a stack that is gone may be unreadable, so the stack itself is asked.
        match DeployedStack::find(cloud, &stack.name).await {
            Ok(Some(now)) if now.id == stack.id && now.status == "DELETE_FAILED" => {
                return outcome(&stack.name, &now.status, &findings);
            }
            Ok(Some(now)) if now.id == stack.id && now.status != "DELETE_COMPLETE" => poll.wait().await,
            Err(error) if error.is_transient() => poll.wait().await,
            Err(error) => return Err(goes_on(error)),
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
    let (mut reader, _) = Reader::from_now(cloud, &stack.id).await?;
    let mut poll = Poll::default();
    loop {
        poll.wait().await;
        for event in reader.new_events(listener).await? {
            poll.progress();
            tell(listener, &event);
        }
        match DeployedStack::find(cloud, &stack.name).await {
            Ok(None) => return Ok(None),
            Ok(Some(now)) => stack = now,
            Err(error) if error.is_transient() => continue,
            Err(error) => return Err(goes_on(error)),
        }
        if !stack.in_progress() {
            return Ok(Some(stack));
        }
    }
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

fn tell(listener: &dyn Listener, event: &StackEvent) {
    listener.on(Event::Resource {
        id: event.logical_resource_id().unwrap_or_default().to_owned(),
        kind: event.resource_type().unwrap_or_default().to_owned(),
        status: event.resource_status().map_or_else(String::new, |status| status.as_str().to_owned()),
        reason: event.resource_status_reason().map(str::to_owned),
    });
}

/// What the last status of an operation means.
fn outcome(stack: &str, status: &str, findings: &Findings) -> Result<()> {
    let error = match status {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE" | "IMPORT_COMPLETE" => return Ok(()),
        "UPDATE_ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!(
                "the update of stack {stack} {} and was taken back: everything is as it was before",
                if findings.cancelled { "was cancelled" } else { "failed" }
            ),
        )
        .hint("fix the cause and run the same command again"),
        "ROLLBACK_COMPLETE" => Error::new(
            Kind::RolledBack,
            format!("the creation of stack {stack} failed and was taken back: nothing of it runs"),
        )
        .hint("fix the cause and run the same command again: it removes the empty stack first"),
        "DELETE_FAILED" => Error::failed(format!("stack {stack} could not be deleted completely"))
            .hint("remove what holds the resources named above, then run bluegreen destroy again"),
        "UPDATE_ROLLBACK_FAILED" => {
            Error::failed(format!("the update of stack {stack} failed, and taking it back failed too"))
                .hint("repair the resources named above and run the same command again: it goes on taking it back")
                .hint("where one cannot be repaired: add --skip with its logical id, and look after it by hand")
        }
        other => Error::failed(format!("stack {stack} ended in {other}"))
            .hint("run the same command again: it goes on from there"),
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
