//! Amazon EventBridge: rules for events and schedules.
//!
//! ```
//! use cfn_kit::resources::events::{DetailPattern, EventPattern, Rule, Target};
//! use cfn_kit::resources::sns::Topic;
//! use cfn_kit::{Expr, Stack};
//!
//! let mut stack = Stack::new("Events of a stack become messages");
//! let topic = stack.add("Alerts", Topic { kms_master_key_id: None, subscription: vec![], tags: vec![] });
//! let pattern = EventPattern { source: vec!["bluegreen"], detail: DetailPattern { stack: vec![Expr::stack_name()] } };
//! let rule = Rule {
//!     description: "Cutovers of this stack".to_owned(),
//!     event_pattern: Some(pattern),
//!     schedule_expression: None,
//!     targets: vec![Target::topic("alerts", &topic, "$.detail.message")],
//! };
//! stack.add("Cutovers", rule);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::lambda::Function;
use super::sns::Topic;
use crate::{Arn, Expr, Ref, Resource, own_arn};

/// Sends events that match a pattern, or scheduled events, to targets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// Its description.
    pub description: String,
    /// The pattern that events must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_pattern: Option<EventPattern>,
    /// The schedule, for a rule without events, such as `rate(5 minutes)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_expression: Option<&'static str>,
    /// The targets.
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

/// The pattern that events must match.
#[derive(Clone, Debug, Serialize)]
pub struct EventPattern {
    /// The source of the event.
    pub source: Vec<&'static str>,
    /// The detail of the event.
    pub detail: DetailPattern,
}

/// The pattern for the detail of a cutover's event.
#[derive(Clone, Debug, Serialize)]
pub struct DetailPattern {
    /// One of these stacks.
    pub stack: Vec<Expr<String>>,
}

/// The target of an event.
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
    /// A topic, which gets the part of the event at this `JSONPath`. The id is unique in the rule.
    pub fn topic(id: &'static str, topic: &Ref<Topic>, input_path: &'static str) -> Self {
        Self { id, arn: topic.arn().text(), input: None, input_path: Some(input_path) }
    }

    /// A function, which gets this JSON instead of the event; it needs a [`Permission`](super::lambda::Permission) too.
    ///
    /// The ARN is composed from the name. With the ARN attribute, CloudFormation would predict that every change of the
    /// function may change the rule and replace the permission.
    pub fn function(id: &'static str, function: &Ref<Function>, input: &'static str) -> Self {
        let arn = own_arn("lambda", &["function:".into(), function.name().text()]);
        Self { id, arn, input: Some(input), input_path: None }
    }
}
