//! An environment: the service that runs one release. The stack has two, blue and green.

use model::color::Color;
use model::names::{RELEASE_TAG, TASKS_TAG};

use super::keys::Keys;
use super::load_balancer::{LoadBalancing, title};
use super::network::Network;
use super::part::{Marking, Serves};
use super::side::{Own, Side, Sides};
use super::storage::Storage;
use super::{Release, Settings, tags};
use cfn_kit::resources::ecs::{
    AwsvpcConfiguration, Capabilities, Cluster, ClusterSetting, ContainerDefinition, DeploymentCircuitBreaker,
    DeploymentConfiguration, LinuxParameters, LogConfiguration, NetworkConfiguration, PortMapping, RuntimePlatform,
    Secret, Service, ServiceLoadBalancer, TaskDefinition, Variable,
};
use cfn_kit::resources::elbv2::{Listener, ListenerRule, TargetGroup};
use cfn_kit::resources::iam::{Policy, Role};
use cfn_kit::resources::lambda::Architecture;
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::values::SecretReference;
use cfn_kit::{Arn, Condition, Expr, PolicyDocument, Ref, Stack, Statement, Tag, join, own_arn, sub};

/// The name of the container in a task.
const CONTAINER: &str = "app";

/// The user that containers run as: the user `nonroot` of distroless images.
const USER: &str = "65532:65532";

/// What both environments share (the cluster, and the subnets of the tasks), and the foundation of each.
pub struct Fleet {
    /// The cluster.
    pub cluster: Ref<Cluster>,
    foundations: Sides<Foundation>,
    network: AwsvpcConfiguration,
}

/// What the tasks of one environment need before they can start: their log group and their roles.
#[derive(Clone, Debug)]
pub struct Foundation {
    log_group: Ref<LogGroup>,
    execution_role: Ref<Role>,
    task_role: Ref<Role>,
}

impl Foundation {
    /// Adds the log group and the roles of an environment.
    fn new(stack: &mut Stack, settings: &Settings, storage: &Storage, keys: &Keys, color: Color) -> Self {
        let stack = &mut stack.serving_half(color);
        let id = |what: &str| format!("{}{what}", title(color));
        let log_group = keys.add_log(stack, &id("LogGroup"), keys.log_group(settings, color.as_str()));
        let mut may = storage.grant_pull();
        may.push(Statement::allow(
            "WriteLogs",
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            vec![log_group.arn().text()],
        ));
        may.extend(grant_secrets(settings));
        let execution_role = stack.add(
            &id("ExecutionRole"),
            Role {
                description: format!("Amazon ECS itself: pulls the image and writes the log of a task in {color}"),
                assume_role_policy_document: tasks_only(),
                policies: vec![Policy::new("start-tasks", PolicyDocument::new(may))],
                tags: tags(&format!("{color}-execution")),
            },
        );
        let task_role = stack.add(
            &id("TaskRole"),
            Role {
                description: format!("The service in its tasks in {color}: may do nothing in AWS"),
                assume_role_policy_document: tasks_only(),
                policies: Vec::new(),
                tags: tags(&format!("{color}-task")),
            },
        );
        Self { log_group, execution_role, task_role }
    }
}

impl Fleet {
    /// Adds the cluster and both foundations to the stack.
    pub fn new(stack: &mut Stack, settings: &Settings, network: &Network, storage: &Storage, keys: &Keys) -> Self {
        let cluster = stack.serving(Serves::Everyone).add(
            "Cluster",
            Cluster { cluster_settings: vec![ClusterSetting::CONTAINER_INSIGHTS], tags: tags("cluster") },
        );
        let foundations = Sides::make(|color| Foundation::new(stack, settings, storage, keys, color));
        let network = AwsvpcConfiguration {
            subnets: network.task_subnets.clone(),
            security_groups: vec![network.task_group.id()],
            assign_public_ip: if network.public_tasks { "ENABLED" } else { "DISABLED" },
        };
        Self { cluster, foundations, network }
    }

    /// Allows reading the services.
    pub fn grant_see(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("SeeServices", actions, vec![self.all("service")])
    }

    /// Allows scaling the services.
    pub fn grant_scale(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("ScaleServices", actions, vec![self.all("service")])
    }

    /// The task role of an environment: the permissions of the service.
    pub fn task_role(&self, color: Color) -> &Ref<Role> {
        &self.foundations.of(color).task_role
    }

    /// The ARNs of the roles of tasks, two for each environment.
    pub fn roles(&self) -> Vec<Expr<String>> {
        let halves = Color::ALL.map(|color| self.foundations.of(color));
        halves.iter().flat_map(|half| [half.execution_role.arn().text(), half.task_role.arn().text()]).collect()
    }

