//! The role of a pipeline: GitHub Actions of one repository may put versions on the environments and cut over. It may not
//! change the stack itself, least of all who may do what: that stays with whoever made the stack.

use super::environment::Fleet;
use super::keys::Keys;
use super::load_balancer::LoadBalancing;
use super::storage::Storage;
use super::{Both, Settings, cutover, environment, tags};
use crate::cdk::{PolicyDocument, Principal, Ref, Stack, Statement, sub};
use crate::resources::iam::{OidcProvider, Policy, Role};

/// Where GitHub's tokens come from, and what the names of their claims begin with.
const ISSUER: &str = "token.actions.githubusercontent.com";
const AUDIENCE: &str = "sts.amazonaws.com";

/// What the pipeline works with.
pub(super) struct Parts<'a> {
    pub balancer: &'a LoadBalancing,
    pub fleet: &'a Fleet,
    pub environments: &'a Both<environment::Environment>,
    pub storage: &'a Storage,
    pub keys: &'a Keys,
    pub cutover: &'a cutover::Cutover,
}

/// Adds the role to the stack, where the settings name a repository. It exists only where the function does, which it
/// invokes.
pub(super) fn add(stack: &mut Stack, settings: &Settings, parts: &Parts<'_>) -> Option<Ref<Role>> {
    let ci = &settings.ci;
    let repository = ci.github.as_ref()?;
    let provider = if let Some(arn) = &ci.provider {
        arn.as_str().into()
    } else {
        let url = format!("https://{ISSUER}");
        let provider = OidcProvider { url, client_id_list: vec![AUDIENCE], tags: tags("pipeline") };
        stack.add("Provider", provider).arn().text()
    };
    let of = |kind: &str, names: &[crate::resources::values::RefName]| {
        names.iter().map(|name| format!("repo:{repository}:{kind}{name}")).collect::<Vec<_>>()
    };
    let subjects = [of("environment:", &ci.environments), of("ref:refs/heads/", &ci.branches)].concat();
    let trust = Statement::allow("Assume", &["sts:AssumeRoleWithWebIdentity"], Vec::new())
        .by(Principal::Federated { provider })
        .only_if("StringEquals", "token.actions.githubusercontent.com:aud", AUDIENCE)
        .only_if_one_of("StringEquals", "token.actions.githubusercontent.com:sub", subjects);
    let role = stack.add(
        "PipelineRole",
        Role {
            description: format!("GitHub Actions of {repository}: deploys versions and cuts over"),
            assume_role_policy_document: PolicyDocument::new(vec![trust]),
            policies: vec![
                Policy::new("use-the-command", PolicyDocument::new(command(parts))),
                Policy::new("update-the-environments", PolicyDocument::new(cloudformation(parts))),
            ],
            tags: tags("pipeline"),
        },
    );
    stack.when(&role, &parts.cutover.deployed);
    Some(role)
}

/// What the command itself calls in `diff`, `deploy --version`, `cutover`, `rollback`, `status`, `history`, `report`
/// and `logs`.
fn command(parts: &Parts<'_>) -> Vec<Statement> {
    let this_stack =
        sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}/*");
    let logs = [&parts.environments.blue.log_group, &parts.environments.green.log_group, &parts.cutover.log_group];
    let tasks = parts.fleet.all("task");
    let mut may = vec![
        Statement::allow(
            "ChangeStack",
            &[
                "cloudformation:CancelUpdateStack",
                "cloudformation:ContinueUpdateRollback",
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStackResource",
                "cloudformation:ListStackResources",
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplate",
            ],
            vec![this_stack],
        ),
        Statement::allow(
            "SeeTraffic",
            &[
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeTargetHealth",
            ],
            vec!["*".into()],
        ),
        // CloudWatch accepts nothing narrower.
        Statement::allow("SeeRequests", &["cloudwatch:GetMetricData"], vec!["*".into()]),
        Statement::allow("SeeTasks", &["ecs:DescribeTasks"], vec![tasks]),
        Statement::allow("ListTasks", &["ecs:ListTasks"], vec!["*".into()]).only_if(
            "ArnEquals",
            "ecs:cluster",
            parts.fleet.cluster.arn().text(),
        ),
        Statement::allow("CutOver", &["lambda:InvokeFunction"], vec![parts.cutover.function.arn().text()]),
        Statement::allow(
            "ReadLogs",
            &["logs:FilterLogEvents", "logs:GetLogEvents"],
            logs.map(|group| group.arn().text()).to_vec(),
        ),
    ];
    may.extend(parts.storage.grant_push());
    may.extend(parts.storage.grant_ledger());
    may.push(parts.storage.grant_upload());
    may.extend(parts.keys.grant_use());
    may
}

/// What CloudFormation calls in the pipeline's name where another version, another function, or another idea of prod is
/// all that changes. A change of anything else is not allowed, and so fails and is taken back.
fn cloudformation(parts: &Parts<'_>) -> Vec<Statement> {
    let services = parts.fleet.all("service");
    let definitions = sub("arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task-definition/*:*");
    vec![
        Statement::allow(
            "SeeListeners",
            &["elasticloadbalancing:DescribeListenerAttributes", "elasticloadbalancing:DescribeTags"],
            vec!["*".into()],
        ),
        Statement::allow(
            "DefineTasks",
            &["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"],
            vec!["*".into()],
        ),
        Statement::allow(
            "UpdateServices",
            &[
                "ecs:DescribeServiceDeployments",
                "ecs:DescribeServices",
                "ecs:ListServiceDeployments",
                "ecs:UpdateService",
            ],
            vec![services.clone(), parts.fleet.all("service-deployment")],
        ),
        Statement::allow(
            "TagVersions",
            &["ecs:ListTagsForResource", "ecs:TagResource", "ecs:UntagResource"],
            vec![services, definitions],
        ),
        Statement::allow("GiveTasksTheirRoles", &["iam:GetRole", "iam:PassRole"], parts.fleet.roles()).only_if(
            "StringEqualsIfExists",
            "iam:PassedToService",
            "ecs-tasks.amazonaws.com",
        ),
        Statement::allow(
            "UpdateFunction",
            &[
                "lambda:GetFunction",
                "lambda:GetFunctionCodeSigningConfig",
                "lambda:GetFunctionRecursionConfig",
                "lambda:GetFunctionScalingConfig",
                "lambda:GetRuntimeManagementConfig",
                "lambda:UpdateFunctionCode",
            ],
            vec![parts.cutover.function.arn().text()],
        ),
    ]
}
