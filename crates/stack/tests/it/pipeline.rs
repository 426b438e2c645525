//! The policies of the roles of a CI pipeline: who may assume them, what each allows, and that they allow no possible
//! attack.

use crate::profiles::profile;
use crate::simulate::{Identity, Request};
use cfn_kit::assertions::Checked;
use serde_json::json;
use stack::settings::SettingsError;
use stack::{Settings, synthesize};

const ISSUER: &str = "token.actions.githubusercontent.com";
const ROLES: [&str; 2] = ["PipelineDeployRole", "PipelineCutoverRole"];
const STACK: &str = "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop/1";

/// Actions that no role of a CI pipeline may perform on any resource.
const NEVER: [&str; 22] = [
    "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
    "lambda:AddPermission",
    "elasticloadbalancing:ModifyListener",
    "elasticloadbalancing:ModifyRule",
    "elasticloadbalancing:CreateRule",
    "elasticloadbalancing:SetRulePriorities",
    "elasticloadbalancing:DeleteRule",
    "elasticloadbalancing:AddTags",
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
    "iam:UpdateAssumeRolePolicy",
    "iam:CreateServiceLinkedRole",
    "cloudformation:DeleteStack",
    "cloudformation:UpdateStack",
    "cloudformation:UpdateTerminationProtection",
    "s3:DeleteObject",
    "s3:PutBucketPolicy",
    "events:PutRule",
    "ec2:DescribeAvailabilityZones",
    "ecs:RunTask",
];

fn of(settings: &Settings) -> Checked {
    Checked::new(&synthesize(settings).unwrap())
}

fn everything() -> Settings {
    Settings { autoscaling: profile("autoscaling").autoscaling, ..profile("ci") }
}

fn deploy() -> Identity {
    Identity::of(&of(&everything()), "PipelineDeployRole", "AROADEPLOY:job")
}

fn cutover() -> Identity {
    Identity::of(&of(&everything()), "PipelineCutoverRole", "AROACUTOVER:job")
}

fn token(subject: &str) -> Request {
    Request::default()
        .with("token.actions.githubusercontent.com:aud", "sts.amazonaws.com")
        .with("token.actions.githubusercontent.com:sub", subject)
}

#[test]
fn each_role_is_assumed_by_its_own_environments_and_only_deploying_by_branches() {
    let (deploy, cutover) = (deploy(), cutover());
    for repository in ["example/shop", "example@123/shop@456"] {
        let of = |rest: &str| token(&format!("repo:{repository}:{rest}"));
        assert!(deploy.is_given_to(&of("environment:staging")));
        assert!(deploy.is_given_to(&of("ref:refs/heads/main")));
        assert!(cutover.is_given_to(&of("environment:production")));
        // The approval of production cannot be bypassed: a token of staging or of a branch cannot cut over.
        assert!(!cutover.is_given_to(&of("environment:staging")));
        assert!(!cutover.is_given_to(&of("ref:refs/heads/main")));
        assert!(!deploy.is_given_to(&of("environment:production")));
        for other in ["pull_request", "ref:refs/heads/other", "environment:staging2", "ref:refs/tags/main"] {
            assert!(!deploy.is_given_to(&of(other)) && !cutover.is_given_to(&of(other)), "{other}");
        }
    }
    for repository in ["example/shop2", "example@9/shop@456", "example@123/shop@9", "evil/shop"] {
        let [staging, production] =
            ["staging", "production"].map(|name| token(&format!("repo:{repository}:environment:{name}")));
        assert!(!deploy.is_given_to(&staging) && !cutover.is_given_to(&production), "{repository}");
    }
    let for_another =
        token("repo:example/shop:environment:staging").with("token.actions.githubusercontent.com:aud", "x");
    assert!(!deploy.is_given_to(&for_another));
    assert!(!deploy.is_given_to(&Request::default()));
}

#[test]
fn the_provider_is_the_stack_s_or_the_account_s() {
    let trust = |template: &Checked| {
        ROLES.map(|role| {
            template.properties(role)["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Federated"].clone()
        })
    };
    let template = of(&profile("ci"));
    assert_eq!(
        trust(&template),
        [json!({ "Fn::GetAtt": ["Provider", "Arn"] }), json!({ "Fn::GetAtt": ["Provider", "Arn"] })]
    );
    assert_eq!(template.properties("Provider")["Url"], format!("https://{ISSUER}"));
    let existing = format!("arn:aws:iam::123456789012:oidc-provider/{ISSUER}");
    let template =
        of(&Settings::parse(&format!("[ci]\ngithub = \"example/shop\"\nprovider = \"{existing}\"")).unwrap());
    assert_eq!(template.ids_of("AWS::IAM::OIDCProvider").len(), 0);
    assert_eq!(trust(&template), [json!(existing), json!(existing)]);
}