    /// Every resource of a kind in the cluster.
    ///
    /// Limited to the cluster and not to the services, because the services do not exist yet when the stack is created,
    /// and IAM rejects a statement without a resource.
    pub fn all(&self, kind: &str) -> Expr<String> {
        own_arn("ecs", &[format!("{kind}/").into(), self.cluster.name().text(), "/*".into()])
    }
}

/// Trusts only tasks of clusters of this account, with the conditions against the confused deputy problem
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>).
fn tasks_only() -> PolicyDocument {
    PolicyDocument::new(vec![
        Statement::trust("ecs-tasks.amazonaws.com")
            .only_if("StringEquals", "aws:SourceAccount", sub("${AWS::AccountId}"))
            .only_if("ArnLike", "aws:SourceArn", sub("arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:*")),
    ])
}

/// The parts of an environment. Parts that are not shared have its color in their type, so parts of the other
/// environment cannot be used.
///
/// ```
/// use cfn_kit::{Ref, resources::elbv2::TargetGroup};
/// use stack::{Blue, Green, Own, Parts, Release, Sides};
///
/// fn parts<'a>(
///     groups: &'a Sides<Ref<TargetGroup>>,
///     blue: &'a Own<Blue, Release>,
///     others: Parts<'a, Blue>,
/// ) -> Parts<'a, Blue> {
///     Parts { target_group: &groups.blue, release: blue, ..others }
/// }
/// ```
///
/// Blue does not take the target group of green:
///
/// ```compile_fail
/// use cfn_kit::{Ref, resources::elbv2::TargetGroup};
/// use stack::{Blue, Green, Own, Parts, Release, Sides};
///
/// fn parts<'a>(
///     groups: &'a Sides<Ref<TargetGroup>>,
///     blue: &'a Own<Blue, Release>,
///     others: Parts<'a, Blue>,
/// ) -> Parts<'a, Blue> {
///     Parts { target_group: &groups.green, release: blue, ..others }
/// }
/// ```
///
/// And it does not run the image of green:
///
/// ```compile_fail
/// use cfn_kit::{Ref, resources::elbv2::TargetGroup};
/// use stack::{Blue, Green, Own, Parts, Release, Sides};
///
/// fn parts<'a>(
///     groups: &'a Sides<Ref<TargetGroup>>,
///     green: &'a Own<Green, Release>,
///     others: Parts<'a, Blue>,
/// ) -> Parts<'a, Blue> {
///     Parts { target_group: &groups.blue, release: green, ..others }
/// }
/// ```
pub struct Parts<'a, C> {
    /// What it shares with the other environment.
    pub fleet: &'a Fleet,
    /// The network that its tasks are in.
    pub network: &'a Network,
    /// What is deployed to it.
    pub release: &'a Own<C, Release>,
    /// The log and the roles of its tasks.
    pub foundation: &'a Own<C, Foundation>,
    /// The target group that its tasks are registered with.
    pub target_group: &'a Own<C, Ref<TargetGroup>>,
    /// The rule that refers to its target group whichever environment is prod.
    pub rule: &'a Own<C, Ref<ListenerRule>>,
    /// The URL that users open.
    pub prod: &'a Ref<Listener>,
}

impl<'a, C: Side> Parts<'a, C> {
    /// The parts of this color.
    pub fn of(
        fleet: &'a Fleet,
        network: &'a Network,
        balancer: &'a LoadBalancing,
        releases: &'a Sides<Release>,
    ) -> Self {
        Self {
            fleet,
            network,
            release: C::of(releases),
            foundation: C::of(&fleet.foundations),
            target_group: C::of(&balancer.target_groups),
            rule: C::of(&balancer.rules),
            prod: &balancer.prod,
        }
    }
}

/// One environment.
pub struct Environment {
    /// Its service.
    pub service: Ref<Service>,
    /// Its log.
    pub log_group: Ref<LogGroup>,
    /// The condition that holds if an image is deployed to it.
    pub deployed: Condition,
}

impl Environment {
    /// Adds the environment to the stack; its service exists only if there is an image.
    pub fn new<C: Side>(stack: &mut Stack, settings: &Settings, parts: &Parts<'_, C>) -> Self {
        let (color, release) = (C::COLOR, parts.release);
        let stack = &mut stack.serving_half(color);
        let task_definition = stack.add(&format!("{}TaskDefinition", title(color)), task_definition(settings, parts));
        stack.when(&task_definition, &release.deployed);

        let service = stack.add(
            &format!("{}Service", title(color)),
            Service {
                cluster: parts.fleet.cluster.name(),
                launch_type: "FARGATE",
                platform_version: "LATEST",
                task_definition: task_definition.arn(),
                desired_count: settings.autoscaling.max.is_none().then_some(settings.app.count),
                // Every old task stays until the new ones are healthy, so a deployment to the live environment
                // does not reduce capacity.
                deployment_configuration: DeploymentConfiguration {
                    minimum_healthy_percent: 100,
                    maximum_percent: 200,
                    deployment_circuit_breaker: DeploymentCircuitBreaker { enable: true, rollback: true },
                },
                health_check_grace_period_seconds: settings.health_check.grace_period,
                network_configuration: NetworkConfiguration { awsvpc_configuration: parts.fleet.network.clone() },
                load_balancers: vec![ServiceLoadBalancer {
                    container_name: CONTAINER,
                    container_port: settings.app.port,
                    target_group_arn: parts.target_group.arn(),
                }],
                enable_ecs_managed_tags: true,
                propagate_tags: "SERVICE",
                tags: service_tags(settings, color, release),
            },
        );
        stack.when(&service, &release.deployed);
        // ECS rejects a target group that no listener refers to yet.
        stack.after(&service, parts.prod);
        stack.after(&service, parts.rule);
        parts.network.before(stack, &service);
        Self { service, log_group: parts.foundation.log_group.clone(), deployed: release.deployed.clone() }
    }

