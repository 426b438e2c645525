//! Amazon ECS on Fargate.

mod size;

use serde::Serialize;

use super::ec2::{SecurityGroup, Subnet};
use super::elbv2::TargetGroup;
use super::iam::Role;
use super::logs::LogGroup;
use super::values::{Count, GraceSeconds, Port, SecretReference};
use crate::{Arn, Expr, Id, Name, Ref, Resource, Tag};

pub use super::values::ImageByDigest;
pub use size::{Cpu, FargateSize, With};

/// A cluster of services.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cluster {
    /// Settings, for example Container Insights.
    pub cluster_settings: Vec<ClusterSetting>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Cluster {
    const TYPE: &'static str = "AWS::ECS::Cluster";
}

impl Ref<Cluster> {
    /// The cluster's name.
    pub fn name(&self) -> Expr<Name<Cluster>> {
        self.reference()
    }

    /// The cluster's ARN.
    pub fn arn(&self) -> Expr<Arn<Cluster>> {
        self.attribute("Arn")
    }
}

/// One setting of a cluster.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
}

impl ClusterSetting {
    /// Metrics per service and task in CloudWatch.
    pub const CONTAINER_INSIGHTS: Self = Self { name: "containerInsights", value: "enabled" };
}

/// What a task runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDefinition {
    /// The name that its revisions share.
    pub family: Expr<String>,
    /// CPU and memory of the whole task.
    #[serde(flatten, serialize_with = "size::as_properties")]
    pub size: FargateSize,
    /// `awsvpc`: each task has a network interface of its own. Fargate has no other.
    pub network_mode: &'static str,
    /// `FARGATE`.
    pub requires_compatibilities: [&'static str; 1],
    /// The platform.
    pub runtime_platform: RuntimePlatform,
    /// What ECS itself may do for the task: pull the image, write the log.
    pub execution_role_arn: Expr<Arn<Role>>,
    /// What the program in the task may do.
    pub task_role_arn: Expr<Arn<Role>>,
    /// The containers.
    pub container_definitions: Vec<ContainerDefinition>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for TaskDefinition {
    const TYPE: &'static str = "AWS::ECS::TaskDefinition";
}

impl Ref<TaskDefinition> {
    /// The ARN with its revision.
    pub fn arn(&self) -> Expr<Arn<TaskDefinition>> {
        self.reference()
    }
}

/// Operating system and processor of a task.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimePlatform {
    /// `LINUX`.
    pub operating_system_family: &'static str,
    /// `X86_64` or `ARM64`.
    pub cpu_architecture: &'static str,
}

/// One container of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDefinition {
    /// Its name in the task.
    pub name: &'static str,
    /// The image, by digest: under a tag there could be another one tomorrow.
    pub image: Expr<ImageByDigest>,
    /// Whether the task ends when this container does.
    pub essential: bool,
    /// Ports it listens on.
    pub port_mappings: Vec<PortMapping>,
    /// Environment variables; nothing secret.
    pub environment: Vec<Variable>,
    /// Environment variables whose values ECS reads where they are kept, when a task starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// The user it runs as, `uid:gid`; without one, the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it cannot write to its image's file system.
    pub readonly_root_filesystem: bool,
    /// Kernel features.
    pub linux_parameters: LinuxParameters,
    /// Seconds between SIGTERM and SIGKILL, at most 120.
    pub stop_timeout: u8,
    /// Where its output goes.
    pub log_configuration: LogConfiguration,
}

/// A port that a container listens on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortMapping {
    /// The port.
    pub container_port: Port,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
}

/// An environment variable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Expr<String>,
}

/// An environment variable whose value is kept elsewhere.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Where its value is.
    pub value_from: SecretReference,
}

/// Kernel features of a container.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LinuxParameters {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Whether a small init process forwards signals and reaps children.
    pub init_process_enabled: bool,
}

/// Capabilities of a container.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Capabilities {
    /// Those taken away; `ALL` for every one.
    pub drop: Vec<&'static str>,
}

/// Where a container's output goes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfiguration {
    /// `awslogs`.
    pub log_driver: &'static str,
    /// The driver's options.
    pub options: AwslogsOptions,
}

