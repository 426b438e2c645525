//! The responses of AWS, as bytes. Must not know when each is returned.

use super::call::{Call, rule};
use super::effect::Refusal;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use model::Color;
use model::names::{RELEASE_TAG, STACK_TAG, TRAFFIC_TAG};
use model::route::Listener;
use serde_json::json;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// A time as S3 writes it in headers.
pub fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub fn http(self) -> HttpResponse {
        self.with_body(SdkBody::from)
    }

    /// The connection breaks in the middle of the body.
    pub fn half(self) -> HttpResponse {
        self.with_body(|body| {
            let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
            let end = std::io::Error::other("end of file before message length reached");
            SdkBody::from_body_1_x(StreamBody::new(stream::iter([Ok(Frame::data(half)), Err(end)])))
        })
    }

    fn with_body(self, body: impl FnOnce(Vec<u8>) -> SdkBody) -> HttpResponse {
        let mut response = HttpResponse::new(self.status.try_into().unwrap(), body(self.body));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The names of errors: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html> and those of the other two.
pub fn refused(call: &Call, refusal: Refusal) -> Answer {
    let s3 = matches!(call, Call::GetObject(_) | Call::PutObject { .. } | Call::ListObjects { .. });
    let json = matches!(call, Call::Services | Call::PutEvents(_));
    let (status, code) = match refusal {
        Refusal::Internal if s3 => (500, "InternalError"),
        Refusal::Internal if json => (500, "ServerException"),
        Refusal::Internal => (500, "InternalFailure"),
        Refusal::Unavailable => (503, "ServiceUnavailable"),
        Refusal::Throttled if s3 => (503, "SlowDown"),
        Refusal::Throttled if json => (400, "ThrottlingException"),
        Refusal::Throttled => (400, "Throttling"),
        Refusal::Denied if json => (400, "AccessDeniedException"),
        Refusal::Denied => (403, "AccessDenied"),
        Refusal::Expired if json => (400, "ExpiredTokenException"),
        Refusal::Expired if s3 => (400, "ExpiredToken"),
        Refusal::Expired => (403, "ExpiredToken"),
        Refusal::Conflict => (409, "ConditionalRequestConflict"),
        Refusal::Precondition => (412, "PreconditionFailed"),
    };
    let error = format!("<Error><Code>{code}</Code><Message>A fault.</Message></Error>");
    let body = match () {
        () if json => json!({"__type": code, "message": "A fault."}).to_string(),
        () if s3 => error,
        () => format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"),
    };
    Answer { status, ..Answer::ok(body) }
}

fn members(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("<member>{item}</member>")).collect();
    items.concat()
}

fn result(action: &str, body: &str) -> Answer {
    Answer::ok(format!("<{action}Response><{action}Result>{body}</{action}Result></{action}Response>"))
}

/// Rules that forward there, optionally with the default action of their listeners.
pub fn rules(action: &str, rules: impl IntoIterator<Item = (Listener, Color)>, default: bool) -> Answer {
    let own = rules.into_iter().map(|(listener, to)| {
        let condition = members(["<Field>path-pattern</Field><Values><member>*</member></Values>".to_owned()]);
        let forward = members([format!("<Type>forward</Type><TargetGroupArn>group/{to}</TargetGroupArn>")]);
        let arn = rule(listener);
        format!(
            "<RuleArn>{arn}</RuleArn><Priority>50000</Priority><IsDefault>false</IsDefault>\
             <Conditions>{condition}</Conditions><Actions>{forward}</Actions>"
        )
    });
    let unavailable = "<RuleArn>rule/default</RuleArn><Priority>default</Priority><IsDefault>true</IsDefault>\
                       <Actions><member><Type>fixed-response</Type></member></Actions>";
    let all = own.chain(default.then(|| unavailable.to_owned()));
    result(action, &format!("<Rules>{}</Rules>", members(all)))
}

pub fn tags() -> Answer {
    let tag = |key: &str, value: &str| format!("<Key>{key}</Key><Value>{value}</Value>");
    let tagged = [Listener::Prod, Listener::Dev].map(|listener| {
        let tags = members([tag(STACK_TAG, "shop"), tag(TRAFFIC_TAG, listener.as_str())]);
        format!("<ResourceArn>{}</ResourceArn><Tags>{tags}</Tags>", rule(listener))
    });
    result("DescribeTags", &format!("<TagDescriptions>{}</TagDescriptions>", members(tagged)))
}

pub fn healthy() -> Answer {
    let targets = ["10.0.0.1", "10.0.0.2"]
        .map(|id| format!("<Target><Id>{id}</Id></Target><TargetHealth><State>healthy</State></TargetHealth>"));
    let targets = format!("<TargetHealthDescriptions>{}</TargetHealthDescriptions>", members(targets));
    result("DescribeTargetHealth", &targets)
}

pub fn attributes() -> Answer {
    let sticky = members(["<Key>stickiness.enabled</Key><Value>false</Value>".to_owned()]);
    result("DescribeTargetGroupAttributes", &format!("<Attributes>{sticky}</Attributes>"))
}

pub fn services() -> Answer {
    let deployment = json!({"status": "PRIMARY", "rolloutState": "COMPLETED", "runningCount": 2, "createdAt": 1.769e9});
    let release = json!({"key": RELEASE_TAG, "value": "7"});
    let service = json!({
        "status": "ACTIVE", "desiredCount": 2, "runningCount": 2, "deployments": [deployment], "tags": [release],
    });
    Answer::ok(json!({"services": [service]}).to_string())
}

/// A list of objects, each with its time.
pub fn listed<'a>(objects: impl Iterator<Item = (&'a String, Timestamp)>) -> Answer {
    let objects = objects.map(|(key, modified)| {
        format!("<Contents><Key>{key}</Key><LastModified>{modified:.3}</LastModified></Contents>")
    });
    let objects = objects.collect::<Vec<_>>().concat();
    Answer::ok(format!("<ListBucketResult>{objects}<IsTruncated>false</IsTruncated></ListBucketResult>"))
}
