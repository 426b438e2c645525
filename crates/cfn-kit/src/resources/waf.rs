//! AWS WAF: what requests a load balancer lets through.

use serde::Serialize;
use serde_json::{Value, json};

use super::elbv2::LoadBalancer;
use super::logs::LogGroup;
use crate::{Arn, Expr, Ref, Resource, Tag};

/// An ordered list of rules on requests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WebAcl {
    /// What it is for.
    pub description: String,
    /// `REGIONAL`, for load balancers.
    pub scope: &'static str,
    /// What happens to a request that no rule is about.
    pub default_action: DefaultAction,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Its metrics.
    pub visibility_config: Visibility,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for WebAcl {
    const TYPE: &'static str = "AWS::WAFv2::WebACL";
}

impl Ref<WebAcl> {
    /// The list's ARN.
    pub fn arn(&self) -> Expr<Arn<WebAcl>> {
        self.attribute("Arn")
    }
}

/// What happens to a request that no rule is about.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub enum DefaultAction {
    /// It goes through.
    Allow {},
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    name: &'static str,
    priority: u16,
    statement: Value,
    #[serde(flatten)]
    then: Then,
    visibility_config: Visibility,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum Then {
    /// What the rules of the group say.
    #[serde(rename = "OverrideAction")]
    AsTheGroupSays(NoOverride),
    #[serde(rename = "Action")]
    Do(Block),
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
enum NoOverride {
    None {},
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
enum Block {
    Block {},
}

impl Rule {
    /// A group of rules that AWS keeps up to date.
    pub fn managed(priority: u16, name: &'static str) -> Self {
        Self {
            name,
            priority,
            statement: json!({ "ManagedRuleGroupStatement": { "VendorName": "AWS", "Name": name } }),
            then: Then::AsTheGroupSays(NoOverride::None {}),
            visibility_config: Visibility::new(name),
        }
    }

    /// Blocks an address that sends more requests than this in five minutes.
    pub fn rate_limit(priority: u16, name: &'static str, requests: u32) -> Self {
        Self {
            name,
            priority,
            statement: json!({ "RateBasedStatement": { "AggregateKeyType": "IP", "Limit": requests } }),
            then: Then::Do(Block::Block {}),
            visibility_config: Visibility::new(name),
        }
    }
}

/// The metrics of a rule or list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Visibility {
    metric_name: &'static str,
    cloud_watch_metrics_enabled: bool,
    sampled_requests_enabled: bool,
}

impl Visibility {
    /// Metrics under this name, and samples of requests.
    pub fn new(metric_name: &'static str) -> Self {
        Self { metric_name, cloud_watch_metrics_enabled: true, sampled_requests_enabled: true }
    }
}

/// Puts a list in front of a load balancer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WebAclAssociation {
    /// The load balancer.
    pub resource_arn: Expr<Arn<LoadBalancer>>,
    /// The list.
    #[serde(rename = "WebACLArn")]
    pub web_acl_arn: Expr<Arn<WebAcl>>,
}

impl Resource for WebAclAssociation {
    const TYPE: &'static str = "AWS::WAFv2::WebACLAssociation";
}

/// Records the requests that a list looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfiguration {
    /// The list.
    pub resource_arn: Expr<Arn<WebAcl>>,
    /// A log group whose name begins with `aws-waf-logs-`.
    pub log_destination_configs: [Expr<Arn<LogGroup>>; 1],
}

impl Resource for LoggingConfiguration {
    const TYPE: &'static str = "AWS::WAFv2::LoggingConfiguration";
}
