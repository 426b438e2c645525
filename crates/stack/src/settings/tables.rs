//! The tables of `bluegreen.toml`. The defaults are the sample's values, and every option is off.

use serde::{Deserialize, Serialize};

use super::documentation::table;
use crate::values::{
    ImageName, IssuerName, PackageName, ProviderArn, RefName, RepositoryName, SettleSeconds, TokenSubject,
    VersionHeader, VersionLabel,
};
use cfn_kit::resources::ecs::FargateSize;
use cfn_kit::resources::lambda::Architecture;
use cfn_kit::resources::values::{
    Amount, BucketName, CertificateArn, CheckInterval, CheckThreshold, CheckTimeout, Cidr, Count, DomainName,
    DrainSeconds, Email, GraceSeconds, Percent, Port, RetentionDays, SubnetId, UrlPath, UserId, VpcId, ZoneName,
};

table! {
    /// The service.
    pub struct App {
        /// The Cargo package of the service; version `N` is its binary `<package>-vN`, or its only binary whatever the version. It listens on `HOST`:`PORT`.
        cargo: PackageName = known("greeter"),
        /// An image to use instead: in a registry (`"registry.example/app:{version}"`, by tag or digest; Docker's credentials are used) or an archive (`"build/app-{version}.tar"`, an OCI layout or `docker save`). On the local cloud its program must listen on `HOST`.
        image: Option<ImageName> = None,
        /// The version that a new stack begins with.
        first_version: VersionLabel = known("1"),
        /// User (`uid:gid`) that the service runs as; without one, 65532 for a Cargo package, and the image's own for an image.
        user: Option<UserId> = None,
        /// Keeps the service from writing to its root file system.
        read_only: bool = true,
        /// Port that the service listens on in its container.
        port: Port = Port::of(8080),
        /// CPU units (1,024 are one vCPU) and MiB of a task, as Fargate pairs them.
        size: FargateSize = FargateSize::of::<256, 512>(),
        /// Tasks in each environment. Two, so that each zone has one and the loss of one is not an outage.
        count: Count = Count::of(2),
        /// Processor of the tasks and of the cutover function; `"arm64"` where the Rust target for it is installed.
        architecture: Architecture = Architecture::X86_64,
        /// Response header that tells the version of the service; `""` where none does: it is then probed by status only.
        version_header: VersionHeader = known("x-app-version"),
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
        /// Port of the listener; without one, 80, or 443 with HTTPS.
        port: Option<Port> = None,
    }
}

table! {
    /// Where the next version is tried.
    pub struct Dev {
        /// Port of the listener; without one, 81, or 8443 with HTTPS.
        port: Option<Port> = None,
        /// Who may connect to it. The cutover function probes it too: a restriction needs `network.tasks = "nat"`, which gives the function addresses that the stack lets in.
        cidrs: Vec<Cidr> = vec![Cidr::anywhere()],
    }
}

table! {
    /// The cutover.
    pub struct Cutover {
        /// Path that a cutover probes.
        probe_path: UrlPath = known("/"),
        /// Most seconds that the load balancer may take to follow a cutover. Until an address follows, an answer of the old version is no failure.
        settle_limit: SettleSeconds = SettleSeconds::of(60),
        /// Invocations of the function that are reserved from the account's; new accounts have none to spare. With 1, a run that is under way cannot be aborted: that takes a second one.
        reserved_concurrency: Option<Amount> = None,
        /// Minutes after a cutover until the tasks of the idle environment are ended, to save what they cost. A deployment to it starts them again, and so does a cutover or rollback, which then takes as long as tasks need to come up.
        idle_sleeps_after: Option<Amount> = None,
    }
}

table! {
    /// HTTPS in front of both environments; on with a certificate.
    pub struct Https {
        /// ARN of the certificate (AWS Certificate Manager, same region).
        certificate: Option<CertificateArn> = None,
        /// The name that users open, which the certificate is for. Its DNS record is yours to make, to the load balancer.
        domain: Option<DomainName> = None,
        /// Redirects plain HTTP on port 80 to prod.
        redirect: bool = true,
    }
}

/// Where tasks run, and how they reach registry and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskNetwork {
    /// Public subnets, with an address of their own. Nobody but the load balancer can connect to them.
    Public,
    /// Private subnets, out through a NAT gateway in each zone.
    Nat,
    /// Private subnets without a way out: registry, logs and secrets through VPC endpoints.
    Endpoints,
}

