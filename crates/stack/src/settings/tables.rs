//! The tables of `bluegreen.toml`. The defaults are the sample's values, and every option is off.

use serde::{Deserialize, Serialize};

use super::documentation::table;
use crate::values::{
    HealthCodes, ImageName, IssuerName, PackageName, ProbeCodes, ProviderArn, RefName, RepositoryName, SettleSeconds,
    TokenSubject, VersionHeader, VersionLabel,
};
use cfn_kit::resources::ecs::{Capability, FargateSize};
use cfn_kit::resources::lambda::Architecture;
use cfn_kit::resources::values::{
    Amount, BucketName, CertificateArn, CheckInterval, CheckThreshold, CheckTimeout, Cidr, Count, DomainName,
    DrainSeconds, Email, GraceSeconds, Percent, Port, RetentionDays, SubnetId, UrlPath, UserId, VpcId, ZoneName,
};

table! {
    /// The service.
    pub struct App {
        /// The Cargo package of the service; version `N` is its binary `<package>-vN`, or, for every version,
        /// its only binary. It must listen on all addresses, at `PORT`.
        cargo: PackageName = known("greeter"),
        /// Image to deploy instead of a Cargo package: from a registry (`"registry.example/app:{version}"`, by tag or
        /// digest, with the login of Docker or Podman) or from an archive (`"build/app-{version}.tar"`, an OCI layout or the
        /// output of `docker save`).
        image: Option<ImageName> = None,
        /// Version of the first release of a new stack.
        first_version: VersionLabel = known("1"),
        /// User (`uid:gid`) that runs the service. If absent: 65532 for a Cargo package, the user of the image for an
        /// image.
        user: Option<UserId> = None,
        /// Mount the root file system of the service read-only.
        read_only: bool = true,
        /// Capabilities of the [default set](https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities)
        /// that the service keeps, such as `["CHOWN", "SETGID", "SETUID"]` for an image that starts as root and becomes
        /// another user. If empty: none. [Fargate cannot give any other](docs/how-to/own-service.md#an-image-that-starts-as-root).
        capabilities: Vec<Capability> = Vec::new(),
        /// Port that the service listens on in its container.
        port: Port = Port::of(8080),
        /// CPU units (1,024 = 1 vCPU) and memory in MiB of a task, in a combination that [Fargate
        /// supports](https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html).
        size: FargateSize = FargateSize::of::<256, 512>(),
        /// Number of tasks in each environment. With two, each availability zone has one, and the loss of one zone is
        /// not an outage.
        count: Count = Count::of(2),
        /// Processor of the tasks and of the cutover function; `"arm64"` or `"x86_64"`. A Cargo package needs the Rust
        /// target for it.
        architecture: Architecture = Architecture::X86_64,
        /// Response header with the version of the service. If `""`, probes check only the status code.
        version_header: VersionHeader = known("x-app-version"),
        /// Seconds that a replaced task has to finish its requests (deregistration delay).
        deregistration_delay: DrainSeconds = DrainSeconds::of(30),
    }
}

table! {
    /// Health checks of the load balancer.
    pub struct HealthCheck {
        /// Path of the check.
        path: UrlPath = known("/healthz"),
        /// Status codes (200 to 499) that mean that a task is healthy, such as `"200,204"` or `"200-299"`.
        success_codes: HealthCodes = known("200"),
        /// Seconds between two checks of a task.
        interval: CheckInterval = CheckInterval::of(5),
        /// Seconds until a check without a response fails; must be less than the interval.
        timeout: CheckTimeout = CheckTimeout::of(2),
        /// Consecutive successful checks that make a task healthy.
        healthy_threshold: CheckThreshold = CheckThreshold::of(2),
        /// Consecutive failed checks that make a task unhealthy.
        unhealthy_threshold: CheckThreshold = CheckThreshold::of(2),
        /// Seconds after the start of a task in which ECS ignores failed checks.
        grace_period: GraceSeconds = GraceSeconds::of(30),
    }
}

table! {
    /// The listener that users open.
    pub struct Prod {
        /// Port of the listener. If absent: 80, or 443 with HTTPS.
        port: Option<Port> = None,
    }
}

table! {
    /// The listener to test the next release.
    pub struct Dev {
        /// Port of the listener. If absent: 81, or 8443 with HTTPS.
        port: Option<Port> = None,
        /// Address ranges that may connect. The cutover function must connect too, so a restriction requires
        /// `network.tasks = "nat"`: then the function has fixed addresses, and the stack allows them.
        cidrs: Vec<Cidr> = vec![Cidr::anywhere()],
    }
}

table! {
    /// The cutover.
    pub struct Cutover {
        /// Path that the probes of a cutover request.
        probe_path: UrlPath = known("/"),
        /// Status codes (100 to 599) that make a probe a success, such as `"200-299,304"`; `--ok` overrides them.
        success_codes: ProbeCodes = known("200-299"),
        /// Maximum seconds until every address of the load balancer serves the new version. Until an address follows, a
        /// response of the old version is not a failure.
        settle_limit: SettleSeconds = SettleSeconds::of(60),
        /// Concurrent invocations to reserve for the function from [the account's
        /// quota](https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html); a new account has none
        /// to spare. With 1, a run in progress cannot be aborted, because `abort` needs a second invocation.
        reserved_concurrency: Option<Amount> = None,
        /// Minutes after a cutover until the tasks of the idle environment stop, to save cost. A deployment to the
        /// environment, a cutover, or a rollback starts them again; a cutover or rollback then waits until the tasks
        /// are healthy.
        idle_sleeps_after: Option<Amount> = None,
    }
}

