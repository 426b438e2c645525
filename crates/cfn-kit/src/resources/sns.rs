//! Amazon Simple Notification Service: who is told.

use serde::Serialize;

use super::kms::Key;
use super::values::Email;
use crate::{Arn, Expr, PolicyDocument, Ref, Resource, Statement, Tag};

/// What people and programs subscribe to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Topic {
    /// The key that messages are encrypted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_master_key_id: Option<Expr<Arn<Key>>>,
    /// Who gets them.
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

    /// Lets its holder send messages to the topic.
    pub fn grant_publish(&self) -> Statement {
        Statement::allow("Publish", &["sns:Publish"], vec![self.arn().text()])
    }
}

/// Somebody who gets messages.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subscription {
    protocol: &'static str,
    endpoint: Email,
}

impl Subscription {
    /// By mail; the address must confirm it.
    pub fn mail(to: &Email) -> Self {
        Self { protocol: "email", endpoint: to.clone() }
    }
}

/// Who may send messages to topics.
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
