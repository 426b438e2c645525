//! A request of the SDK, as AWS understands it: the call, and its point in a cutover. Must not know its result.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use model::Color;
use model::keys;
use model::route::Listener;
use reqwest::Url;
use serde_json::Value;
use std::borrow::Cow;

/// A call.
#[derive(Clone, Debug)]
pub enum Call {
    GetObject(String),
    PutObject {
        key: String,
        body: Value,
        /// The version that it replaces; `None` if it creates the object.
        replaces: Option<String>,
    },
    ListObjects {
        prefix: String,
        after: String,
    },
    RulesOf(Listener),
    Rules,
    Tags,
    Services,
    Health(Color),
    Attributes,
    ModifyRule {
        listener: Listener,
        to: Color,
        /// The same for all attempts of the SDK.
        invocation: String,
    },
    PutEvents(Value),
}

/// The points of a cutover at which calls are made, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    GetRun,
    GetLock,
    TakeLock,
    Claim,
    Rules,
    Tags,
    Services,
    Inspect,
    Attributes,
    SaveRun,
    SaveSamples,
    Steering,
    WriteDev,
    CheckHealth,
    WriteProd,
    RenewLock,
    Confirm,
    Outcome,
    Events,
    ReleaseLock,
    /// Only after another call failed, or in another operation.
    Else,
}

impl Point {
    /// The name of the call, and which of several calls it is.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetRun => "GetObject: the run's record",
            Self::GetLock => "GetObject: the lease",
            Self::TakeLock => "PutObject: the lease is acquired",
            Self::Claim => "PutObject: the run's first record",
            Self::Rules => "DescribeRules: of the listeners",
            Self::Tags => "DescribeTags",
            Self::Services => "DescribeServices",
            Self::Inspect => "DescribeTargetHealth: can the side get traffic?",
            Self::Attributes => "DescribeTargetGroupAttributes",
            Self::SaveRun => "PutObject: the record during the run",
            Self::SaveSamples => "PutObject: the probes",
            Self::Steering => "GetObject: commands for the run",
            Self::WriteDev => "ModifyRule: dev",
            Self::CheckHealth => "DescribeTargetHealth: before the write of prod",
            Self::WriteProd => "ModifyRule: prod",
            Self::RenewLock => "PutObject: the lease is renewed",
            Self::Confirm => "DescribeRules: at the end",
            Self::Outcome => "PutObject: the outcome",
            Self::Events => "PutEvents",
            Self::ReleaseLock => "PutObject: the lease is released",
            Self::Else => "else",
        }
    }

    /// The action of IAM that permits it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::GetRun | Self::GetLock | Self::Steering => "s3:GetObject",
            Self::Rules | Self::Confirm => "elasticloadbalancing:DescribeRules",
            Self::Tags => "elasticloadbalancing:DescribeTags",
            Self::Services => "ecs:DescribeServices",
            Self::Inspect | Self::CheckHealth => "elasticloadbalancing:DescribeTargetHealth",
            Self::Attributes => "elasticloadbalancing:DescribeTargetGroupAttributes",
            Self::WriteDev | Self::WriteProd => "elasticloadbalancing:ModifyRule",
            Self::Events => "events:PutEvents",
            Self::Else => "",
            _ => "s3:PutObject",
        }
    }

    /// Whether it writes an object, each of which says what it replaces.
    pub fn is_conditional(self) -> bool {
        self.action() == "s3:PutObject"
    }

    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        self.is_conditional() || matches!(self, Self::WriteDev | Self::WriteProd | Self::Events)
    }
}

/// ARN of the rule of a listener.
pub fn rule(listener: Listener) -> String {
    format!("rule/{}", listener.as_str())
}

fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

fn listener(arn: &str) -> Listener {
    if last(arn) == "prod" { Listener::Prod } else { Listener::Dev }
}

fn color(arn: &str) -> Color {
    if last(arn) == "blue" { Color::Blue } else { Color::Green }
}

