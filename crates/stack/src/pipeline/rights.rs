//! The permissions of each role of a CI pipeline. `docs/how-to/ci.md` describes them.
//!
//! Which actions accept narrower resources than `*`, and which conditions:
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>.

use model::color::Color;

use super::Parts;
use cfn_kit::resources::elbv2::TargetGroup;
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::{Expr, Ref, Statement, own_arn, sub};

/// The calls of the command in a job that deploys: `diff`, `deploy --version`, `status`, `history`, `logs`.
pub(super) fn deploy(parts: &Parts<'_>) -> Vec<Statement> {
    let change_sets =
        sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:changeSet/bluegreen-*/*");
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
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
                "cloudformation:GetTemplate",
                "cloudformation:ListStackResources",
            ],
            vec![this_stack()],
        ),
        // Only this call returns why a change set was rejected.
        Statement::allow("SeeRefusals", &["cloudformation:DescribeEvents"], vec![this_stack(), change_sets]),
        see_traffic(&["elasticloadbalancing:DescribeLoadBalancers"]),
        see_requests(),
        Statement::allow("ReadLogs", &["logs:FilterLogEvents", "logs:GetLogEvents"], environment_logs(parts)),
    ];
    may.extend(see_tasks(parts));
    may.extend(parts.storage.grant_push());
    may.push(parts.storage.grant_see_images());
    may.extend(parts.storage.grant_see_owner());
    may.extend(parts.storage.grant_read_ledger());
    may.push(parts.storage.grant_lease_and_releases());
    may.push(parts.storage.grant_own_templates());
    may.push(parts.storage.grant_see_code());
    may.extend(parts.keys.grant_use());
    may
}

/// The calls of the command in a job that cuts over: `cutover`, `rollback`, `status`, `history`, `report`, `logs
/// cutover`. None of them changes the stack; the function moves traffic.
pub(super) fn cutover(parts: &Parts<'_>) -> Vec<Statement> {
    let mut may = vec![
        Statement::allow(
            "SeeStack",
            &["cloudformation:DescribeStackResource", "cloudformation:DescribeStacks", "cloudformation:GetTemplate"],
            vec![this_stack()],
        ),
        Statement::allow("CutOver", &["lambda:InvokeFunction"], vec![parts.cutover.function.arn().text()]),
        see_traffic(&[]),
        see_requests(),
        Statement::allow("SeeServices", &["ecs:DescribeServices"], vec![parts.fleet.all("service")]),
        // It accepts no resource.
        Statement::allow("SeeDefinitions", &["ecs:DescribeTaskDefinition"], vec!["*".into()]),
        Statement::allow("ReadLogs", &["logs:FilterLogEvents"], vec![parts.cutover.log_group.arn().text()]),
    ];
    may.extend(see_tasks(parts));
    may.extend(parts.storage.grant_see_owner());
    may.extend(parts.storage.grant_read_ledger());
    may.extend(parts.keys.grant_use());
    may
}

/// The calls of CloudFormation on behalf of a job that deploys, if only a release changes: the image, its
/// configuration, its health check, its scaling, and the retention of its log. Any other change is not allowed: the
/// update fails, and CloudFormation rolls it back.
pub(super) fn cloudformation(parts: &Parts<'_>) -> Vec<Statement> {
    let services = parts.fleet.all("service");
    let definitions = families(&[":*"]);
    let roles = parts.fleet.roles();
    let mut may = vec![
        // These accept no resource and no condition.
        Statement::allow(
            "SeeAndEndDefinitions",
            &["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition"],
            vec!["*".into()],
        ),
        Statement::allow("DefineTasks", &["ecs:RegisterTaskDefinition"], families(&["", ":*"])),
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
            [vec![services], definitions].concat(),
        ),
        Statement::allow("SeeTaskRoles", &["iam:GetRole"], roles.clone()),
        Statement::allow("GiveTasksTheirRoles", &["iam:PassRole"], roles).only_if(
            "StringEquals",
            "iam:PassedToService",
            "ecs-tasks.amazonaws.com",
        ),
    ];
    may.extend(target_groups(parts));
    may.extend(log_groups(parts));
    // Each release determines whether there is scaling, and a pipeline deploys releases.
    may.extend(scaling());
    may
}

/// Task definitions of the two families of this stack, with these endings. The documented resource of a registration is
/// family and revision, but the revision does not exist yet
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>).
fn families(endings: &[&str]) -> Vec<Expr<String>> {
    let family = |color: Color, ending: &str| {
        own_arn("ecs", &["task-definition/".into(), Expr::stack_name(), format!("-{color}{ending}").into()])
    };
    Color::ALL.into_iter().flat_map(|color| endings.iter().map(move |ending| family(color, ending))).collect()
}

/// The health check of a release is in its target group.
fn target_groups(parts: &Parts<'_>) -> [Statement; 2] {
    let groups = &parts.balancer.target_groups;
    let groups = vec![Ref::<TargetGroup>::arn(&groups.blue).text(), Ref::<TargetGroup>::arn(&groups.green).text()];
    [
        Statement::allow(
            "CheckHealth",
            &["elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes"],
            groups,
        ),
        Statement::allow(
            "SeeTargetGroups",
            &["elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups"],
            vec!["*".into()],
        ),
    ]
}

/// Actions for tags use an ARN without `:*`, all others an ARN with it
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html>).
fn log_groups(parts: &Parts<'_>) -> [Statement; 3] {
    let groups = [&parts.environments.blue.log_group, &parts.environments.green.log_group];
    let tagged = groups.map(|group| own_arn("logs", &["log-group:".into(), Ref::<LogGroup>::name(group).text()]));
    [
        Statement::allow(
            "KeepLogs",
            &["logs:DescribeIndexPolicies", "logs:GetDataProtectionPolicy", "logs:PutRetentionPolicy"],
            environment_logs(parts),
        ),
        Statement::allow("SeeLogTags", &["logs:ListTagsForResource"], tagged.to_vec()),
        Statement::allow(
            "SeeLogGroups",
            &["logs:DescribeLogGroups", "logs:DescribeResourcePolicies"],
            vec!["*".into()],
        ),
    ]
}

/// The number of tasks of an environment. The ARN of a scalable target is not known before it exists, so a condition
/// limits it to ECS services.
fn scaling() -> [Statement; 3] {
    let targets =
        sub("arn:${AWS::Partition}:application-autoscaling:${AWS::Region}:${AWS::AccountId}:scalable-target/*");
    [
        Statement::allow(
            "Scale",
            &["application-autoscaling:PutScalingPolicy", "application-autoscaling:RegisterScalableTarget"],
            vec![targets.clone()],
        )
        .only_if("StringEquals", "application-autoscaling:service-namespace", "ecs")
        .only_if("StringEquals", "application-autoscaling:scalable-dimension", "ecs:service:DesiredCount"),
        Statement::allow("SeeScalingTags", &["application-autoscaling:ListTagsForResource"], vec![targets]),
        Statement::allow(
            "SeeScaling",
            &[
                "application-autoscaling:DescribeScalableTargets",
                "application-autoscaling:DescribeScalingPolicies",
                "application-autoscaling:DescribeScheduledActions",
            ],
            vec!["*".into()],
        ),
    ]
}

fn this_stack() -> Expr<String> {
    sub("arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}/*")
}

/// Reading which environment is live, and the health of its targets.
fn see_traffic(besides: &[&'static str]) -> Statement {
    let see = [
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetHealth",
    ];
    Statement::allow("SeeTraffic", &[besides, &see].concat(), vec!["*".into()])
}

/// CloudWatch accepts no narrower resource.
fn see_requests() -> Statement {
    Statement::allow("SeeRequests", &["cloudwatch:GetMetricData"], vec!["*".into()])
}

fn see_tasks(parts: &Parts<'_>) -> [Statement; 2] {
    let list = Statement::allow("ListTasks", &["ecs:ListTasks"], vec!["*".into()]);
    [
        Statement::allow("SeeTasks", &["ecs:DescribeTasks"], vec![parts.fleet.all("task")]),
        list.only_if("ArnEquals", "ecs:cluster", parts.fleet.cluster.arn().text()),
    ]
}

fn environment_logs(parts: &Parts<'_>) -> Vec<Expr<String>> {
    vec![parts.environments.blue.log_group.arn().text(), parts.environments.green.log_group.arn().text()]
}
