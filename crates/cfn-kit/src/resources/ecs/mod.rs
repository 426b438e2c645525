//! Amazon ECS on Fargate.
//!
//! ```
//! use cfn_kit::resources::ecs::{
//!     AwsvpcConfiguration, Capabilities, Capability, Cluster, ClusterSetting, ContainerDefinition,
//!     DeploymentCircuitBreaker, DeploymentConfiguration, FargateSize, ImageByDigest, LinuxParameters, LogConfiguration,
//!     NetworkConfiguration, PortMapping, RuntimePlatform, Secret, Service, ServiceLoadBalancer, TaskDefinition, Variable,
//! };
//! use cfn_kit::resources::values::{Count, GraceSeconds, Port, SecretReference, SubnetId};
//! use cfn_kit::{Expr, Stack};
//! use serde_json::json;
//!
//! let mut stack = Stack::new("The shop");
//! let insights = vec![ClusterSetting::CONTAINER_INSIGHTS];
//! let cluster = stack.add("Cluster", Cluster { cluster_settings: insights, tags: vec![] });
//! let import = |name: &str| json!({ "Fn::ImportValue": name });
//! let image = format!("123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop@sha256:{}", "0".repeat(64));
//! let password = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3";
//! let container = ContainerDefinition {
//!     name: "shop",
//!     image: ImageByDigest::try_from(image).unwrap().into(),
//!     essential: true,
//!     port_mappings: vec![PortMapping { container_port: Port::of(8080), protocol: "tcp" }],
//!     environment: vec![Variable { name: "PORT".to_owned(), value: "8080".into() }],
//!     secrets: vec![Secret {
//!         name: "DB_PASSWORD".to_owned(),
//!         value_from: SecretReference::try_from(password).unwrap(),
//!     }],
//!     user: None,
//!     readonly_root_filesystem: true,
//!     linux_parameters: LinuxParameters {
//!         capabilities: Capabilities::keeping(&[Capability::NetBindService]),
//!         init_process_enabled: true,
//!     },
//!     stop_timeout: 30,
//!     log_configuration: LogConfiguration::awslogs(Expr::from_json(import("shop-log")), "shop"),
//! };
//! let task = TaskDefinition {
//!     family: "shop".into(),
//!     size: FargateSize::of::<256, 512>(),
//!     network_mode: "awsvpc",
//!     requires_compatibilities: ["FARGATE"],
//!     runtime_platform: RuntimePlatform { operating_system_family: "LINUX", cpu_architecture: "ARM64" },
//!     execution_role_arn: Expr::from_json(import("execution-role")),
//!     task_role_arn: Expr::from_json(import("shop-role")),
//!     container_definitions: vec![container],
//!     tags: vec![],
//! };
//! let task = stack.add("Task", task);
//! let network = AwsvpcConfiguration {
//!     subnets: vec![(&SubnetId::try_from("subnet-0a1b2c3d").unwrap()).into()],
//!     security_groups: vec![],
//!     assign_public_ip: "DISABLED",
//! };
//! let service = Service {
//!     cluster: cluster.name(),
//!     launch_type: "FARGATE",
//!     platform_version: "1.4.0",
//!     task_definition: task.arn(),
//!     desired_count: Some(Count::of(2)),
//!     deployment_configuration: DeploymentConfiguration {
//!         minimum_healthy_percent: 100,
//!         maximum_percent: 200,
//!         deployment_circuit_breaker: DeploymentCircuitBreaker { enable: true, rollback: true },
//!     },
//!     health_check_grace_period_seconds: GraceSeconds::of(30),
//!     network_configuration: NetworkConfiguration { awsvpc_configuration: network },
//!     load_balancers: vec![ServiceLoadBalancer {
//!         container_name: "shop",
//!         container_port: Port::of(8080),
//!         target_group_arn: Expr::from_json(import("shop-target-group")),
//!     }],
//!     enable_ecs_managed_tags: true,
//!     propagate_tags: "SERVICE",
//!     tags: vec![],
//! };
//! stack.add("Service", service);
//! assert!(stack.finish().is_ok());
//! ```

mod size;

use serde::{Deserialize, Serialize};

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

