//! Elastic Load Balancing v2: the Application Load Balancer, its listeners and target groups.
//!
//! ```
//! use cfn_kit::resources::elbv2::{
//!     Action, Attribute, Certificate, HeaderCondition, Listener, ListenerRule, LoadBalancer, Matcher, Protocol,
//!     Scheme, SslPolicy, TargetGroup,
//! };
//! use cfn_kit::resources::values::{
//!     CertificateArn, CheckInterval, CheckThreshold, CheckTimeout, Port, SubnetId, UrlPath, VpcId,
//! };
//! use cfn_kit::Stack;
//!
//! let mut stack = Stack::new("The shop is reached over HTTPS");
//! let subnets = ["subnet-0a1b2c3d", "subnet-4e5f6a7b"].map(|id| (&SubnetId::try_from(id).unwrap()).into());
//! let balancer = LoadBalancer {
//!     r#type: "application",
//!     scheme: Scheme::InternetFacing,
//!     subnets: subnets.into(),
//!     security_groups: vec![],
//!     load_balancer_attributes: vec![Attribute::new("deletion_protection.enabled", "true")],
//!     tags: vec![],
//! };
//! let balancer = stack.add("Balancer", balancer);
//! let shop = TargetGroup {
//!     vpc_id: (&VpcId::try_from("vpc-0a1b2c3d").unwrap()).into(),
//!     target_type: "ip",
//!     port: Port::of(8080),
//!     protocol: Protocol::Http,
//!     health_check_path: UrlPath::try_from("/health").unwrap(),
//!     health_check_interval_seconds: CheckInterval::of(5),
//!     health_check_timeout_seconds: CheckTimeout::of(2),
//!     healthy_threshold_count: CheckThreshold::of(2),
//!     unhealthy_threshold_count: CheckThreshold::of(2),
//!     matcher: Matcher { http_code: "200".to_owned() },
//!     target_group_attributes: vec![Attribute::new("deregistration_delay.timeout_seconds", "30")],
//!     tags: vec![],
//! };
//! let shop = stack.add("Shop", shop);
//! let certificate = CertificateArn::try_from("arn:aws:acm:eu-central-1:123456789012:certificate/1").unwrap();
//! let https = Listener {
//!     load_balancer_arn: balancer.arn(),
//!     port: Port::HTTPS,
//!     protocol: Protocol::Https,
//!     certificates: vec![Certificate { certificate_arn: certificate }],
//!     ssl_policy: Some(SslPolicy::Tls13),
//!     default_actions: vec![Action::unavailable("The shop opens soon")],
//! };
//! let https = stack.add("Https", https);
//! let testers = ListenerRule {
//!     listener_arn: https.arn(),
//!     priority: 1,
//!     conditions: vec![HeaderCondition::new("x-tester", "yes")],
//!     actions: vec![Action::forward(shop.arn())],
//! };
//! stack.add("Testers", testers);
//! let http = Listener {
//!     load_balancer_arn: balancer.arn(),
//!     port: Port::HTTP,
//!     protocol: Protocol::Http,
//!     certificates: vec![],
//!     ssl_policy: None,
//!     default_actions: vec![Action::to_https(Port::HTTPS)],
//! };
//! stack.add("Http", http);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::ec2::{SecurityGroup, Subnet, Vpc};
use super::values::{CertificateArn, CheckInterval, CheckThreshold, CheckTimeout, Port, UrlPath};
use crate::{Arn, Expr, Id, Ref, Resource, Tag};

/// An attribute of a load balancer or a target group: a name and a value as text.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// Its name, for example `deregistration_delay.timeout_seconds`.
    pub key: &'static str,
    /// Its value as text.
    pub value: Expr<String>,
}

impl Attribute {
    /// The attribute `key` with this value.
    pub fn new(key: &'static str, value: impl Into<Expr<String>>) -> Self {
        Self { key, value: value.into() }
    }
}

/// The clients that can reach a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Every client on the internet.
    InternetFacing,
    /// Only clients in the network.
    Internal,
}

/// An Application Load Balancer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoadBalancer {
    /// `application`.
    pub r#type: &'static str,
    /// The clients that can reach it.
    pub scheme: Scheme,
    /// At least two subnets, in different zones.
    pub subnets: Vec<Expr<Id<Subnet>>>,
    /// Its security groups.
    pub security_groups: Vec<Expr<Id<SecurityGroup>>>,
    /// Settings.
    pub load_balancer_attributes: Vec<Attribute>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for LoadBalancer {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
}

impl Ref<LoadBalancer> {
    /// The load balancer's ARN.
    pub fn arn(&self) -> Expr<Arn<LoadBalancer>> {
        self.reference()
    }

    /// Its name in metrics of CloudWatch.
    pub fn full_name(&self) -> Expr<String> {
        self.attribute("LoadBalancerFullName")
    }

    /// The DNS name that resolves to its addresses.
    pub fn dns_name(&self) -> Expr<String> {
        self.attribute("DNSName")
    }
}

