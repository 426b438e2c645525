//! Change sets: every change of the stack is prepared as one, read, and only then executed. What is read is what will be
//! executed: all of its changes, made of the template that was meant.

mod original;
mod reasons;
mod union;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_cloudformation::operation::describe_change_set::DescribeChangeSetOutput;
use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, ExecutionStatus, Parameter, ResourceChange,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::poll::Poll;
use super::template::Given;
use crate::cloud::Cloud;
use crate::deployed::CHANGE_SET_PREFIX;
use crate::error::{Error, Result};
use aws::Calling as _;

/// How long a change set is asked for, or asked to begin, while AWS does not answer.
const UNANSWERED_LIMIT: Duration = Duration::from_mins(1);

/// What CloudFormation says of a change set that would change nothing.
const NOTHING_TO_DO: [&str; 2] = ["didn't contain changes", "No updates are to be performed"];

/// Parameters by name; `None` keeps the stack's value.
pub type Parameters = BTreeMap<String, Option<String>>;

/// The source of a change set's template.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// This text, which fits into a call.
    Body(&'a str),
    /// This text, through the stack's bucket if it does not fit into a call.
    Text {
        /// The template.
        text: &'a str,
        /// The bucket's name.
        bucket: &'a str,
    },
}

/// A change set that is ready to be executed.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// Its ARN.
    pub id: String,
    /// What it would change.
    pub changes: Vec<ResourceChange>,
}

impl Source<'_> {
    /// The intended template.
    const fn text(&self) -> &str {
        match self {
            Source::Body(text) | Source::Text { text, .. } => text,
        }
    }
}

impl ChangeSet {
    /// Prepares a change set; `None` if there is nothing to change. One that was made of another template than the one
    /// that was meant is refused and discarded.
    pub async fn prepare(
        cloud: &Cloud,
        stack: &str,
        create: bool,
        source: Source<'_>,
        parameters: &Parameters,
    ) -> Result<Option<Self>> {
        let (id, lost) = Self::create(cloud, stack, create, source, parameters).await?;
        let change = Self::wait(cloud, stack, &id).await.map_err(|error| {
            let missing = error.call().is_some_and(|call| call.code() == Some("ChangeSetNotFound"));
            lost.filter(|_| missing).unwrap_or(error)
        })?;
        let Some(change) = change else { return Ok(None) };
        if let Err(error) = original::require(cloud, stack, &change.id, source.text()).await {
            return Err(Self::discarded(cloud, stack, &change.id, error).await);
        }
        Ok(Some(change))
    }

