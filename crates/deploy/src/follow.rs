//! Follows an operation of a stack through its events to its end, and gathers evidence meanwhile. What its end means is
//! said in `outcome`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use aws::{CallError, Calling as _};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use model::stack_state::{Progress, StackState};

use super::control::{Control, Stage};
use super::event::Listener;
use super::events::{Reader, is_of_stack, report, state};
use super::evidence::Evidence;
use super::history::estimate;
use super::outcome::{Findings, outcome};
use super::poll::Poll;
use super::service::Watch;
use super::silence::Silence;
use super::steady::Expected;
use crate::cloud::Cloud;
use crate::deployed::DeployedStack;
use crate::error::{Error, Result};
use model::event::EventKind;
use stack::outputs::Outputs;

/// What an operation of a stack is followed with.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    /// The stack of the operation.
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
    /// Receives the events.
    pub listener: &'a dyn Listener,
}

impl<'a> Operation<'a> {
    /// One that can only be waited for: the making of a stack, its deletion, the way back from an update.
    pub fn new(
        cloud: &'a Cloud,
        stack: &'a DeployedStack,
        resources: &'a BTreeMap<String, String>,
        control: &'a Control,
        listener: &'a dyn Listener,
    ) -> Self {
        Self { cloud, stack, update: false, resources, expected: &[], control, listener }
    }

    /// An update, after which environments run what is expected.
    #[must_use]
    pub fn as_update(self, expected: &'a [Expected]) -> Self {
        Self { update: true, expected, ..self }
    }
}

/// Runs `begin` and follows the operation of the stack to its end. Reports events of the resources that are expected
/// to change, and failures of any; and, while CloudFormation waits for ECS, what ECS and the load balancer say.
///
/// The error of an operation that failed names the root causes and says what state the stack is in now.
pub async fn follow_operation<F, E>(operation: Operation<'_>, begin: F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<Error>,
{
    let Operation { stack, control, .. } = operation;
    let reader = announce(operation).await?;
    let _stage = control.enter(if operation.update { Stage::Updating } else { Stage::Changing });
    begin.await?;
    let findings = Mutex::new(Findings::default());
    // Evidence alone never ends the wait: only CloudFormation reports the end of its operation.
    let evidence = async {
        gather(operation, &findings).await;
        std::future::pending::<Infallible>().await
    };
    let state = tokio::select! {
        state = watch_events(operation, reader, &findings) => state?,
        never = evidence => match never {},
    };
    let findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    control.over(findings.cancelled);
    Ok(outcome(&stack.name, state, &findings)?)
}

/// Reports that an operation begins, and how long the last one like it took; returns a reader of what is new from now on.
async fn announce(operation: Operation<'_>) -> Result<Reader<'_>> {
    let (reader, old) = Reader::from_now(operation.cloud, &operation.stack.id).await?;
    let ids: BTreeSet<String> = operation.resources.keys().cloned().collect();
    operation.listener.send(EventKind::Operation {
        resources: operation.resources.iter().map(|(id, kind)| (id.clone(), kind.clone())).collect(),
        estimate: estimate(&old, &ids),
    });
    Ok(reader)
}

/// Follows the stack's events until its operation is over, and returns the stack's state then.
async fn watch_events(
    operation: Operation<'_>,
    mut reader: Reader<'_>,
    findings: &Mutex<Findings>,
) -> Result<StackState> {
    let Operation { listener, control, .. } = operation;
    let note = |change: &dyn Fn(&mut Findings)| change(&mut findings.lock().unwrap_or_else(PoisonError::into_inner));
    let mut poll = Poll::default();
    let mut cancelling = false;
    let mut silence = Silence::default();
    loop {
        let events = reader.new_events(listener).await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            let (of_stack, progress) = (is_of_stack(&event), state(&event).progress());
            let failed = progress == Progress::Failed;
            if of_stack || failed || event.logical_resource_id().is_some_and(|id| operation.resources.contains_key(id))
            {
                report(listener, &event);
            }
            if !of_stack && failed {
                note(&|findings| findings.failures.push(event.clone()));
            } else if of_stack && progress != Progress::InProgress {
                return Ok(state(&event).of_stack());
            }
        }
        tokio::select! {
            () = poll.wait() => {}
            () = control.cancelled(), if operation.update && !cancelling => {
                cancelling = try_to_cancel(operation, &mut silence, findings).await;
                if cancelling {
                    poll.progress();
                } else {
                    poll.wait().await;
                }
            }
        }
    }
}

/// Requests to cancel the update; false if that should be tried again. The update continues, so it is followed
/// whether it can be cancelled or not.
async fn try_to_cancel(operation: Operation<'_>, silence: &mut Silence, findings: &Mutex<Findings>) -> bool {
    let Operation { stack, listener, .. } = operation;
    match cancel(operation).await {
        Ok(true) => {
            findings.lock().unwrap_or_else(PoisonError::into_inner).cancelled = true;
            listener.note(format!("requested the rollback of the update of stack {}", stack.name));
            true
        }
        Ok(false) => {
            listener.note("CloudFormation has already finished this update");
            true
        }
        Err(error) => {
            let why = error.causes().first().cloned().unwrap_or_default();
            let what = format!("{error}: {why}; the update continues");
            let error = Error::from(error);
            let is_final = silence.continues(error, listener).is_err();
            if is_final {
                listener.warn(what);
            }
            is_final
        }
    }
}

/// Cancels the update; false if it is over already or being rolled back.
async fn cancel(operation: Operation<'_>) -> Result<bool, CallError> {
    let Operation { cloud, stack, .. } = operation;
    match cloud.cloudformation.cancel_update_stack().stack_name(&stack.id).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ValidationError") => Ok(false),
        Err(error) => Err(error).calling(|| format!("cancel the update of stack {}", stack.name)),
    }
}

