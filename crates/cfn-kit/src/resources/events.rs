//! Amazon EventBridge: what happens when something has happened.

use serde::Serialize;

use super::lambda::Function;
use super::sns::Topic;
use crate::{Arn, Expr, Ref, Resource, own_arn};

/// Tells targets of events that match a pattern, or of the time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// What it is for.
    pub description: String,
    /// What an event must look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_pattern: Option<EventPattern>,
    /// When, without an event, such as `rate(5 minutes)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_expression: Option<&'static str>,
    /// Where it goes.
    pub targets: Vec<Target>,
}

impl Resource for Rule {
    const TYPE: &'static str = "AWS::Events::Rule";
}

impl Ref<Rule> {
    /// The rule's ARN.
    pub fn arn(&self) -> Expr<Arn<Rule>> {
        self.attribute("Arn")
    }
}

/// What an event must look like.
#[derive(Clone, Debug, Serialize)]
pub struct EventPattern {
    /// Who sent it.
    pub source: Vec<&'static str>,
    /// What it tells.
    pub detail: DetailPattern,
}

/// What a cutover's event must tell.
#[derive(Clone, Debug, Serialize)]
pub struct DetailPattern {
    /// Of one of these stacks.
    pub stack: Vec<Expr<String>>,
}

/// Where an event goes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Target {
    id: &'static str,
    arn: Expr<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_path: Option<&'static str>,
}

impl Target {
    /// A topic, which gets the part of the event at this `JSONPath`. The id is the target's within the rule.
    pub fn topic(id: &'static str, topic: &Ref<Topic>, input_path: &'static str) -> Self {
        Self { id, arn: topic.arn().text(), input: None, input_path: Some(input_path) }
    }

    /// A function, which gets this JSON instead of the event; it needs a [`Permission`](super::lambda::Permission) too.
    ///
    /// By its name: by its ARN, every change of the function might change the rule, as far as CloudFormation knows, and
    /// replace the permission.
    pub fn function(id: &'static str, function: &Ref<Function>, input: &'static str) -> Self {
        let arn = own_arn("lambda", &["function:".into(), function.name().text()]);
        Self { id, arn, input: Some(input), input_path: None }
    }
}
