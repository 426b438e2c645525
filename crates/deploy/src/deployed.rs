//! A stack of this product as CloudFormation describes it. One that something else created is an error: nothing gets it to
//! work with.

use std::collections::BTreeMap;

use aws::Calling as _;
use aws_sdk_cloudformation::types::{StackResourceSummary, TemplateStage};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use model::color::Color;
use model::stack_state::{Progress, StackState};
use serde_json::Value;
use stack::outputs::{self, Outputs};
use stack::parameter;

use crate::cloud::Cloud;
use crate::error::{Error, ForeignStack, Result};
use crate::ownership;

/// The prefix of the name of every change set of this product.
pub const CHANGE_SET_PREFIX: &str = "bluegreen-";

/// A stack as CloudFormation describes it.
#[derive(Clone, Debug)]
pub struct DeployedStack {
    /// Its name.
    pub name: String,
    /// Its id, which stays valid after deletion.
    pub id: String,
    /// Its state.
    pub state: StackState,
    /// Why it is in this state, if CloudFormation says so.
    pub reason: Option<String>,
    /// Whether it is protected against deletion.
    pub protected: bool,
    /// The description of its template, if it has one.
    pub description: Option<String>,
    /// Its parameters' values.
    pub parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
    /// The names of its change sets. They are read only while there is nothing but them (`REVIEW_IN_PROGRESS`).
    change_sets: Vec<String>,
}

impl DeployedStack {
    /// The stack, or `None` if there is none of this name. An error if something else made the stack of this name: no verb
    /// gets one to work with.
    pub async fn find(cloud: &Cloud, name: &str) -> Result<Option<Self>> {
        let answer = cloud.cloudformation.describe_stacks().stack_name(name).send().await;
        let answer = match answer {
            Err(error) if is_missing(&error) => return Ok(None),
            other => other.calling(|| format!("look up stack {name}"))?,
        };
        let Some(stack) = answer.stacks().first() else { return Ok(None) };
        let mut found = Self {
            name: name.to_owned(),
            id: stack.stack_id().unwrap_or(name).to_owned(),
            state: stack.stack_status().map_or("", |status| status.as_str()).into(),
            reason: stack.stack_status_reason().map(str::to_owned),
            protected: stack.enable_termination_protection().unwrap_or_default(),
            description: stack.description().map(str::to_owned),
            parameters: pairs(stack.parameters(), |it| (it.parameter_key(), it.parameter_value())),
            outputs: pairs(stack.outputs(), |it| (it.output_key(), it.output_value())),
            change_sets: Vec::new(),
        };
        if found.state.is_in_review() {
            found.change_sets = change_set_names(cloud, name).await?;
        } else if found.description.as_deref().unwrap_or_default().is_empty() {
            // AWS shows it. Not everything that speaks its API does, of a stack that a change set made.
            found.description = found.template(cloud).await?["Description"].as_str().map(str::to_owned);
        }
        found.require_ours()?;
        // A command works on one stack: it does not change between two looks.
        let _ = cloud.stack.set(found.id.clone());
        if found.bucket().is_ok() && cloud.checked.get() != Some(&found.id) {
            Box::pin(ownership::check(cloud, &found)).await?;
            let _ = cloud.checked.set(found.id.clone());
        }
        Ok(Some(found))
    }

    /// The template that it was last deployed with, to the letter.
    pub async fn template_text(&self, cloud: &Cloud) -> Result<String> {
        let call = cloud.cloudformation.get_template().stack_name(&self.id).template_stage(TemplateStage::Original);
        let answer = call.send().await.calling(|| format!("read the template of stack {}", self.name))?;
        Ok(answer.template_body.unwrap_or_default())
    }

    /// The template that it was last deployed with; nothing if it is not JSON, so not this command's.
    pub async fn template(&self, cloud: &Cloud) -> Result<Value> {
        Ok(serde_json::from_str(&self.template_text(cloud).await?).unwrap_or_default())
    }

    /// An error if this product did not make the stack.
    ///
    /// The mark is the description, which every status shows but one: a stack that only has change sets has no template
    /// yet, and is ours if every change set is.
    pub fn require_ours(&self) -> Result<()> {
        let mark = if self.state.is_in_review() {
            let ours = self.change_sets.iter().all(|name| name.starts_with(CHANGE_SET_PREFIX));
            (!ours).then_some(ForeignStack::ChangeSet)
        } else {
            (self.description.as_deref() != Some(stack::DESCRIPTION)).then_some(ForeignStack::Description)
        };
        match mark {
            None => Ok(()),
            Some(mark) => Err(Error::ForeignStack { stack: self.name.clone(), mark }),
        }
    }

    /// A stack of which nothing is known but its state, for tests.
    pub fn in_state(name: &str, state: StackState) -> Self {
        Self {
            name: name.to_owned(),
            id: name.to_owned(),
            state,
            reason: None,
            protected: false,
            description: Some(stack::DESCRIPTION.to_owned()),
            parameters: BTreeMap::new(),
            outputs: BTreeMap::new(),
            change_sets: Vec::new(),
        }
    }

