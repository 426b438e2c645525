//! The tables of `bluegreen.toml`. The defaults are the sample's values, and every option is off.

use super::documentation::table;
use crate::resources::ecs::FargateSize;
use crate::resources::lambda::Architecture;
use crate::resources::values::{
    CheckInterval, CheckThreshold, CheckTimeout, Cidr, Count, DrainSeconds, GraceSeconds, HeaderName, PackageName,
    Port, RetentionDays, UrlPath,
};

table! {
    /// The service.
    pub struct App {
        /// The Cargo package of the service; version `N` is its binary `<package>-vN`, which listens on `HOST`:`PORT`.
        cargo: PackageName = known("greeter"),
        /// Port that the service listens on in its container.
        port: Port = Port::of(8080),
        /// CPU units (1,024 are one vCPU) and MiB of a task, as Fargate pairs them.
        size: FargateSize = FargateSize::of::<256, 512>(),
        /// Tasks in each environment. Two, so that each zone has one and the loss of one is not an outage.
        count: Count = Count::of(2),
        /// Processor of the tasks and of the cutover function; `"arm64"` where the Rust target for it is installed.
        architecture: Architecture = Architecture::X86_64,
        /// Response header that tells the version of the service.
        version_header: HeaderName = known("x-app-version"),
        /// Seconds that a replaced task may take to finish its requests.
        deregistration_delay: DrainSeconds = DrainSeconds::of(30),
    }
}

table! {
    /// How the load balancer tells whether a task is healthy.
    pub struct HealthCheck {
        /// Path that it asks for; 200 is the good answer.
        path: UrlPath = known("/healthz"),
        /// Seconds between two checks of a task.
        interval: CheckInterval = CheckInterval::of(5),
        /// Seconds within which the answer must come; less than the interval.
        timeout: CheckTimeout = CheckTimeout::of(2),
        /// Good answers in a row that make a task healthy.
        healthy_threshold: CheckThreshold = CheckThreshold::of(2),
        /// Bad answers in a row that make it unhealthy.
        unhealthy_threshold: CheckThreshold = CheckThreshold::of(2),
        /// Seconds in which the checks of a new task may fail.
        grace_period: GraceSeconds = GraceSeconds::of(30),
    }
}

table! {
    /// What users see.
    pub struct Prod {
        /// Port of the listener.
        port: Port = Port::of(80),
    }
}

table! {
    /// Where the next version is tried.
    pub struct Dev {
        /// Port of the listener.
        port: Port = Port::of(81),
    }
}

table! {
    /// The cutover.
    pub struct Cutover {
        /// Path that a cutover probes.
        probe_path: UrlPath = known("/"),
    }
}

table! {
    /// The network.
    pub struct Network {
        /// Address range of the VPC, a /16.
        cidr: Cidr = known("10.0.0.0/16"),
    }
}

table! {
    /// Logs.
    pub struct Logs {
        /// Days that they are kept.
        retention_days: RetentionDays = RetentionDays::MONTH,
    }
}

/// A default that is known to be acceptable.
fn known<T: for<'a> TryFrom<&'a str, Error = crate::resources::values::Unacceptable>>(text: &'static str) -> T {
    T::try_from(text).unwrap_or_else(|error| unreachable!("a default of the settings: {error}"))
}