table! {
    /// HTTPS on both listeners; on if `certificate` is set.
    pub struct Https {
        /// ARN of the certificate (AWS Certificate Manager, same region).
        certificate: Option<CertificateArn> = None,
        /// Domain name that users open; the certificate must cover it. Create its DNS record yourself: it points at the
        /// load balancer.
        domain: Option<DomainName> = None,
        /// Redirect HTTP on port 80 to the prod listener.
        redirect: bool = true,
    }
}

/// Where tasks run, and how they reach the registry and the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskNetwork {
    /// Public subnets with public addresses. Only the load balancer can connect to the tasks.
    Public,
    /// Private subnets with a NAT gateway in each zone.
    Nat,
    /// Private subnets without internet access: VPC endpoints reach the registry, the logs, and the secrets.
    Endpoints,
}

table! {
    /// The network.
    pub struct Network {
        /// Where tasks run: in public subnets (`"public"`), in private subnets with a NAT gateway in each zone
        /// (`"nat"`), or in private subnets with VPC endpoints and no internet access (`"endpoints"`).
        tasks: TaskNetwork = TaskNetwork::Public,
        /// Existing VPC to use; name its subnets below. If absent, the stack creates a VPC.
        vpc: Option<VpcId> = None,
        /// Address range of the VPC, created or existing.
        cidr: Cidr = known("10.0.0.0/16"),
        /// The two availability zones of the VPC that the stack creates, such as `["eu-central-1a", "eu-central-1b"]`.
        /// If empty, the first deployment selects the first two zones that support Fargate. They cannot change after
        /// the first deployment.
        zones: Vec<ZoneName> = Vec::new(),
        /// Subnets of the load balancer in an existing VPC, in two or more zones.
        public_subnets: Vec<SubnetId> = Vec::new(),
        /// Subnets of the tasks in an existing VPC. If empty: the subnets of the load balancer.
        task_subnets: Vec<SubnetId> = Vec::new(),
        /// Record accepted and rejected connections (flow logs) of the VPC that the stack creates.
        flow_logs: bool = false,
    }
}

table! {
    /// Scale the number of tasks with the load; on if `max` is set. Each environment scales as if it served all traffic, so that either one can take over at once.
    pub struct Autoscaling {
        /// Maximum tasks of an environment. The minimum is `app.count`.
        max: Option<Count> = None,
        /// Target CPU utilization in percent, as if one environment served all traffic.
        cpu: Percent = Percent::of(60),
        /// Target requests per minute per task, as if one environment served all traffic.
        requests: Amount = Amount::of(1000),
    }
}

table! {
    /// CloudWatch alarms and dashboard; on if `emails` has an address or `enabled` is true.
    pub struct Alarms {
        /// Create the alarms, the dashboard, and their SNS topic even if `emails` is empty.
        enabled: bool = false,
        /// Email addresses that receive alarms. Each address must [confirm its
        /// subscription](https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html).
        emails: Vec<Email> = Vec::new(),
        /// Number of 5xx responses of an environment in a minute that triggers the alarm.
        errors: Amount = Amount::of(5),
        /// Response time (p99, in milliseconds) that triggers the alarm.
        latency: Amount = Amount::of(1000),
    }
}

table! {
    /// Logs.
    pub struct Logs {
        /// Days to keep logs: one of the [values of CloudWatch
        /// Logs](https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html).
        retention_days: RetentionDays = RetentionDays::MONTH,
        /// Record every request to the load balancer and to the stack's bucket in a separate bucket. Deleting the stack
        /// keeps that bucket.
        access: bool = false,
        /// Existing bucket for these records, in the account and region of the stack; turns access logs on. Its policy
        /// must [allow both to write](docs/how-to/access-logs.md).
        access_bucket: Option<BucketName> = None,
    }
}

table! {
    /// Additional protection.
    pub struct Security {
        /// Add a web application firewall (AWS WAF) with AWS's core rule set and a rate limit per client address.
        waf: bool = false,
        /// Encrypt logs, images, bucket, and topic with a customer managed KMS key.
        kms: bool = false,
    }
}

table! {
    /// Two IAM roles for a CI pipeline: one deploys releases, the other cuts over, and neither can change anything else; on if `github` or `issuer` is set. [Their permissions](docs/how-to/ci.md).
    pub struct Ci {
        /// GitHub repository whose workflows may assume the roles: `"owner/name"`, or with both ids,
        /// `"owner@123/name@456"`. A repository that was created, renamed, or transferred since July 2026 needs the
        /// ids.
        github: Option<RepositoryName> = None,
        /// GitHub environments whose jobs may deploy.
        deploy_environments: Vec<RefName> = vec![known("staging")],
        /// GitHub environments whose jobs may cut over. Protect them, for example with required reviewers.
        cutover_environments: Vec<RefName> = vec![known("production")],
        /// Branches whose jobs may deploy without a GitHub environment.
        branches: Vec<RefName> = Vec::new(),
        /// OIDC issuer to use instead of GitHub, such as `"gitlab.com"` or `"agent.buildkite.com"`; requires the
        /// subjects below.
        issuer: Option<IssuerName> = None,
        /// Subjects (claim `sub`) of the jobs that may deploy, exactly as in their tokens. Only with `issuer`.
        deploy_subjects: Vec<TokenSubject> = Vec::new(),
        /// Subjects of the jobs that may cut over. Only with `issuer`.
        cutover_subjects: Vec<TokenSubject> = Vec::new(),
        /// ARN of the existing OIDC provider for the issuer; an account can have only one per issuer. If absent, the
        /// stack creates it.
        provider: Option<ProviderArn> = None,
    }
}

/// A default that is known to be valid.
fn known<T: for<'a> TryFrom<&'a str, Error = cfn_kit::InvalidValue>>(text: &'static str) -> T {
    T::try_from(text).unwrap_or_else(|error| unreachable!("a default of the settings: {error}"))
}
