//! What can be chosen about the stack, with the sample's values as defaults.

use crate::resources::ecs::FargateSize;
use crate::resources::lambda::Architecture;

/// The choices that the stack is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Port of the prod listener.
    pub prod_port: u16,
    /// Port of the dev listener.
    pub dev_port: u16,
    /// Port that the service listens on in its container.
    pub container_port: u16,
    /// Path that the load balancer asks for to see whether a task is healthy.
    pub health_check_path: String,
    /// Path that a cutover probes.
    pub probe_path: String,
    /// Response header that tells the version of the service.
    pub version_header: String,
    /// CPU and memory of a task.
    pub size: FargateSize,
    /// Tasks in each environment. Two, so that each zone has one and the loss of one is not an outage.
    pub desired_count: u16,
    /// Seconds that a task which is being replaced may take to finish its requests.
    pub deregistration_delay: u16,
    /// Days that logs are kept.
    pub log_retention_days: u16,
    /// Processor of the tasks and of the cutover function.
    pub architecture: Architecture,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prod_port: 80,
            dev_port: 81,
            container_port: 8080,
            health_check_path: "/healthz".to_owned(),
            probe_path: "/".to_owned(),
            version_header: "x-app-version".to_owned(),
            size: FargateSize::Cpu256Memory512,
            desired_count: 2,
            deregistration_delay: 30,
            log_retention_days: 30,
            architecture: Architecture::X86_64,
        }
    }
}