/// A listener's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// The action for a request.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "Type", rename_all = "kebab-case", rename_all_fields = "PascalCase")]
pub enum Action {
    /// Forward it to a target group.
    Forward {
        /// The target group.
        target_group_arn: Expr<Arn<TargetGroup>>,
    },
    /// Return a fixed response.
    FixedResponse {
        /// The response.
        fixed_response_config: FixedResponse,
    },
    /// Redirect it.
    Redirect {
        /// The destination.
        redirect_config: Redirect,
    },
}

/// The destination of a redirect. Host, path, and query stay. [`Action::to_https`] makes one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Redirect {
    protocol: Protocol,
    port: String,
    status_code: &'static str,
}

/// A fixed response of the load balancer. [`Action::unavailable`] makes one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FixedResponse {
    status_code: &'static str,
    content_type: &'static str,
    message_body: &'static str,
}

impl Action {
    /// Returns 503 with a text of at most 1,024 bytes.
    pub const fn unavailable(message_body: &'static str) -> Self {
        let fixed_response_config = FixedResponse { status_code: "503", content_type: "text/plain", message_body };
        Self::FixedResponse { fixed_response_config }
    }

    /// Forwards to this target group.
    pub fn forward(target_group: Expr<Arn<TargetGroup>>) -> Self {
        Self::Forward { target_group_arn: target_group }
    }

    /// Redirects permanently to HTTPS on this port.
    pub fn to_https(port: Port) -> Self {
        let redirect_config = Redirect { protocol: Protocol::Https, port: port.to_string(), status_code: "HTTP_301" };
        Self::Redirect { redirect_config }
    }
}

/// A certificate of a listener.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Certificate {
    /// Its ARN.
    pub certificate_arn: CertificateArn,
}

/// The TLS versions and ciphers of a listener
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SslPolicy {
    /// TLS 1.3, and 1.2 with forward secrecy and authenticated encryption only.
    #[serde(rename = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06")]
    Tls13,
}

/// A port that a load balancer listens on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listener {
    /// The load balancer.
    pub load_balancer_arn: Expr<Arn<LoadBalancer>>,
    /// The port.
    pub port: Port,
    /// The protocol.
    pub protocol: Protocol,
    /// Its certificate, if it uses HTTPS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Its TLS policy, if it uses HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_policy: Option<SslPolicy>,
    /// The action for a request that no rule matches.
    pub default_actions: Vec<Action>,
}

impl Resource for Listener {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::Listener";
}

impl Ref<Listener> {
    /// The listener's ARN.
    pub fn arn(&self) -> Expr<Arn<Listener>> {
        self.reference()
    }
}

/// A rule of a listener.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListenerRule {
    /// The listener.
    pub listener_arn: Expr<Arn<Listener>>,
    /// Its priority, unique in the listener, 1 to 50,000. Lower numbers are evaluated first
    /// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html>).
    pub priority: u16,
    /// The conditions that a request must match.
    pub conditions: Vec<HeaderCondition>,
    /// The action for the request.
    pub actions: Vec<Action>,
}

impl Resource for ListenerRule {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::ListenerRule";
}

/// Holds if a request header has one of several values.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HeaderCondition {
    field: &'static str,
    http_header_config: HeaderConfig,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HeaderConfig {
    http_header_name: String,
    values: Vec<String>,
}

impl HeaderCondition {
    /// Header `name` is `value` (compared without regard to case; `*` and `?` are wildcards).
    pub fn new(name: &str, value: &str) -> Self {
        let http_header_config = HeaderConfig { http_header_name: name.to_owned(), values: vec![value.to_owned()] };
        Self { field: "http-header", http_header_config }
    }
}

/// The status codes of a successful health check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Matcher {
    /// For example `200` or `200-299`.
    pub http_code: String,
}

/// A set of targets with a health check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetGroup {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// `ip`: the type for tasks in `awsvpc` mode
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/alb.html>).
    pub target_type: &'static str,
    /// The port of targets if their registration names none.
    pub port: Port,
    /// The protocol to the targets.
    pub protocol: Protocol,
    /// The path of the health check.
    pub health_check_path: UrlPath,
    /// Seconds between two checks of a target.
    pub health_check_interval_seconds: CheckInterval,
    /// Seconds after which a check without a response fails; less than the interval.
    pub health_check_timeout_seconds: CheckTimeout,
    /// Consecutive successful checks that make a target healthy.
    pub healthy_threshold_count: CheckThreshold,
    /// Consecutive failed checks that make a target unhealthy.
    pub unhealthy_threshold_count: CheckThreshold,
    /// The status codes of a successful check.
    pub matcher: Matcher,
    /// Settings.
    pub target_group_attributes: Vec<Attribute>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for TargetGroup {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::TargetGroup";
}

impl Ref<TargetGroup> {
    /// The target group's ARN.
    pub fn arn(&self) -> Expr<Arn<TargetGroup>> {
        self.reference()
    }
}

impl Ref<TargetGroup> {
    /// Its name in metrics of CloudWatch.
    pub fn full_name(&self) -> Expr<String> {
        self.attribute("TargetGroupFullName")
    }
}
