//! IAM policy documents.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::expr::{Expr, sub};

/// A policy document: what an identity may do, or who may use a resource.
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
    /// Denies it, whatever else allows it.
    Deny,
}

/// Who a statement is about, in policies that are attached to a resource or that say who may assume a role.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Principal {
    /// An AWS service, for example `ecs-tasks.amazonaws.com`.
    Service {
        /// The service's host name.
        #[serde(rename = "Service")]
        service: Expr<String>,
    },
    /// An AWS account, or somebody in one, by ARN.
    Identity {
        /// The ARN.
        #[serde(rename = "AWS")]
        arn: Expr<String>,
    },
    /// Whoever an identity provider vouches for, by the provider's ARN.
    Federated {
        /// The ARN.
        #[serde(rename = "Federated")]
        provider: Expr<String>,
    },
    /// Anybody (for denials).
    Anyone(&'static str),
}

impl Principal {
    /// Anybody: only sensible in a statement that denies.
    pub const ANYONE: Self = Self::Anyone("*");

    /// An AWS service by its host name.
    pub fn service(service: impl Into<Expr<String>>) -> Self {
        Self::Service { service: service.into() }
    }

    /// Everybody in this account whom the account's own policies allow it.
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

    /// Lets an AWS service assume the role that this statement's document trusts.
    pub fn trust(service: &'static str) -> Self {
        Self::allow("Assume", &["sts:AssumeRole"], Vec::new()).by(Principal::service(service))
    }

    /// Applies the statement only to what an AWS service does for this account (the confused-deputy condition).
    #[must_use]
    pub fn only_from_this_account(self) -> Self {
        self.only_if("StringEquals", "aws:SourceAccount", Expr::account_id())
    }

    /// Says who the statement is about.
    #[must_use]
    pub fn by(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Applies the statement only where the request's `key` stands in the relation `operator` to `value`.
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
