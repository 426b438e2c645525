//! AWS Identity and Access Management.
//!
//! ```
//! use cfn_kit::resources::iam::{InlinePolicy, OidcProvider, Policy, Role};
//! use cfn_kit::{PolicyDocument, Principal, Stack, Statement};
//!
//! let mut stack = Stack::new("A pipeline may deploy");
//! let provider = OidcProvider {
//!     url: "https://token.actions.githubusercontent.com".to_owned(),
//!     client_id_list: vec!["sts.amazonaws.com"],
//!     tags: vec![],
//! };
//! let provider = stack.add("Provider", provider);
//! let trust = Statement::allow("Assume", &["sts:AssumeRoleWithWebIdentity"], vec![])
//!     .by(Principal::Federated { provider: provider.arn().text() })
//!     .only_if("StringEquals", "token.actions.githubusercontent.com:aud", "sts.amazonaws.com");
//! let read = Statement::allow("ReadStacks", &["cloudformation:DescribeStacks"], vec!["*".into()]);
//! let role = Role {
//!     description: "The pipeline".to_owned(),
//!     assume_role_policy_document: PolicyDocument::new(vec![trust]),
//!     policies: vec![Policy::new("read", PolicyDocument::new(vec![read]))],
//!     tags: vec![],
//! };
//! let role = stack.add("Pipeline", role);
//!
//! // A permission that is declared beside the resource that it is for.
//! let push = Statement::allow("Login", &["ecr:GetAuthorizationToken"], vec!["*".into()]);
//! let push = InlinePolicy {
//!     policy_name: "push".to_owned(),
//!     policy_document: PolicyDocument::new(vec![push]),
//!     roles: vec![role.name()],
//! };
//! stack.add("Push", push);
//! assert!(stack.finish().is_ok());
//! ```

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