    /// Asks for it, and returns by what it is found: its ARN, or its name with an error that is none if it is there.
    async fn create(
        cloud: &Cloud,
        stack: &str,
        create: bool,
        source: Source<'_>,
        parameters: &Parameters,
    ) -> Result<(String, Option<Error>)> {
        let kind = if create { ChangeSetType::Create } else { ChangeSetType::Update };
        // A unique name for each: two in one second must not collide.
        let token = uuid::Uuid::now_v7().to_string();
        let name = format!("{CHANGE_SET_PREFIX}{token}");
        let mut call = cloud
            .cloudformation
            .create_change_set()
            .stack_name(stack)
            .change_set_name(&name)
            .client_token(token)
            .change_set_type(kind)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters.iter().map(|(name, value)| parameter(name, value.as_deref())).collect()));
        call = match source {
            Source::Body(body) => call.template_body(body),
            Source::Text { text, bucket } => match Given::of(cloud, bucket, text).await? {
                Given::Body(body) => call.template_body(body),
                Given::Url(url) => call.template_url(url),
            },
        };
        let answer = call.send().await;
        // Nobody else uses this name: if it is taken, the answer to the first try was lost.
        let lost = answer.as_ref().is_err_and(|error| error.code() == Some("AlreadyExistsException"));
        match answer.calling(|| format!("create a change set of stack {stack}")) {
            Ok(answer) => Ok((answer.id().map_or(name, str::to_owned), None)),
            Err(error) if lost => Ok((name, Some(error.into()))),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until CloudFormation has prepared it.
    async fn wait(cloud: &Cloud, stack: &str, id: &str) -> Result<Option<Self>> {
        let mut poll = Poll::default();
        let mut answered = Instant::now();
        loop {
            let answer = match Self::describe(cloud, stack, id, false, None).await {
                Ok(answer) => answer,
                Err(error) if error.is_transient() && answered.elapsed() < UNANSWERED_LIMIT => {
                    poll.wait().await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            answered = Instant::now();
            match answer.status() {
                Some(ChangeSetStatus::CreateComplete) => {
                    let id = answer.change_set_id().unwrap_or(id).to_owned();
                    let changes = Self::every_change(cloud, stack, &id, answer).await?;
                    return Ok(Some(Self { id, changes }));
                }
                Some(ChangeSetStatus::Failed) => {
                    let id = answer.change_set_id().unwrap_or(id);
                    let reason = answer.status_reason().unwrap_or("no reason given");
                    if NOTHING_TO_DO.iter().any(|words| reason.contains(words)) {
                        Self::discard(cloud, stack, id).await?;
                        return Ok(None);
                    }
                    // Its events are gone with it.
                    let refusal = reasons::refusal(cloud, stack, id, reason).await;
                    return Err(Self::discarded(cloud, stack, id, refusal).await);
                }
                _ => poll.wait().await,
            }
        }
    }

    /// Discards it because of an error, and returns that error.
    async fn discarded(cloud: &Cloud, stack: &str, id: &str, error: Error) -> Error {
        match Self::discard(cloud, stack, id).await {
            Ok(()) => error,
            Err(second) => Error::NotDiscarded { error: Box::new(error), discarding: Box::new(second) },
        }
    }

    /// All of its changes, of which the first page is known without property values.
    async fn every_change(
        cloud: &Cloud,
        stack: &str,
        id: &str,
        first: DescribeChangeSetOutput,
    ) -> Result<Vec<ResourceChange>> {
        let without = Self::pages(cloud, stack, id, false, first).await?;
        // The values are for reading alone. Not every region gives them.
        let with_values = async {
            let first = Self::describe(cloud, stack, id, true, None).await?;
            Self::pages(cloud, stack, id, true, first).await
        };
        Ok(union::union(with_values.await.unwrap_or_default(), without))
    }

    /// The changes on this page and those after it.
    async fn pages(
        cloud: &Cloud,
        stack: &str,
        id: &str,
        values: bool,
        first: DescribeChangeSetOutput,
    ) -> Result<Vec<ResourceChange>> {
        let mut changes = Vec::new();
        let mut page = first;
        loop {
            changes.extend(page.changes.unwrap_or_default().into_iter().filter_map(|change| change.resource_change));
            let Some(next) = page.next_token.filter(|token| !token.is_empty()) else { return Ok(changes) };
            page = Self::describe(cloud, stack, id, values, Some(next)).await?;
        }
    }

    async fn describe(
        cloud: &Cloud,
        stack: &str,
        id: &str,
        values: bool,
        next: Option<String>,
    ) -> Result<DescribeChangeSetOutput> {
        let call = cloud.cloudformation.describe_change_set().change_set_name(id).stack_name(stack);
        let call = call.set_include_property_values(values.then_some(true)).set_next_token(next);
        Ok(call.send().await.calling(|| format!("read the change set of stack {stack}"))?)
    }

    /// Deletes a change set that is not executed.
    pub async fn discard(cloud: &Cloud, stack: &str, id: &str) -> Result<()> {
        cloud
            .cloudformation
            .delete_change_set()
            .change_set_name(id)
            .stack_name(stack)
            .send()
            .await
            .calling(|| format!("delete an unused change set of stack {stack}"))?;
        Ok(())
    }

    /// The resources that it would change: logical id and type.
    pub fn resources(&self) -> BTreeMap<String, String> {
        let resource = |change: &ResourceChange| {
            Some((change.logical_resource_id()?.to_owned(), change.resource_type().unwrap_or_default().to_owned()))
        };
        self.changes.iter().filter_map(resource).collect()
    }

    /// Starts the change, once. The stack's events report its progress.
    pub async fn execute(&self, cloud: &Cloud, stack: &str) -> Result<()> {
        let token = uuid::Uuid::now_v7().to_string();
        let asked = Instant::now();
        let mut poll = Poll::default();
        loop {
            let call = cloud.cloudformation.execute_change_set().change_set_name(&self.id).stack_name(stack);
            let Err(error) = call.client_request_token(&token).send().await else { return Ok(()) };
            let begun_before = error.code() == Some("InvalidChangeSetStatus");
            let Err(error) = Err::<(), _>(error).calling(|| format!("execute the change set of stack {stack}")) else {
                return Ok(());
            };
            if !begun_before && !error.is_transient() {
                return Err(error.into());
            }
            // The answer to an earlier try may have been lost.
            match Self::describe(cloud, stack, &self.id, false, None).await {
                Ok(answer) if has_begun(answer.execution_status()) => return Ok(()),
                Ok(_) if begun_before => return Err(error.into()),
                _ if asked.elapsed() >= UNANSWERED_LIMIT => return Err(Error::ExecutionUnknown(error)),
                _ => poll.wait().await,
            }
        }
    }
}

/// Whether a change set is being executed, or was.
fn has_begun(status: Option<&ExecutionStatus>) -> bool {
    use ExecutionStatus::{ExecuteComplete, ExecuteFailed, ExecuteInProgress};
    matches!(status, Some(ExecuteInProgress | ExecuteComplete | ExecuteFailed))
}

fn parameter(name: &str, value: Option<&str>) -> Parameter {
    let parameter = Parameter::builder().parameter_key(name);
    match value {
        Some(value) => parameter.parameter_value(value),
        None => parameter.use_previous_value(true),
    }
    .build()
}