/// Options of the `awslogs` driver.
#[derive(Clone, Debug, Serialize)]
pub struct AwslogsOptions {
    /// The log group.
    #[serde(rename = "awslogs-group")]
    pub group: Expr<Name<LogGroup>>,
    /// The region it is in.
    #[serde(rename = "awslogs-region")]
    pub region: Expr<String>,
    /// What stream names start with.
    #[serde(rename = "awslogs-stream-prefix")]
    pub stream_prefix: &'static str,
    /// `non-blocking`: output that cannot be sent is dropped before it can stop the program.
    pub mode: &'static str,
    /// Memory for output that is still to be sent, for example `4m`.
    #[serde(rename = "max-buffer-size")]
    pub max_buffer_size: &'static str,
}

impl LogConfiguration {
    /// To a CloudWatch log group.
    pub fn awslogs(group: Expr<Name<LogGroup>>, stream_prefix: &'static str) -> Self {
        let options = AwslogsOptions {
            group,
            region: Expr::region(),
            stream_prefix,
            mode: "non-blocking",
            max_buffer_size: "4m",
        };
        Self { log_driver: "awslogs", options }
    }
}

/// Keeps a number of tasks running.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// The cluster.
    pub cluster: Expr<Name<Cluster>>,
    /// `FARGATE`.
    pub launch_type: &'static str,
    /// `LATEST`, so security patches of the platform arrive.
    pub platform_version: &'static str,
    /// What runs.
    pub task_definition: Expr<Arn<TaskDefinition>>,
    /// How many; left out where it is scaled by something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_count: Option<Count>,
    /// How one version is replaced with the next.
    pub deployment_configuration: DeploymentConfiguration,
    /// Seconds in which a new task's health checks may fail.
    pub health_check_grace_period_seconds: GraceSeconds,
    /// The network.
    pub network_configuration: NetworkConfiguration,
    /// The target groups that tasks are registered in.
    pub load_balancers: Vec<ServiceLoadBalancer>,
    /// Whether tags of the cluster and service are put on tasks by ECS.
    #[serde(rename = "EnableECSManagedTags")]
    pub enable_ecs_managed_tags: bool,
    /// `SERVICE`: tasks get the service's tags.
    pub propagate_tags: &'static str,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Service {
    const TYPE: &'static str = "AWS::ECS::Service";
}

impl Ref<Service> {
    /// The service's ARN.
    pub fn arn(&self) -> Expr<Arn<Service>> {
        self.reference()
    }

    /// The service's name.
    pub fn name(&self) -> Expr<Name<Service>> {
        self.attribute("Name")
    }
}

/// How a service goes from one version to the next.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeploymentConfiguration {
    /// Per cent of the desired count that keeps running.
    pub minimum_healthy_percent: u16,
    /// Per cent of the desired count that may run at once.
    pub maximum_percent: u16,
    /// Ends a deployment whose tasks keep failing.
    pub deployment_circuit_breaker: DeploymentCircuitBreaker,
}

/// Ends a deployment whose tasks keep failing.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeploymentCircuitBreaker {
    /// Whether it is on.
    pub enable: bool,
    /// Whether it goes back to the last version that worked.
    pub rollback: bool,
}

/// A service's network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkConfiguration {
    /// Of each task's own interface.
    pub awsvpc_configuration: AwsvpcConfiguration,
}

/// The network interface of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AwsvpcConfiguration {
    /// The subnets tasks are spread over.
    pub subnets: Vec<Expr<Id<Subnet>>>,
    /// The security groups.
    pub security_groups: Vec<Expr<Id<SecurityGroup>>>,
    /// `ENABLED` gives each task a public address, which reaches the registry without NAT.
    pub assign_public_ip: &'static str,
}

/// A target group that a service's tasks are registered in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceLoadBalancer {
    /// The container that is registered.
    pub container_name: &'static str,
    /// Its port.
    pub container_port: Port,
    /// The target group.
    pub target_group_arn: Expr<Arn<TargetGroup>>,
}