impl Call {
    /// The call of this request. A call that a cutover must not make ends the test.
    pub fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        let body = request.body().bytes().unwrap_or_default();
        let json = || serde_json::from_slice::<Value>(body).unwrap();
        let url = Url::parse(request.uri()).unwrap();
        let service = url.host_str().unwrap().split('.').next().unwrap().to_owned();
        match service.as_str() {
            "s3" => {
                let asked = |name: &str| pair(&url, name).unwrap_or_default();
                // In the path, after the bucket.
                let key = url.path().trim_start_matches("/bucket").trim_start_matches('/').to_owned();
                match request.method() {
                    "GET" if key.is_empty() => {
                        Self::ListObjects { prefix: asked("prefix"), after: asked("start-after") }
                    }
                    "GET" => Self::GetObject(key),
                    "PUT" => Self::PutObject { key, body: json(), replaces: header("if-match") },
                    other => panic!("S3 {other} {url}"),
                }
            }
            "elasticloadbalancing" => {
                let form = Url::parse(&format!("http://form/?{}", str::from_utf8(body).unwrap())).unwrap();
                let asked = |name: &str| pair(&form, name);
                match asked("Action").unwrap().as_str() {
                    "DescribeRules" => asked("ListenerArn").map_or(Self::Rules, |arn| Self::RulesOf(listener(&arn))),
                    "DescribeTags" => Self::Tags,
                    "DescribeTargetHealth" => Self::Health(color(&asked("TargetGroupArn").unwrap())),
                    "DescribeTargetGroupAttributes" => Self::Attributes,
                    "ModifyRule" => Self::ModifyRule {
                        listener: listener(&asked("RuleArn").unwrap()),
                        to: color(&asked("Actions.member.1.TargetGroupArn").unwrap()),
                        invocation: header("amz-sdk-invocation-id").unwrap(),
                    },
                    other => panic!("Elastic Load Balancing {other}"),
                }
            }
            "ecs" => Self::Services,
            "events" => Self::PutEvents(json()),
            other => panic!("{other}: {}", request.uri()),
        }
    }
}

fn pair(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| Cow::into_owned(value))
}

/// The effect of this write on the stored lease.
fn lease_point(body: &Value, stored: Option<&Value>) -> Point {
    match stored {
        _ if body["released"] == true => Point::ReleaseLock,
        Some(stored) if stored["writer"] == body["writer"] => Point::RenewLock,
        _ => Point::TakeLock,
    }
}

impl Call {
    /// Its point in a cutover, by the stored lease and whether a listener was written.
    pub fn point(&self, lease: Option<&Value>, wrote: bool) -> Point {
        match self {
            Self::GetObject(key) if key == keys::LOCK => Point::GetLock,
            Self::GetObject(key) if key.starts_with(keys::RUNS) => Point::GetRun,
            Self::GetObject(key) if key.starts_with("cutover/steering/") => Point::Steering,
            Self::GetObject(_) | Self::ListObjects { .. } => Point::Else,
            Self::PutObject { key, body, .. } if key == keys::LOCK => lease_point(body, lease),
            Self::PutObject { key, .. } if key.starts_with(keys::SAMPLES) => Point::SaveSamples,
            Self::PutObject { body, .. } if !body["outcome"].is_null() => Point::Outcome,
            Self::PutObject { replaces: None, .. } => Point::Claim,
            Self::PutObject { .. } => Point::SaveRun,
            Self::RulesOf(_) => Point::Rules,
            Self::Rules => Point::Confirm,
            Self::Tags => Point::Tags,
            Self::Services => Point::Services,
            Self::Health(_) if wrote => Point::CheckHealth,
            Self::Health(_) => Point::Inspect,
            Self::Attributes => Point::Attributes,
            Self::ModifyRule { listener: Listener::Dev, .. } => Point::WriteDev,
            Self::ModifyRule { listener: Listener::Prod, .. } => Point::WriteProd,
            Self::PutEvents(_) => Point::Events,
        }
    }

    /// Whether it changes anything.
    pub const fn writes(&self) -> bool {
        matches!(self, Self::PutObject { .. } | Self::ModifyRule { .. } | Self::PutEvents(_))
    }
}