#[test]
fn another_issuer_s_tokens_are_compared_by_their_own_claims() {
    let template = of(&profile("ci-issuer"));
    assert_eq!(template.properties("Provider")["Url"], "https://gitlab.com");
    let [deploy, cutover] = ROLES.map(|role| Identity::of(&template, role, "AROA:job"));
    let token =
        |subject: &str| Request::default().with("gitlab.com:aud", "sts.amazonaws.com").with("gitlab.com:sub", subject);
    let main = token("project_path:example/shop:ref_type:branch:ref:main");
    let production = token("project_path:example/shop:ref_type:branch:ref:production");
    assert!(deploy.is_given_to(&main) && !cutover.is_given_to(&main));
    assert!(cutover.is_given_to(&production) && !deploy.is_given_to(&production));
    assert!(!deploy.is_given_to(&token("project_path:example/shop:ref_type:branch:ref:other")));
}

#[test]
fn neither_role_moves_traffic_by_itself_or_changes_the_function_or_who_may_do_what() {
    for identity in [deploy(), cutover()] {
        let actions = identity.actions();
        for never in NEVER {
            assert!(!actions.iter().any(|action| crate::patterns::like(never, action)), "{never}");
        }
    }
}

#[test]
fn only_the_cutover_role_invokes_the_function_and_it_changes_nothing_itself() {
    let request = Request::default();
    assert!(cutover().may("lambda:InvokeFunction", "CutoverFunction.Arn", &request));
    assert!(!cutover().may("lambda:InvokeFunction", "OtherFunction.Arn", &request));
    assert!(!deploy().actions().iter().any(|action| action.starts_with("lambda:")));
    let reads = ["Describe", "Get", "List", "FilterLogEvents", "Decrypt", "GenerateDataKey", "InvokeFunction"];
    for action in cutover().actions() {
        let verb = action.split(':').nth(1).unwrap();
        assert!(reads.iter().any(|read| verb.starts_with(read)), "{action}");
    }
}

#[test]
fn a_deploying_job_writes_templates_nobody_else_executes_and_no_code_or_records() {
    let (identity, request) = (deploy(), Request::default());
    let put = |key: &str| identity.may("s3:PutObject", &format!("Bucket.Arn/{key}"), &request);
    assert!(put("templates/AROADEPLOY:job/1.json"));
    for other in [
        "templates/1.json",
        "templates/AROAADMIN:person/1.json",
        "templates/AROADEPLOY:jobs/1.json",
        "code/1.zip",
        "cutover/runs/1.json",
        "cutover/samples/1.json",
        "cutover/lock.json.zip",
        "other",
    ] {
        assert!(!put(other), "{other}");
    }
    assert!(put("cutover/lock.json") && put("releases/blue.json"));
    assert!(identity.may("s3:GetObject", "Bucket.Arn/cutover/runs/1.json", &request));
    // Not even reading: what an administrator deploys may contain confidential data.
    assert!(!identity.may("s3:GetObject", "Bucket.Arn/templates/AROAADMIN:person/1.json", &request));
    let cutover = cutover();
    for key in ["templates/AROACUTOVER:job/1.json", "cutover/lock.json", "releases/blue.json", "code/1.zip"] {
        assert!(!cutover.may("s3:PutObject", &format!("Bucket.Arn/{key}"), &request), "{key}");
    }
}

#[test]
fn a_deploying_job_gives_only_tasks_only_their_roles() {
    let identity = deploy();
    let to = |service: &str| Request::default().with("iam:PassedToService", service);
    for role in ["BlueExecutionRole.Arn", "BlueTaskRole.Arn", "GreenExecutionRole.Arn", "GreenTaskRole.Arn"] {
        assert!(identity.may("iam:PassRole", role, &to("ecs-tasks.amazonaws.com")), "{role}");
        assert!(!identity.may("iam:PassRole", role, &to("lambda.amazonaws.com")), "{role}");
        assert!(!identity.may("iam:PassRole", role, &Request::default()), "{role}");
    }
    for role in ["CutoverRole.Arn", "PipelineCutoverRole.Arn", "arn:aws:iam::123456789012:role/admin"] {
        assert!(!identity.may("iam:PassRole", role, &to("ecs-tasks.amazonaws.com")), "{role}");
    }
    assert!(!cutover().actions().iter().any(|action| action.starts_with("iam:")));
}

