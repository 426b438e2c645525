//! Change sets: every change of the stack is prepared as one, read, and only then executed.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::operation::describe_change_set::DescribeChangeSetOutput;
use aws_sdk_cloudformation::types::{Capability, ChangeSetStatus, ChangeSetType, Parameter, ResourceChange};

use super::poll::Poll;
use super::template::Given;
use crate::cloud::Cloud;
use crate::error::{Calling, Error, Result};

/// What CloudFormation says of a change set that would change nothing.
const NOTHING_TO_DO: [&str; 2] = ["didn't contain changes", "No updates are to be performed"];

/// Parameters by name; `None` keeps the stack's value.
pub type Parameters = BTreeMap<&'static str, Option<String>>;

/// Where a change set's template comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// This text, which fits into a call.
    Body(&'a str),
    /// This text, through the stack's bucket where it does not fit into a call.
    Text {
        /// The template.
        text: &'a str,
        /// The bucket's name.
        bucket: &'a str,
    },
    /// What the stack was last deployed with.
    Previous,
}

/// A change set that is ready to be executed.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// Its ARN.
    pub id: String,
    /// What it would change.
    pub changes: Vec<ResourceChange>,
}

impl ChangeSet {
    /// Prepares a change set; `None` where there is nothing to change.
    pub async fn prepare(
        cloud: &Cloud,
        stack: &str,
        create: bool,
        source: Source<'_>,
        parameters: &Parameters,
    ) -> Result<Option<Self>> {
        let kind = if create { ChangeSetType::Create } else { ChangeSetType::Update };
        let mut call = cloud
            .cloudformation
            .create_change_set()
            .stack_name(stack)
            // A name of its own for each: two in one second must not meet.
            .change_set_name(format!("bluegreen-{}", uuid::Uuid::now_v7()))
            .change_set_type(kind)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters.iter().map(|(name, value)| parameter(name, value.as_deref())).collect()));
        call = match source {
            Source::Body(body) => call.template_body(body),
            Source::Text { text, bucket } => match Given::of(cloud, bucket, text).await? {
                Given::Body(body) => call.template_body(body),
                Given::Url(url) => call.template_url(url),
            },
            Source::Previous => call.use_previous_template(true),
        };
        let answer = call.send().await.calling(|| format!("prepare a change of stack {stack}"))?;
        let id = answer.id().unwrap_or_default().to_owned();
        Self::wait(cloud, stack, id).await
    }

    async fn wait(cloud: &Cloud, stack: &str, id: String) -> Result<Option<Self>> {
        let mut poll = Poll::default();
        loop {
            let answer = cloud
                .cloudformation
                .describe_change_set()
                .change_set_name(&id)
                .stack_name(stack)
                .include_property_values(true)
                .send()
                .await
                .calling(|| format!("read the change set of stack {stack}"))?;
            match answer.status() {
                Some(ChangeSetStatus::CreateComplete) => {
                    let changes = Self::changes(cloud, stack, &id, answer).await?;
                    return Ok(Some(Self { id, changes }));
                }
                Some(ChangeSetStatus::Failed) => {
                    let reason = answer.status_reason().unwrap_or("no reason given").to_owned();
                    Self::discard(cloud, stack, &id).await?;
                    if NOTHING_TO_DO.iter().any(|words| reason.contains(words)) {
                        return Ok(None);
                    }
                    return Err(Error::failed(format!("CloudFormation refuses the change of stack {stack}"))
                        .because(reason)
                        .hint("bluegreen synth prints the template it was given"));
                }
                _ => poll.wait().await,
            }
        }
    }

    /// The changes on this page and those after it.
    async fn changes(
        cloud: &Cloud,
        stack: &str,
        id: &str,
        first: DescribeChangeSetOutput,
    ) -> Result<Vec<ResourceChange>> {
        let mut changes = Vec::new();
        let mut page = first;
        loop {
            changes.extend(page.changes.unwrap_or_default().into_iter().filter_map(|change| change.resource_change));
            let Some(next) = page.next_token.filter(|token| !token.is_empty()) else { return Ok(changes) };
            page = cloud
                .cloudformation
                .describe_change_set()
                .change_set_name(id)
                .stack_name(stack)
                .include_property_values(true)
                .next_token(next)
                .send()
                .await
                .calling(|| format!("read the change set of stack {stack}"))?;
        }
    }

    /// Throws a change set away, as if it had never been.
    pub async fn discard(cloud: &Cloud, stack: &str, id: &str) -> Result<()> {
        cloud
            .cloudformation
            .delete_change_set()
            .change_set_name(id)
            .stack_name(stack)
            .send()
            .await
            .calling(|| format!("remove an unused change set of stack {stack}"))?;
        Ok(())
    }

    /// The resources that it would change: logical id and type.
    pub fn resources(&self) -> BTreeMap<String, String> {
        let resource = |change: &ResourceChange| {
            Some((change.logical_resource_id()?.to_owned(), change.resource_type().unwrap_or_default().to_owned()))
        };
        self.changes.iter().filter_map(resource).collect()
    }

    /// Begins the change. How it goes on is told by the stack's events.
    pub async fn execute(&self, cloud: &Cloud, stack: &str) -> Result<()> {
        cloud
            .cloudformation
            .execute_change_set()
            .change_set_name(&self.id)
            .stack_name(stack)
            .send()
            .await
            .calling(|| format!("begin the change of stack {stack}"))?;
        Ok(())
    }
}

fn parameter(name: &str, value: Option<&str>) -> Parameter {
    let parameter = Parameter::builder().parameter_key(name);
    match value {
        Some(value) => parameter.parameter_value(value),
        None => parameter.use_previous_value(true),
    }
    .build()
}
