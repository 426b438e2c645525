//! The state of the load balancers in the API, as the adapter of MiniStack sends it. Pure data.

#![allow(clippy::struct_field_names, reason = "the names are the API's")]

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The state, and a version that grows with every change.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Snapshot {
    pub(super) version: i64,
    pub(super) state: State,
}

/// Everything that decides the target of a request, in the order of creation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) listeners: Vec<Listener>,
    pub(super) rules: Vec<Rule>,
    pub(super) target_groups: Vec<TargetGroup>,
    /// The certificates of ACM.
    #[serde(default)]
    pub(super) certificates: Vec<Certificate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Certificate {
    pub(super) certificate_arn: String,
    /// The domain names that it is for.
    pub(super) names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoadBalancer {
    pub(super) load_balancer_arn: String,
    #[serde(rename = "DNSName")]
    pub(super) dns_name: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listener {
    pub(super) listener_arn: String,
    pub(super) load_balancer_arn: String,
    pub(super) port: u16,
    #[serde(default = "http")]
    pub(super) protocol: String,
    /// The default certificate, then those of the certificate list.
    #[serde(default)]
    pub(super) certificates: Vec<String>,
    #[serde(default)]
    pub(super) ssl_policy: Option<String>,
}

/// The default protocol of listeners, target groups, and health checks.
fn http() -> String {
    "HTTP".to_owned()
}

/// A rule; the default action of a listener is its default rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rule {
    pub(super) listener_arn: String,
    /// A number, or `default`.
    #[serde(deserialize_with = "text")]
    pub(super) priority: String,
    #[serde(default)]
    pub(super) conditions: Vec<Condition>,
    #[serde(default)]
    pub(super) actions: Vec<Action>,
    #[serde(default)]
    pub(super) is_default: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Condition {
    pub(super) field: String,
    pub(super) values: Vec<String>,
    pub(super) http_header_config: Option<HttpHeaderConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HttpHeaderConfig {
    pub(super) http_header_name: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Action {
    pub(super) r#type: String,
    #[serde(deserialize_with = "number")]
    pub(super) order: u64,
    pub(super) target_group_arn: Option<String>,
    pub(super) forward_config: Option<ForwardConfig>,
    pub(super) fixed_response_config: Option<FixedResponse>,
    pub(super) redirect_config: Option<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ForwardConfig {
    pub(super) target_groups: Vec<Weighted>,
    #[serde(default)]
    pub(super) target_group_stickiness_config: Stickiness,
}

/// Whether the requests of a client stay in a target group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Stickiness {
    pub(super) enabled: bool,
    pub(super) duration_seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Weighted {
    pub(super) target_group_arn: String,
    pub(super) weight: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FixedResponse {
    #[serde(deserialize_with = "text")]
    pub(super) status_code: String,
    pub(super) content_type: Option<String>,
    pub(super) message_body: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Redirect {
    pub(super) protocol: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    pub(super) port: Option<String>,
    pub(super) host: Option<String>,
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) status_code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroup {
    pub(super) target_group_arn: String,
    pub(super) target_group_name: String,
    #[serde(deserialize_with = "number")]
    pub(super) port: u64,
    #[serde(default = "http")]
    pub(super) protocol: String,
    /// The version of HTTP that targets get: `HTTP1`, `HTTP2`, or `GRPC`.
    #[serde(default)]
    pub(super) protocol_version: Option<String>,
    pub(super) health_check_protocol: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    pub(super) health_check_port: Option<String>,
    pub(super) health_check_enabled: bool,
    pub(super) health_check_path: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_interval_seconds: u64,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_timeout_seconds: u64,
    #[serde(deserialize_with = "number")]
    pub(super) healthy_threshold_count: u64,
    #[serde(deserialize_with = "number")]
    pub(super) unhealthy_threshold_count: u64,
    #[serde(default)]
    pub(super) matcher: Matcher,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Matcher {
    #[serde(deserialize_with = "optional_text")]
    pub(super) http_code: Option<String>,
    #[serde(deserialize_with = "optional_text")]
    pub(super) grpc_code: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) id: String,
    #[serde(default)]
    pub(super) port: Option<u16>,
}

/// Numbers of a template arrive as numbers or as text, depending on how the author wrote them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u64),
    Text(String),
}

fn number<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    match Loose::deserialize(source)? {
        Loose::Number(number) => Ok(number),
        Loose::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

fn text<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    Ok(match Loose::deserialize(source)? {
        Loose::Number(number) => number.to_string(),
        Loose::Text(text) => text,
    })
}

fn optional_text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Loose>::deserialize(source)?.map(|found| match found {
        Loose::Number(number) => number.to_string(),
        Loose::Text(text) => text,
    }))
}
