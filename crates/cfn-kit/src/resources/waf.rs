//! AWS WAF: the requests that a load balancer accepts.
//!
//! ```
//! use cfn_kit::resources::waf::{DefaultAction, LoggingConfiguration, Rule, Visibility, WebAcl, WebAclAssociation};
//! use cfn_kit::{Expr, Stack};
//! use serde_json::json;
//!
//! let mut stack = Stack::new("Fewer requests of robots");
//! let acl = WebAcl {
//!     description: "The shop".to_owned(),
//!     scope: "REGIONAL",
//!     default_action: DefaultAction::Allow {},
//!     rules: vec![Rule::managed(1, "AWSManagedRulesCommonRuleSet"), Rule::rate_limit(2, "rate", 2000)],
//!     visibility_config: Visibility::new("shop"),
//!     tags: vec![],
//! };
//! let acl = stack.add("Acl", acl);
//! let balancer = Expr::from_json(json!({ "Fn::ImportValue": "shop-balancer" }));
//! stack.add("Protects", WebAclAssociation { resource_arn: balancer, web_acl_arn: acl.arn() });
//! let log = Expr::from_json(json!({ "Fn::ImportValue": "aws-waf-logs-shop" }));
//! stack.add("AclLog", LoggingConfiguration { resource_arn: acl.arn(), log_destination_configs: [log] });
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;
use serde_json::{Value, json};

use super::elbv2::LoadBalancer;
use super::logs::LogGroup;
use crate::{Arn, Expr, Ref, Resource, Tag};

/// A web ACL: an ordered list of rules for requests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WebAcl {
    /// Its description.
    pub description: String,
    /// `REGIONAL`, for load balancers.
    pub scope: &'static str,
    /// The action for a request that no rule matches.
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
    /// The ARN of the web ACL.
    pub fn arn(&self) -> Expr<Arn<WebAcl>> {
        self.attribute("Arn")
    }
}

/// The action for a request that no rule matches.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub enum DefaultAction {
    /// Allow the request.
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
    /// Keep the actions of the rules in the group.
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
    /// A managed rule group, which AWS updates.
    pub fn managed(priority: u16, name: &'static str) -> Self {
        Self {
            name,
            priority,
            statement: json!({ "ManagedRuleGroupStatement": { "VendorName": "AWS", "Name": name } }),
            then: Then::AsTheGroupSays(NoOverride::None {}),
            visibility_config: Visibility::new(name),
        }
    }

    /// Blocks an address that sends more requests than this in five minutes
    /// (<https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based.html>).
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

/// Attaches a web ACL to a load balancer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WebAclAssociation {
    /// The load balancer.
    pub resource_arn: Expr<Arn<LoadBalancer>>,
    /// The web ACL.
    #[serde(rename = "WebACLArn")]
    pub web_acl_arn: Expr<Arn<WebAcl>>,
}

impl Resource for WebAclAssociation {
    const TYPE: &'static str = "AWS::WAFv2::WebACLAssociation";
}

/// Records the requests that a web ACL inspected.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfiguration {
    /// The web ACL.
    pub resource_arn: Expr<Arn<WebAcl>>,
    /// A log group whose name begins with `aws-waf-logs-`.
    pub log_destination_configs: [Expr<Arn<LogGroup>>; 1],
}

impl Resource for LoggingConfiguration {
    const TYPE: &'static str = "AWS::WAFv2::LoggingConfiguration";
}