/// The definition of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDefinition {
    /// The name of all its revisions.
    pub family: Expr<String>,
    /// CPU and memory of the whole task.
    #[serde(flatten, serialize_with = "size::as_properties")]
    pub size: FargateSize,
    /// `awsvpc`: each task has its own network interface. Fargate supports only this mode.
    pub network_mode: &'static str,
    /// `FARGATE`.
    pub requires_compatibilities: [&'static str; 1],
    /// The platform.
    pub runtime_platform: RuntimePlatform,
    /// The execution role: what ECS may do for the task, such as pull the image and write the log.
    pub execution_role_arn: Expr<Arn<Role>>,
    /// The task role: what the program in the task may do.
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
    /// The ARN with the revision.
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
    /// The image, by digest: a tag can be moved to another image.
    pub image: Expr<ImageByDigest>,
    /// Whether the task ends when this container does.
    pub essential: bool,
    /// Ports that it listens on.
    pub port_mappings: Vec<PortMapping>,
    /// Environment variables; not for secrets.
    pub environment: Vec<Variable>,
    /// Environment variables with secret values, which ECS reads when a task starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// The user that it runs as, `uid:gid`; if absent, the user of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether its root file system is read-only.
    pub readonly_root_filesystem: bool,
    /// Kernel features.
    pub linux_parameters: LinuxParameters,
    /// Seconds between SIGTERM and SIGKILL, at most 120.
    pub stop_timeout: u8,
    /// The destination of its output.
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

/// An environment variable with a secret value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The reference to its value.
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

/// Capabilities of a container. [`Capabilities::keeping`] says which of the default set are left. Fargate can add no other
/// one except `SYS_PTRACE`:
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_KernelCapabilities.html>.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Capabilities {
    /// Capabilities to remove; `ALL` for every one.
    drop: Vec<Dropped>,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum Dropped {
    #[serde(rename = "ALL")]
    All,
    #[serde(untagged)]
    One(Capability),
}

impl Capabilities {
    /// Of the default set, these and no other ones. What is dropped is named, because a container cannot add one again.
    #[must_use]
    pub fn keeping(kept: &[Capability]) -> Self {
        let others = Capability::DEFAULT.into_iter().filter(|capability| !kept.contains(capability));
        Self { drop: if kept.is_empty() { vec![Dropped::All] } else { others.map(Dropped::One).collect() } }
    }
}

/// A capability of the [default set of Docker](https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities),
/// which a container on Fargate has if it drops none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// Write records to the audit log of the kernel.
    AuditWrite,
    /// Change the owner of files.
    Chown,
    /// Ignore the permissions of files.
    DacOverride,
    /// Do what only the owner of a file may do.
    Fowner,
    /// Keep the set-user-id bit of a changed file.
    Fsetid,
    /// Send signals to processes of other users.
    Kill,
    /// Create device nodes.
    Mknod,
    /// Listen on a port below 1024.
    NetBindService,
    /// Use raw sockets.
    NetRaw,
    /// Set capabilities of files.
    Setfcap,
    /// Become another group.
    Setgid,
    /// Change the capabilities of the process.
    Setpcap,
    /// Become another user.
    Setuid,
    /// Change the root directory.
    SysChroot,
}

impl Capability {
    const DEFAULT: [Self; 14] = [
        Self::AuditWrite,
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Mknod,
        Self::NetBindService,
        Self::NetRaw,
        Self::Setfcap,
        Self::Setgid,
        Self::Setpcap,
        Self::Setuid,
        Self::SysChroot,
    ];
}

/// The destination of a container's output.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfiguration {
    /// `awslogs`.
    pub log_driver: &'static str,
    /// The driver's options.
    pub options: AwslogsOptions,
}

/// Options of the `awslogs` driver. [`LogConfiguration::awslogs`] sets them: a full buffer must drop lines rather than
/// stop the container.
#[derive(Clone, Debug, Serialize)]
pub struct AwslogsOptions {
    /// The log group.
    #[serde(rename = "awslogs-group")]
    pub group: Expr<Name<LogGroup>>,
    /// The region of the log group.
    #[serde(rename = "awslogs-region")]
    pub region: Expr<String>,
    /// The prefix of stream names.
    #[serde(rename = "awslogs-stream-prefix")]
    pub stream_prefix: &'static str,
    /// `non-blocking`: output that cannot be sent is dropped, so that it does not block the program
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>).
    pub mode: &'static str,
    /// Size of the buffer for output that is not sent yet, for example `4m`.
    #[serde(rename = "max-buffer-size")]
    pub max_buffer_size: &'static str,
}

impl LogConfiguration {
    /// Sends output to a CloudWatch log group.
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

/// A service: keeps a number of tasks running.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// The cluster.
    pub cluster: Expr<Name<Cluster>>,
    /// `FARGATE`.
    pub launch_type: &'static str,
    /// `LATEST`, to get security patches of the platform.
    pub platform_version: &'static str,
    /// The task definition.
    pub task_definition: Expr<Arn<TaskDefinition>>,
    /// The number of tasks; absent if another resource scales it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_count: Option<Count>,
    /// How one version replaces another.
    pub deployment_configuration: DeploymentConfiguration,
    /// Seconds after the start of a task in which failed health checks are ignored.
    pub health_check_grace_period_seconds: GraceSeconds,
    /// The network.
    pub network_configuration: NetworkConfiguration,
    /// The target groups that tasks are registered with.
    pub load_balancers: Vec<ServiceLoadBalancer>,
    /// Whether ECS adds the tags of the cluster and the service to tasks.
    #[serde(rename = "EnableECSManagedTags")]
    pub enable_ecs_managed_tags: bool,
    /// `SERVICE`: tasks get the tags of the service.
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

/// How a service replaces one version by another.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeploymentConfiguration {
    /// Minimum percentage of the desired count that keeps running.
    pub minimum_healthy_percent: u16,
    /// Maximum percentage of the desired count that may run at once.
    pub maximum_percent: u16,
    /// The deployment circuit breaker: ends a deployment if its tasks keep failing
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>).
    pub deployment_circuit_breaker: DeploymentCircuitBreaker,
}

/// The deployment circuit breaker: ends a deployment if its tasks keep failing
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html>).
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeploymentCircuitBreaker {
    /// Whether it is on.
    pub enable: bool,
    /// Whether ECS rolls back to the last deployment that succeeded.
    pub rollback: bool,
}

/// A service's network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkConfiguration {
    /// The network interface of each task.
    pub awsvpc_configuration: AwsvpcConfiguration,
}

/// The network interface of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AwsvpcConfiguration {
    /// The subnets of the tasks.
    pub subnets: Vec<Expr<Id<Subnet>>>,
    /// The security groups.
    pub security_groups: Vec<Expr<Id<SecurityGroup>>>,
    /// `ENABLED` gives each task a public address, so that it reaches the registry without NAT.
    pub assign_public_ip: &'static str,
}

/// A target group that the tasks of a service are registered with.
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
