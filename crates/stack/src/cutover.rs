//! The cutover function and its role. Only the function may move traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use model::permissions::{self, Scope};
use model::variables::Variables;

use super::environment::{Environment, Fleet};
use super::keys::Keys;
use super::load_balancer::LoadBalancing;
use super::network::Network;
use super::part::{Marking, Serves};
use super::storage::Storage;
use super::{Both, Settings, tags};
use cfn_kit::resources::iam::{Policy, Role};
use cfn_kit::resources::lambda::{
    Code, DeadLetterConfig, Environment as FunctionEnvironment, EventInvokeConfig, Function, LoggingConfig,
};
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::sns::Topic;
use cfn_kit::{Condition, Expr, PolicyDocument, Ref, Stack, Statement, Test, join, sub};

/// The longest duration of an invocation in seconds, a limit of Lambda
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). A cutover that would take longer is
/// refused before it begins.
const TIMEOUT: u16 = 900;
/// The same, for callers that follow a run.
pub const FUNCTION_TIMEOUT: Duration = Duration::from_secs(TIMEOUT as u64);

/// The bus that receives an event for every finished run: the default bus of the account, which needs no resource.
const EVENT_BUS: &str = "default";

/// What the function is created from and works on.
pub struct Parts<'a> {
    /// The SHA-256 of its zip.
    pub code: &'a Expr<String>,
    /// What it moves.
    pub balancer: &'a LoadBalancing,
    /// The cluster whose services it reads.
    pub fleet: &'a Fleet,
    /// The environments that it moves traffic between.
    pub environments: &'a Both<Environment>,
    /// The storage of its code and of the ledger.
    pub storage: &'a Storage,
    /// The keys that encrypt its environment variables and its log.
    pub keys: &'a Keys,
    /// The network that it may run in.
    pub network: &'a Network,
    /// The topic for invocations that could not be executed.
    pub alarm_topic: Option<&'a Ref<Topic>>,
}

/// The cutover function.
pub struct Cutover {
    /// The function.
    pub function: Ref<Function>,
    /// Its log.
    pub log_group: Ref<LogGroup>,
    /// The condition that holds if its code is deployed.
    pub deployed: Condition,
}

impl Cutover {
    /// Adds the function to the stack; it exists only if its code is deployed.
    pub fn new(stack: &mut Stack, settings: &Settings, parts: &Parts<'_>) -> Self {
        let stack = &mut stack.serving(Serves::Nobody);
        let deployed = stack.condition("CutoverDeployed", Test::is_given(parts.code));
        let log_group = parts.keys.add_log(stack, "CutoverLogGroup", parts.keys.log_group(settings, "cutover"));
        let role = stack.add(
            "CutoverRole",
            Role {
                description: "The cutover function".to_owned(),
                assume_role_policy_document: PolicyDocument::new(vec![Statement::trust("lambda.amazonaws.com")]),
                policies: vec![Policy::new("cut-over", PolicyDocument::new(permissions(settings, parts, &log_group)))],
                tags: tags("cutover"),
            },
        );
        let function = stack.add(
            "CutoverFunction",
            Function {
                description: "Swaps prod and dev under probes. Test event: {\"to\":\"blue\"}".to_owned(),
                runtime: "provided.al2023",
                architectures: [settings.app.architecture],
                handler: "bootstrap",
                code: Code {
                    s3_bucket: parts.storage.bucket.name(),
                    s3_key: join(&["code/".into(), parts.code.clone(), ".zip".into()]),
                },
                role: role.arn(),
                memory_size: 512,
                timeout: TIMEOUT,
                environment: FunctionEnvironment { variables: variables(settings, parts) },
                logging_config: LoggingConfig { log_group: log_group.name(), log_format: "JSON" },
                kms_key_arn: parts.keys.arn(),
                vpc_config: parts.network.function.clone(),
                dead_letter_config: parts.alarm_topic.map(|topic| DeadLetterConfig { target_arn: topic.arn() }),
                reserved_concurrent_executions: settings.cutover.reserved_concurrency,
                tags: tags("cutover"),
            },
        );
        stack.when(&function, &deployed);
        if parts.network.function.is_some() {
            parts.network.before(stack, &function);
        }
        // By default, Lambda retries a failed asynchronous invocation twice and keeps a throttled one for up to six
        // hours:
        // https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        let invocation = stack.add(
            "CutoverInvocation",
            EventInvokeConfig {
                function_name: function.name(),
                qualifier: "$LATEST",
                maximum_retry_attempts: 0,
                maximum_event_age_in_seconds: 60,
            },
        );
        stack.when(&invocation, &deployed);
        Self { function, log_group, deployed }
    }
}