    /// The ARN of the service, or an empty text if no image is deployed.
    pub fn service_arn(&self) -> Expr<Arn<Service>> {
        Expr::when_some(&self.deployed, &self.service.arn())
    }
}

fn version_tags(color: Color, release: &Release) -> Vec<Tag> {
    let mut tags = tags(color.as_str());
    tags.push(Tag::new("bluegreen:color", color.as_str()));
    tags.push(Tag::new("bluegreen:version", release.version.clone()));
    tags.push(Tag::new(RELEASE_TAG, release.number.clone()));
    tags
}

/// The tags of a service. One is the number of tasks: `DesiredCount` is 0 while an environment sleeps, and the cutover
/// function wakes it with the number of tasks of its release.
fn service_tags(settings: &Settings, color: Color, release: &Release) -> Vec<Tag> {
    let mut tags = version_tags(color, release);
    tags.push(Tag::new(TASKS_TAG, settings.app.count.to_string()));
    tags
}

fn variables(settings: &Settings) -> Vec<Variable> {
    let port = Variable { name: "PORT".to_owned(), value: settings.app.port.to_string().into() };
    let own = settings
        .environment
        .iter()
        .map(|(name, value)| Variable { name: name.to_string(), value: value.as_str().into() });
    std::iter::once(port).chain(own).collect()
}

/// Lets ECS read the secrets that the release refers to, and no others.
fn grant_secrets(settings: &Settings) -> Vec<Statement> {
    let kept_in = |service: &str| -> Vec<Expr<String>> {
        let references = settings.secrets.values().filter(|reference| reference.service() == service);
        let mut resources: Vec<&str> = references.map(SecretReference::resource).collect();
        resources.sort_unstable();
        resources.dedup();
        resources.into_iter().map(Expr::from).collect()
    };
    let read =
        |sid, action, resources: Vec<_>| (!resources.is_empty()).then(|| Statement::allow(sid, &[action], resources));
    [
        read("ReadSecrets", "secretsmanager:GetSecretValue", kept_in("secretsmanager")),
        read("ReadParameters", "ssm:GetParameters", kept_in("ssm")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The user of a container. An image that was not built here defines its own user.
fn user(settings: &Settings) -> Option<String> {
    let own = settings.app.user.as_ref().map(|user| user.as_str().to_owned());
    own.or_else(|| settings.app.image.is_none().then(|| USER.to_owned()))
}

fn task_definition<C: Side>(settings: &Settings, parts: &Parts<'_, C>) -> TaskDefinition {
    let color = C::COLOR;
    TaskDefinition {
        family: join(&[Expr::stack_name(), format!("-{color}").into()]),
        size: settings.app.size,
        network_mode: "awsvpc",
        requires_compatibilities: ["FARGATE"],
        runtime_platform: RuntimePlatform {
            operating_system_family: "LINUX",
            cpu_architecture: match settings.app.architecture {
                Architecture::X86_64 => "X86_64",
                Architecture::Arm64 => "ARM64",
            },
        },
        execution_role_arn: parts.foundation.execution_role.arn(),
        task_role_arn: parts.foundation.task_role.arn(),
        container_definitions: vec![ContainerDefinition {
            name: CONTAINER,
            image: parts.release.image.clone(),
            essential: true,
            port_mappings: vec![PortMapping { container_port: settings.app.port, protocol: "tcp" }],
            environment: variables(settings),
            secrets: settings
                .secrets
                .iter()
                .map(|(name, reference)| Secret { name: name.to_string(), value_from: reference.clone() })
                .collect(),
            user: user(settings),
            readonly_root_filesystem: settings.app.read_only,
            linux_parameters: LinuxParameters {
                capabilities: Capabilities::keeping(&settings.app.capabilities),
                init_process_enabled: true,
            },
            stop_timeout: 30,
            log_configuration: LogConfiguration::awslogs(parts.foundation.log_group.name(), CONTAINER),
        }],
        tags: version_tags(color, parts.release),
    }
}