/// Looks at the environments that get something new, again and again.
async fn gather(operation: Operation<'_>, findings: &Mutex<Findings>) {
    // A stack that is being created has no services yet, and no outputs.
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
            // It is still being created: its name is known as soon as CloudFormation has started with it.
            None => match physical_id(cloud, stack, &format!("{}Service", stack::title(color))).await {
                Some(service) => break service,
                None => poll.wait().await,
            },
        }
    };
    let mut evidence = Evidence::new(Watch::new(cloud, outputs, color, &service), expected);
    let mut given_up = false;
    loop {
        // A failed read is no evidence; the reader of the events reports whether AWS responds at all.
        if let Ok(Some((reality, news))) = Box::pin(evidence.look(listener)).await {
            if news {
                poll.progress();
            }
            if !given_up && let Some(reason) = evidence.should_abort(&reality) {
                given_up = true;
                let why = evidence.failures().unwrap_or_else(|| reason.clone());
                findings.lock().unwrap_or_else(PoisonError::into_inner).evidence.push(format!("{color}: {why}"));
                listener.send(EventKind::RolloutFailed { color, reason });
                control.give_up(&format!("{color} cannot become healthy: {why}"));
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
pub async fn follow_deletion<F, E>(operation: Operation<'_>, begin: F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<Error>,
{
    let Operation { cloud, stack, listener, control, .. } = operation;
    let mut reader = announce(operation).await?;
    let _stage = control.enter(Stage::Changing);
    begin.await?;
    let mut findings = Findings::default();
    let mut poll = Poll::default();
    let mut silence = Silence::default();
    loop {
        let events = reader.new_events(listener).await?;
        if !events.is_empty() {
            poll.progress();
        }
        for event in events {
            report(listener, &event);
            if state(&event).is_delete_failed() && !is_of_stack(&event) {
                findings.failures.push(event);
            }
        }
        // Events of a stack that is gone may be unreadable, so the stack itself is asked.
        match DeployedStack::find(cloud, &stack.name).await {
            Ok(Some(now)) if now.id == stack.id && now.state == StackState::DeleteFailed => {
                return Ok(outcome(&stack.name, now.state, &findings)?);
            }
            Ok(Some(now)) if now.id == stack.id && !now.state.is_deleted() => silence.ended(listener),
            Ok(_) => return Ok(()),
            Err(error) => silence.continues(error, listener)?,
        }
        poll.wait().await;
    }
}

/// Waits for the end of an operation that another command started on the stack, and returns the stack.
pub async fn settle(cloud: &Cloud, mut stack: DeployedStack, listener: &dyn Listener) -> Result<Option<DeployedStack>> {
    if !stack.in_progress() {
        return Ok(Some(stack));
    }
    listener.note(format!("stack {} is in {}: following that operation first", stack.name, stack.state));
    let mut poll = Poll::default();
    let mut silence = Silence::default();
    let mut reader = loop {
        match Reader::from_now(cloud, &stack.id).await {
            Ok((reader, _)) => break reader,
            Err(error) => silence.continues(error, listener)?,
        }
        poll.wait().await;
    };
    loop {
        poll.wait().await;
        for event in reader.new_events(listener).await? {
            poll.progress();
            report(listener, &event);
        }
        match DeployedStack::find(cloud, &stack.name).await {
            Ok(None) => return Ok(None),
            Ok(Some(now)) => stack = now,
            Err(error) => {
                silence.continues(error, listener)?;
                continue;
            }
        }
        silence.ended(listener);
        if !stack.in_progress() {
            return Ok(Some(stack));
        }
    }
}