    /// The stack, or an error that says how to make it.
    pub async fn require(cloud: &Cloud, name: &str) -> Result<Self> {
        let found = Self::find(cloud, name).await?.filter(|stack| !stack.state.is_deleted());
        found.ok_or_else(|| Error::NoStack { stack: name.to_owned(), region: cloud.region().to_owned() })
    }

    /// What CloudFormation knows of each of its resources.
    pub async fn resources(&self, cloud: &Cloud) -> Result<Vec<StackResourceSummary>> {
        let mut pages = cloud.cloudformation.list_stack_resources().stack_name(&self.id).into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.calling(|| format!("list the resources of stack {}", self.name))?;
            all.extend(page.stack_resource_summaries.unwrap_or_default());
        }
        Ok(all)
    }

    /// The name of its bucket.
    pub fn bucket(&self) -> Result<&str> {
        self.outputs.get(outputs::BUCKET).map(String::as_str).ok_or_else(|| self.lacks(outputs::BUCKET))
    }

    /// The bucket of a stack whose beginning alone is there: a template that fits into no call needs one first.
    pub fn begun(&self) -> Option<&str> {
        self.bucket().ok().filter(|_| self.outputs.len() == 1)
    }

    /// What the stack says of itself to other programs.
    pub fn outputs(&self) -> Result<Outputs> {
        Outputs::read(self.outputs.clone()).map_err(|missing| self.lacks(missing))
    }

    fn lacks(&self, output: &str) -> Error {
        Error::NoOutput { stack: self.name.clone(), output: output.to_owned(), state: self.state.clone() }
    }

    /// Protects it against deletion. No call if it is protected already. CloudFormation deletes no stack that is
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-protect-stacks.html>).
    pub async fn protect(&self, cloud: &Cloud) -> Result<()> {
        if self.protected { Ok(()) } else { self.set_protection(cloud, true).await }
    }

    /// Lets it be deleted again. No call if it is not protected.
    pub async fn unprotect(&self, cloud: &Cloud) -> Result<()> {
        if self.protected { self.set_protection(cloud, false).await } else { Ok(()) }
    }

    async fn set_protection(&self, cloud: &Cloud, on: bool) -> Result<()> {
        let word = if on { "on" } else { "off" };
        let call = cloud.cloudformation.update_termination_protection().stack_name(&self.name);
        let answer = call.enable_termination_protection(on).send().await;
        answer.calling(|| format!("switch the termination protection of stack {} {word}", self.name))?;
        Ok(())
    }

    /// The number of the release that an environment runs; none if an older version of this product deployed it.
    pub fn release_number(&self, color: Color) -> Option<u64> {
        self.parameter(parameter::release(color)).parse().ok()
    }

    /// Whether an operation on it is in progress.
    pub fn in_progress(&self) -> bool {
        self.state.is_in_progress()
    }

    /// Whether the template that it was last deployed with is applied.
    pub fn is_complete(&self) -> bool {
        self.state.progress() == Progress::Complete
    }

    /// A parameter's value; empty if it has none.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The names of a stack's change sets.
async fn change_set_names(cloud: &Cloud, stack: &str) -> Result<Vec<String>> {
    let mut pages = cloud.cloudformation.list_change_sets().stack_name(stack).into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.calling(|| format!("list the change sets of stack {stack}"))?;
        names.extend(page.summaries().iter().filter_map(|it| it.change_set_name()).map(str::to_owned));
    }
    Ok(names)
}

/// CloudFormation has no specific error code for a stack that does not exist.
fn is_missing<E: ProvideErrorMetadata>(error: &E) -> bool {
    error.code() == Some("ValidationError") && error.message().is_some_and(|text| text.contains("does not exist"))
}

fn pairs<T>(items: &[T], pair: impl Fn(&T) -> (Option<&str>, Option<&str>)) -> BTreeMap<String, String> {
    items
        .iter()
        .filter_map(|item| match pair(item) {
            (Some(key), Some(value)) => Some((key.to_owned(), value.to_owned())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_ours_by_the_description_of_its_template() {
        let ours = DeployedStack::in_state("s", StackState::CreateFailed);
        assert!(ours.require_ours().is_ok());
        for description in [None, Some("Payroll".to_owned())] {
            let foreign = DeployedStack { description, ..ours.clone() };
            let error = foreign.require_ours().unwrap_err();
            assert!(matches!(error, Error::ForeignStack { mark: ForeignStack::Description, .. }), "{error:?}");
        }
    }

    #[test]
    fn a_stack_without_a_template_is_ours_by_its_change_sets() {
        let review = DeployedStack { description: None, ..DeployedStack::in_state("s", StackState::ReviewInProgress) };
        let with = |names: &[&str]| DeployedStack {
            change_sets: names.iter().map(|name| (*name).to_owned()).collect(),
            ..review.clone()
        };
        assert!(with(&[]).require_ours().is_ok());
        assert!(with(&["bluegreen-1", "bluegreen-2"]).require_ours().is_ok());
        assert!(with(&["bluegreen-1", "somebody-s"]).require_ours().is_err());
    }
}
