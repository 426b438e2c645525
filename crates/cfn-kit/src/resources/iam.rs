//! AWS Identity and Access Management.

use serde::Serialize;

use crate::{Arn, Expr, Name, PolicyDocument, Ref, Resource, Tag};

/// A role that AWS services assume.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    /// Its description.
    pub description: String,
    /// The trust policy: the principals that may assume it.
    pub assume_role_policy_document: PolicyDocument,
    /// Its permissions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Role {
    const TYPE: &'static str = "AWS::IAM::Role";
}

impl Ref<Role> {
    /// The role's ARN.
    pub fn arn(&self) -> Expr<Arn<Role>> {
        self.attribute("Arn")
    }

    /// The role's name.
    pub fn name(&self) -> Expr<Name<Role>> {
        self.reference()
    }
}

/// An OIDC identity provider. An account can have only one for each URL
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OidcProvider {
    /// The issuer of its tokens.
    pub url: String,
    /// The audiences of its tokens.
    pub client_id_list: Vec<&'static str>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for OidcProvider {
    const TYPE: &'static str = "AWS::IAM::OIDCProvider";
}

impl Ref<OidcProvider> {
    /// The provider's ARN.
    pub fn arn(&self) -> Expr<Arn<OidcProvider>> {
        self.attribute("Arn")
    }
}

/// An inline policy of roles that are declared elsewhere.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InlinePolicy {
    /// Its name, unique in each role.
    pub policy_name: String,
    /// What it allows.
    pub policy_document: PolicyDocument,
    /// The roles.
    pub roles: Vec<Expr<Name<Role>>>,
}

impl Resource for InlinePolicy {
    const TYPE: &'static str = "AWS::IAM::Policy";
}

/// An inline policy of a role.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// Its name, unique in the role.
    pub policy_name: String,
    /// What it allows.
    pub policy_document: PolicyDocument,
}

impl Policy {
    /// The policy with this name.
    pub fn new(policy_name: &str, policy_document: PolicyDocument) -> Self {
        Self { policy_name: policy_name.to_owned(), policy_document }
    }
}
