//! The roles of a CI pipeline: one deploys releases, the other cuts over. The first cannot move users by a cutover, and
//! neither can change the shared parts of the stack or any permission: only the owner of the stack can.

mod rights;

use super::environment::Fleet;
use super::keys::Keys;
use super::load_balancer::LoadBalancing;
use super::settings::Ci;
use super::storage::Storage;
use super::{Both, Settings, cutover, environment, tags};
use crate::values::{RefName, TokenSubject};
use cfn_kit::resources::iam::{OidcProvider, Policy, Role};
use cfn_kit::{Expr, PolicyDocument, Principal, Ref, Stack, Statement};

/// The issuer of the tokens of GitHub Actions:
/// <https://docs.github.com/en/actions/reference/security/oidc>.
const GITHUB: &str = "token.actions.githubusercontent.com";

/// The audience of tokens. AWS's GitHub action requests it by default; jobs of other issuers must request it
/// (<https://github.com/aws-actions/configure-aws-credentials>).
const AUDIENCE: &str = "sts.amazonaws.com";

/// The resources that the pipeline uses.
pub(super) struct Parts<'a> {
    pub balancer: &'a LoadBalancing,
    pub fleet: &'a Fleet,
    pub environments: &'a Both<environment::Environment>,
    pub storage: &'a Storage,
    pub keys: &'a Keys,
    pub cutover: &'a cutover::Cutover,
}

/// The roles.
pub(super) struct Roles {
    /// The role of jobs that deploy releases.
    pub deploy: Ref<Role>,
    /// The role of jobs that cut over. It exists only if the function exists, because it invokes the function.
    pub cutover: Ref<Role>,
}

/// Adds the roles to the stack, if the settings name the jobs that may assume them.
pub(super) fn add(stack: &mut Stack, settings: &Settings, parts: &Parts<'_>) -> Option<Roles> {
    let trusted = Trusted::of(&settings.ci)?;
    let provider = if let Some(arn) = &settings.ci.provider {
        arn.as_str().into()
    } else {
        let url = format!("https://{}", trusted.issuer);
        let provider = OidcProvider { url, client_id_list: vec![AUDIENCE], tags: tags("pipeline") };
        stack.add("Provider", provider).arn().text()
    };
    let deploy = Role {
        description: format!("Jobs of {}: deploy versions", trusted.name),
        assume_role_policy_document: trusted.policy(&provider, trusted.deploy.clone()),
        policies: vec![
            Policy::new("use-the-command", PolicyDocument::new(rights::deploy(parts))),
            Policy::new("update-the-environments", PolicyDocument::new(rights::cloudformation(parts))),
        ],
        tags: tags("pipeline-deploy"),
    };
    let cutover = Role {
        description: format!("Jobs of {}: cut over", trusted.name),
        assume_role_policy_document: trusted.policy(&provider, trusted.cutover.clone()),
        policies: vec![Policy::new("cut-over", PolicyDocument::new(rights::cutover(parts)))],
        tags: tags("pipeline-cutover"),
    };
    let roles =
        Roles { deploy: stack.add("PipelineDeployRole", deploy), cutover: stack.add("PipelineCutoverRole", cutover) };
    stack.when(&roles.cutover, &parts.cutover.deployed);
    Some(roles)
}

/// The tokens that may assume the roles.
struct Trusted {
    /// The issuer of the tokens. In a policy, it is the prefix of the names of claims.
    issuer: String,
    /// Its name for people.
    name: String,
    /// The subjects that may deploy.
    deploy: Vec<String>,
    /// The subjects that may cut over.
    cutover: Vec<String>,
}

impl Trusted {
    fn of(ci: &Ci) -> Option<Self> {
        if let Some(issuer) = &ci.issuer {
            let texts = |subjects: &[TokenSubject]| subjects.iter().map(TokenSubject::to_string).collect();
            let (deploy, cutover) = (texts(&ci.deploy_subjects), texts(&ci.cutover_subjects));
            return Some(Self { issuer: issuer.to_string(), name: issuer.to_string(), deploy, cutover });
        }
        let repositories = ci.github.as_ref()?.in_tokens();
        let subjects = |kind: &str, names: &[RefName]| {
            let of = |repository: &String| {
                names.iter().map(|name| format!("repo:{repository}:{kind}{name}")).collect::<Vec<_>>()
            };
            repositories.iter().flat_map(of).collect::<Vec<_>>()
        };
        let branches = subjects("ref:refs/heads/", &ci.branches);
        Some(Self {
            issuer: GITHUB.to_owned(),
            name: format!("GitHub Actions of {}", repositories.first()?),
            deploy: [subjects("environment:", &ci.deploy_environments), branches].concat(),
            cutover: subjects("environment:", &ci.cutover_environments),
        })
    }

    /// The condition to assume a role: tokens for AWS with one of these subjects. They are compared exactly, because a
    /// pattern could admit other subjects.
    fn policy(&self, provider: &Expr<String>, subjects: Vec<String>) -> PolicyDocument {
        let trust = Statement::allow("Assume", &["sts:AssumeRoleWithWebIdentity"], Vec::new())
            .by(Principal::Federated { provider: provider.clone() })
            .only_if("StringEquals", format!("{}:aud", self.issuer), AUDIENCE)
            .only_if_one_of("StringEquals", format!("{}:sub", self.issuer), subjects);
        PolicyDocument::new(vec![trust])
    }
}