table! {
    /// The network.
    pub struct Network {
        /// Where tasks run: `"public"` subnets, private ones that go out through a NAT gateway in each zone (`"nat"`), or private ones with VPC endpoints and no way out (`"endpoints"`).
        tasks: TaskNetwork = TaskNetwork::Public,
        /// An existing VPC to use instead of one of the stack's own; with its subnets below.
        vpc: Option<VpcId> = None,
        /// Address range of the VPC, its own or the existing one's.
        cidr: Cidr = known("10.0.0.0/16"),
        /// The two availability zones of the stack's own VPC, such as `["eu-central-1a", "eu-central-1b"]`; without them, the first deployment takes the first two that have Fargate. They never change after that.
        zones: Vec<ZoneName> = Vec::new(),
        /// Of an existing VPC: the subnets of the load balancer, in two zones or more.
        public_subnets: Vec<SubnetId> = Vec::new(),
        /// Of an existing VPC: the subnets of the tasks; without any, the load balancer's.
        task_subnets: Vec<SubnetId> = Vec::new(),
        /// Records accepted and refused connections of the stack's own VPC.
        flow_logs: bool = false,
    }
}

table! {
    /// As many tasks as the load asks for; on with a maximum. Each environment is scaled as if it served everything, so that either can take over at once.
    pub struct Autoscaling {
        /// Most tasks of an environment; `app.count` is the fewest.
        max: Option<Count> = None,
        /// Per cent of CPU that is aimed at, if one environment served everything.
        cpu: Percent = Percent::of(60),
        /// Requests a minute and task that are aimed at, if one environment served everything.
        requests: Amount = Amount::of(1000),
    }
}

table! {
    /// Alarms and a dashboard in CloudWatch; on with a receiver or with `enabled`.
    pub struct Alarms {
        /// Makes alarms, dashboard and the topic they tell, even without a receiver.
        enabled: bool = false,
        /// Who gets mail (each address must confirm the subscription).
        emails: Vec<Email> = Vec::new(),
        /// Answers of 5xx in a minute that are too many, per environment.
        errors: Amount = Amount::of(5),
        /// Milliseconds that the slowest hundredth of the answers may take.
        latency: Amount = Amount::of(1000),
    }
}

table! {
    /// Logs.
    pub struct Logs {
        /// Days that they are kept.
        retention_days: RetentionDays = RetentionDays::MONTH,
        /// Records every request to the load balancer and to the stack's bucket in a bucket of its own, which stays when the stack is deleted.
        access: bool = false,
        /// An existing bucket of the stack's account and region that records them instead; on with it. Its policy must [let both write](docs/how-to/access-logs.md).
        access_bucket: Option<BucketName> = None,
    }
}

table! {
    /// Further protection.
    pub struct Security {
        /// A web application firewall with AWS's core rules and a limit on requests per address.
        waf: bool = false,
        /// Encrypts logs, images, bucket and topic with a key of the account's own.
        kms: bool = false,
    }
}

table! {
    /// Two roles for a pipeline: one deploys versions, one cuts over, and neither changes anything else; on with a repository or an issuer. [What they may do](docs/how-to/ci.md).
    pub struct Ci {
        /// The repository on GitHub whose workflows may assume the roles: `"owner/name"`, or with both ids, `"owner@123/name@456"`, which a repository needs that was made, renamed or moved since July 2026.
        github: Option<RepositoryName> = None,
        /// The GitHub environments whose jobs may deploy.
        deploy_environments: Vec<RefName> = vec![known("staging")],
        /// The GitHub environments whose jobs may cut over. Protect them: they can ask for a person's approval.
        cutover_environments: Vec<RefName> = vec![known("production")],
        /// Jobs on these branches may deploy too, outside of an environment.
        branches: Vec<RefName> = Vec::new(),
        /// Another issuer of OIDC tokens, instead of GitHub: `"gitlab.com"`, `"agent.buildkite.com"`; with the subjects below.
        issuer: Option<IssuerName> = None,
        /// Of another issuer: the subjects (claim `sub`) of the jobs that may deploy, exactly as their tokens have them.
        deploy_subjects: Vec<TokenSubject> = Vec::new(),
        /// Of another issuer: the subjects of the jobs that may cut over.
        cutover_subjects: Vec<TokenSubject> = Vec::new(),
        /// ARN of the account's OIDC provider for the issuer, of which there can be only one; without it, the stack makes it.
        provider: Option<ProviderArn> = None,
    }
}

/// A default that is known to be acceptable.
fn known<T: for<'a> TryFrom<&'a str, Error = cfn_kit::InvalidValue>>(text: &'static str) -> T {
    T::try_from(text).unwrap_or_else(|error| unreachable!("a default of the settings: {error}"))
}
