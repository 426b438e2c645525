//! Amazon EventBridge: what happens when something has happened.

use serde::Serialize;

use super::sns::Topic;
use crate::cdk::{Arn, Expr, Resource};

/// Sends events that match a pattern to targets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// What it is for.
    pub description: String,
    /// What an event must look like.
    pub event_pattern: EventPattern,
    /// Where it goes.
    pub targets: Vec<Target>,
}

impl Resource for Rule {
    const TYPE: &'static str = "AWS::Events::Rule";
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
    /// Its id within the rule.
    pub id: &'static str,
    /// The topic.
    pub arn: Expr<Arn<Topic>>,
    /// The part of the event that is sent: a `JSONPath`.
    pub input_path: &'static str,
}