/// The permissions for the calls that the function lists (`model::permissions`), and what it needs in addition.
fn permissions(settings: &Settings, parts: &Parts<'_>, log_group: &Ref<LogGroup>) -> Vec<Statement> {
    let mut may: Vec<Statement> = Scope::ALL.into_iter().filter_map(|scope| grant(settings, parts, scope)).collect();
    may.push(Statement::allow(
        "WriteLog",
        &["logs:CreateLogStream", "logs:PutLogEvents"],
        vec![log_group.arn().text()],
    ));
    may.extend(parts.storage.grant_ledger());
    may.extend(parts.keys.grant_use());
    may.extend(parts.alarm_topic.map(Ref::<Topic>::grant_publish));
    if parts.network.function.is_some() {
        may.extend(network_interfaces());
    }
    may
}

/// The calls that the function makes in a scope. The storage grants those on the ledger.
fn grant(settings: &Settings, parts: &Parts<'_>, scope: Scope) -> Option<Statement> {
    let actions = permissions::actions(scope);
    match scope {
        Scope::Listeners => Some(parts.balancer.grant_make_rules(&actions)),
        Scope::Rules => Some(parts.balancer.grant_move(&actions)),
        Scope::NewRules => Some(parts.balancer.grant_tag_new_rules(&actions)),
        Scope::Traffic => Some(LoadBalancing::grant_see(&actions)),
        Scope::Services => Some(parts.fleet.grant_see(&actions)),
        Scope::Scaling => settings.cutover.idle_sleeps_after.map(|_| parts.fleet.grant_scale(&actions)),
        Scope::EventBus => Some(Statement::allow("Tell", &actions, vec![event_bus()])),
        Scope::LedgerObjects | Scope::LedgerList => None,
    }
}

fn event_bus() -> Expr<String> {
    sub(&format!("arn:${{AWS::Partition}}:events:${{AWS::Region}}:${{AWS::AccountId}}:event-bus/{EVENT_BUS}"))
}

/// The permissions that Lambda needs to attach a function to a VPC; they accept no narrower resources
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html>).
fn network_interfaces() -> [Statement; 2] {
    let interfaces = sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*");
    [
        Statement::allow(
            "OwnNetworkInterfaces",
            &[
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:UnassignPrivateIpAddresses",
            ],
            vec![interfaces],
        ),
        Statement::allow(
            "SeeNetworkInterfaces",
            &["ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"],
            vec!["*".into()],
        ),
    ]
}

/// The configuration of the function, as `cutover::config` reads it.
fn variables(settings: &Settings, parts: &Parts<'_>) -> BTreeMap<&'static str, Expr<String>> {
    let balancer = parts.balancer;
    let header = settings.app.version_header.as_str();
    let variables = Variables {
        stack: Expr::stack_name(),
        prod_listener: balancer.prod.arn().text(),
        dev_listener: balancer.dev.arn().text(),
        blue_target_group: balancer.target_groups.blue.arn().text(),
        green_target_group: balancer.target_groups.green.arn().text(),
        cluster: parts.fleet.cluster.name().text(),
        blue_service: Some(parts.environments.blue.service_arn().text()),
        green_service: Some(parts.environments.green.service_arn().text()),
        bucket: parts.storage.bucket.name().text(),
        prod_url: balancer.prod_url.clone(),
        dev_url: balancer.dev_url.clone(),
        version_header: (!header.is_empty()).then(|| header.into()),
        probe_path: Some(settings.cutover.probe_path.as_str().into()),
        success_codes: Some(settings.cutover.success_codes.as_str().into()),
        event_bus: Some(EVENT_BUS.into()),
        connect_to: balancer.connect_to.clone(),
        idle_sleeps_after: settings.cutover.idle_sleeps_after.map(|minutes| minutes.to_string().into()),
    };
    variables.into_map()
}
