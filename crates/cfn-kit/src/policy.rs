//! IAM policy documents.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::expr::{Expr, sub};

/// A policy document: what an identity may do, or who may use a resource.
///
/// ```
/// use cfn_kit::{Effect, PolicyDocument, Principal, Statement};
/// use serde_json::json;
///
/// let read = Statement::allow("Read", &["s3:GetObject"], vec!["arn:aws:s3:::shop/*".into()])
///     .by(Principal::service("cloudtrail.amazonaws.com"))
///     .only_from_this_account();
/// let policy = serde_json::to_value(PolicyDocument::new(vec![read])).unwrap();
/// let statement = &policy["Statement"][0];
/// assert_eq!(statement["Effect"], serde_json::to_value(Effect::Allow).unwrap());
/// assert_eq!(statement["Condition"]["StringEquals"]["aws:SourceAccount"], json!({ "Ref": "AWS::AccountId" }));
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: Vec<Statement>,
}

impl PolicyDocument {
    /// A document with these statements, in the current policy language (2012-10-17).
    pub fn new(statement: Vec<Statement>) -> Self {
        Self { version: "2012-10-17", statement }
    }
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Allows what the statement names.
    Allow,
    /// Denies it, even if another statement allows it.
    Deny,
}

/// The principal of a statement, in policies of resources and in trust policies of roles.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Principal {
    /// An AWS service, for example `ecs-tasks.amazonaws.com`.
    Service {
        /// The service's host name.
        #[serde(rename = "Service")]
        service: Expr<String>,
    },
    /// An AWS account, or a principal in one, by ARN.
    Identity {
        /// The ARN.
        #[serde(rename = "AWS")]
        arn: Expr<String>,
    },
    /// Every identity of an identity provider, by the ARN of the provider.
    Federated {
        /// The ARN.
        #[serde(rename = "Federated")]
        provider: Expr<String>,
    },
    /// Every principal (for denials).
    Anyone(&'static str),
}

impl Principal {
    /// Every principal. Use it only in a statement that denies.
    pub const ANYONE: Self = Self::Anyone("*");

    /// An AWS service by its host name.
    pub fn service(service: impl Into<Expr<String>>) -> Self {
        Self::Service { service: service.into() }
    }

    /// Every principal in this account that IAM policies of the account allow it.
    pub fn this_account() -> Self {
        Self::Identity { arn: sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root") }
    }
}

/// One statement of a policy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    sid: Cow<'static, str>,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    action: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<Expr<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<Cow<'static, str>, Value>>,
}

impl Statement {
    /// Allows `action` on `resource`.
    pub fn allow(sid: impl Into<Cow<'static, str>>, action: &[impl AsRef<str>], resource: Vec<Expr<String>>) -> Self {
        Self {
            sid: sid.into(),
            effect: Effect::Allow,
            principal: None,
            action: action.iter().map(|action| action.as_ref().to_owned()).collect(),
            resource,
            condition: BTreeMap::new(),
        }
    }

    /// Denies `action` on `resource`.
    pub fn deny(sid: impl Into<Cow<'static, str>>, action: &[impl AsRef<str>], resource: Vec<Expr<String>>) -> Self {
        Self { effect: Effect::Deny, ..Self::allow(sid, action, resource) }
    }

    /// Allows an AWS service to assume the role with this trust policy.
    pub fn trust(service: &'static str) -> Self {
        Self::allow("Assume", &["sts:AssumeRole"], Vec::new()).by(Principal::service(service))
    }

    /// Applies the statement only to requests of an AWS service for this account, against the confused deputy problem
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html>).
    #[must_use]
    pub fn only_from_this_account(self) -> Self {
        self.only_if("StringEquals", "aws:SourceAccount", Expr::account_id())
    }

    /// Sets the principal of the statement.
    #[must_use]
    pub fn by(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Applies the statement only if the `operator` holds between the request's `key` and `value`.
    #[must_use]
    pub fn only_if(
        mut self,
        operator: &'static str,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Expr<String>>,
    ) -> Self {
        self.condition.entry(operator).or_default().insert(key.into(), value.into().json().clone());
        self
    }

    /// The same, with one of several values.
    #[must_use]
    pub fn only_if_one_of(
        mut self,
        operator: &'static str,
        key: impl Into<Cow<'static, str>>,
        values: Vec<String>,
    ) -> Self {
        self.condition.entry(operator).or_default().insert(key.into(), values.into());
        self
    }
}
