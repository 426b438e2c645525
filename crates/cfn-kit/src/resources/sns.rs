//! Amazon Simple Notification Service: topics and subscriptions.
//!
//! ```
//! use cfn_kit::resources::sns::{Subscription, Topic, TopicPolicy};
//! use cfn_kit::resources::values::Email;
//! use cfn_kit::{PolicyDocument, Principal, Stack, Statement};
//!
//! let mut stack = Stack::new("Alarms reach a person");
//! let person = Email::try_from("on-call@shop.example").unwrap();
//! let topic = Topic { kms_master_key_id: None, subscription: vec![Subscription::mail(&person)], tags: vec![] };
//! let topic = stack.add("Alerts", topic);
//! let alarms = topic.grant_publish().by(Principal::service("cloudwatch.amazonaws.com")).only_from_this_account();
//! let policy = TopicPolicy { topics: vec![topic.arn()], policy_document: PolicyDocument::new(vec![alarms]) };
//! stack.add("AlertsPolicy", policy);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::kms::Key;
use super::values::Email;
use crate::{Arn, Expr, PolicyDocument, Ref, Resource, Statement, Tag};

/// A topic that people and programs subscribe to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Topic {
    /// The key that encrypts messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_master_key_id: Option<Expr<Arn<Key>>>,
    /// The subscriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscription: Vec<Subscription>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Topic {
    const TYPE: &'static str = "AWS::SNS::Topic";
}

impl Ref<Topic> {
    /// The topic's ARN.
    pub fn arn(&self) -> Expr<Arn<Topic>> {
        self.reference()
    }

    /// Allows publishing messages to the topic.
    pub fn grant_publish(&self) -> Statement {
        Statement::allow("Publish", &["sns:Publish"], vec![self.arn().text()])
    }
}

/// A receiver of messages.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subscription {
    protocol: &'static str,
    endpoint: Email,
}

impl Subscription {
    /// By email; the address must confirm the subscription
    /// (<https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html>).
    pub fn mail(to: &Email) -> Self {
        Self { protocol: "email", endpoint: to.clone() }
    }
}

/// The policy of topics: who may publish.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TopicPolicy {
    /// The topics.
    pub topics: Vec<Expr<Arn<Topic>>>,
    /// The policy.
    pub policy_document: PolicyDocument,
}

impl Resource for TopicPolicy {
    const TYPE: &'static str = "AWS::SNS::TopicPolicy";
}