#[test]
fn a_deploying_job_changes_this_stack_s_environments_and_no_others() {
    let (identity, request) = (deploy(), Request::default());
    let ecs = |rest: &str| format!("arn:aws:ecs:eu-central-1:123456789012:{rest}");
    assert!(identity.may("ecs:UpdateService", &ecs("service/Cluster/shop-blue"), &request));
    assert!(!identity.may("ecs:UpdateService", &ecs("service/other/shop-blue"), &request));
    assert!(identity.may("ecs:RegisterTaskDefinition", &ecs("task-definition/shop-blue:*"), &request));
    assert!(!identity.may("ecs:RegisterTaskDefinition", &ecs("task-definition/payroll:1"), &request));
    assert!(!identity.may("ecs:RegisterTaskDefinition", &ecs("task-definition/shop-blue-2:1"), &request));
    assert!(identity.may("elasticloadbalancing:ModifyTargetGroup", "BlueTargetGroup", &request));
    assert!(!identity.may("elasticloadbalancing:ModifyTargetGroup", "OtherTargetGroup", &request));
    assert!(identity.may("logs:PutRetentionPolicy", "GreenLogGroup.Arn", &request));
    assert!(!identity.may("logs:PutRetentionPolicy", "CutoverLogGroup.Arn", &request));
    assert!(identity.may("cloudformation:CreateChangeSet", STACK, &request));
    let other = STACK.replace("/shop/", "/shop2/");
    assert!(!identity.may("cloudformation:CreateChangeSet", &other, &request));
    let target = "arn:aws:application-autoscaling:eu-central-1:123456789012:scalable-target/1";
    let of = |namespace: &str, dimension: &str| {
        Request::default()
            .with("application-autoscaling:service-namespace", namespace)
            .with("application-autoscaling:scalable-dimension", dimension)
    };
    let scale = "application-autoscaling:RegisterScalableTarget";
    assert!(identity.may(scale, target, &of("ecs", "ecs:service:DesiredCount")));
    assert!(!identity.may(scale, target, &of("dynamodb", "dynamodb:table:ReadCapacityUnits")));
    assert!(!identity.may(scale, target, &request));
}

#[test]
fn the_stack_tells_both_roles_and_that_which_invokes_the_function_exists_only_with_it() {
    let template = of(&profile("ci"));
    let outputs = &template.json()["Outputs"];
    assert_eq!(outputs["PipelineDeployRoleArn"]["Value"], json!({ "Fn::GetAtt": ["PipelineDeployRole", "Arn"] }));
    assert_eq!(outputs["PipelineCutoverRoleArn"]["Value"], json!({ "Fn::GetAtt": ["PipelineCutoverRole", "Arn"] }));
    assert_eq!(template.json()["Resources"]["PipelineCutoverRole"]["Condition"], "CutoverDeployed");
    assert_eq!(outputs["PipelineCutoverRoleArn"]["Condition"], "CutoverDeployed");
}

#[test]
fn settings_of_a_pipeline_that_would_let_others_in_are_refused() {
    for wrong in [
        "github = \"shop\"",
        "github = \"example/*\"",
        "github = \"example@1/shop\"",
        "deploy_environments = [\"production\"]",
        "github = \"example/shop\"\ndeploy_environments = []",
        "github = \"example/shop\"\ncutover_environments = []",
        "github = \"example/shop\"\ncutover_environments = [\"staging\"]",
        "github = \"example/shop\"\nbranches = [\"*\"]",
        "github = \"example/shop\"\ndeploy_environments = [\"a:ref:b\"]",
        "github = \"example/shop\"\nenvironments = [\"staging\"]",
        "github = \"example/shop\"\nprovider = \"arn:aws:iam::123456789012:role/admin\"",
        "github = \"example/shop\"\nissuer = \"gitlab.com\"",
        "github = \"example/shop\"\ndeploy_subjects = [\"x\"]",
        "issuer = \"gitlab.com\"",
        "issuer = \"https://gitlab.com\"\ndeploy_subjects = [\"a\"]\ncutover_subjects = [\"b\"]",
        "issuer = \"gitlab.com\"\ndeploy_subjects = [\"a\"]\ncutover_subjects = [\"a\"]",
        "issuer = \"gitlab.com\"\ndeploy_subjects = [\"a:*\"]\ncutover_subjects = [\"b\"]",
        "issuer = \"gitlab.com\"\ndeploy_subjects = [\"a\"]\ncutover_subjects = [\"b\"]\nbranches = [\"main\"]",
    ] {
        let error = Settings::parse(&format!("[ci]\n{wrong}")).unwrap_err();
        assert!(matches!(error, SettingsError::Invalid { .. }), "{wrong}: {error:?}");
    }
}
