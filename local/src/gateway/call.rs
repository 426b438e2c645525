//! Parses an API request: service, action, resources, and caller. Pure.

use crate::form;
use clap::ValueEnum;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// The longest body that is read for its action and resources; longer bodies are only forwarded.
pub(super) const READ_LIMIT: u64 = 1024 * 1024;

/// The protocol of a service: the format of its errors, and the position of the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Form parameters, XML answers: load balancing, CloudFormation, IAM.
    Query,
    /// JSON with `X-Amz-Target`: ECS, ECR, logs.
    Json,
    /// Paths and methods, JSON answers: Lambda.
    Rest,
    /// The action in the path, CBOR both ways: CloudWatch.
    Cbor,
    /// The protocol of S3.
    S3,
}

/// An action of a service, as IAM names it, on resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The IAM prefix of the service: `elasticloadbalancing`.
    pub(crate) service: String,
    /// The IAM name of the action: `ModifyListener`; for S3, the permission for the request (`GetObject` for HEAD).
    pub(crate) action: String,
    /// ARNs and names in the request.
    pub(crate) resources: Vec<String>,
    /// Who signed it.
    pub(crate) caller: Caller,
}

/// The caller of an API call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Caller {
    /// A Lambda function on the local cloud.
    Function,
    /// Any other client: a command, a test, or a task.
    Client,
}

/// The parts of the signature in use: signer and service.
fn scope(parts: &Parts) -> Option<(String, String)> {
    let credential = |text: &str| {
        let mut fields = text.split('/');
        Some((fields.next()?.to_owned(), fields.nth(2)?.to_owned()))
    };
    let signed = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(rest) = signed.and_then(|text| text.split_once("Credential=")) {
        return credential(rest.1.split([',', ' ']).next()?);
    }
    let mut query = form::pairs(parts.uri.query().unwrap_or(""));
    credential(&query.find(|(name, _)| name == "X-Amz-Credential")?.1)
}

/// The protocol of a signed request; `None` for a request that is not an API call (registry, health check).
pub(super) fn protocol(parts: &Parts) -> Option<Protocol> {
    let (_, service) = scope(parts)?;
    Some(match service.as_str() {
        "s3" => Protocol::S3,
        _ if parts.headers.get("smithy-protocol").is_some_and(|name| name == "rpc-v2-cbor") => Protocol::Cbor,
        _ if parts.headers.contains_key("x-amz-target") => Protocol::Json,
        _ if parts.method == Method::POST && is_form(&parts.headers) => Protocol::Query,
        _ => Protocol::Rest,
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.starts_with("application/x-www-form-urlencoded")
}

/// The access key id that a request is signed with.
pub(super) fn signer(parts: &Parts) -> Option<String> {
    scope(parts).map(|(key, _)| key)
}

/// Parses a request of a caller. `body` is empty if the body is not read.
pub(super) fn read(protocol: Protocol, caller: Caller, parts: &Parts, body: &[u8]) -> Option<Call> {
    let (_, service) = scope(parts)?;
    let (action, resources) = match protocol {
        Protocol::Query => query(body),
        Protocol::Json => json(parts, body),
        Protocol::S3 => s3(parts),
        Protocol::Rest => rest(&service, parts),
        // The resources are in the body, and no permission in this project depends on them.
        Protocol::Cbor => (parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned(), BTreeSet::new()),
    };
    // CloudWatch signs with an older name than its IAM prefix.
    let service = if service == "monitoring" { "cloudwatch".to_owned() } else { service };
    Some(Call { service, action, resources: resources.into_iter().collect(), caller })
}

fn query(body: &[u8]) -> (String, BTreeSet<String>) {
    let pairs: Vec<_> = form::pairs(&String::from_utf8_lossy(body)).collect();
    let action = pairs.iter().find(|(name, _)| name == "Action").map(|(_, value)| value.clone());
    let arns = pairs.into_iter().map(|(_, value)| value).filter(|value| value.starts_with("arn:"));
    (action.unwrap_or_default(), arns.collect())
}

fn json(parts: &Parts, body: &[u8]) -> (String, BTreeSet<String>) {
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or("");
    let action = target.rsplit('.').next().unwrap_or(target).to_owned();
    let mut resources = BTreeSet::new();
    collect(&serde_json::from_slice(body).unwrap_or_default(), "", &mut resources);
    (action, resources)
}

/// ARNs anywhere in the body, and the names of resources in known fields.
fn collect(value: &Value, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("arn:") => drop(found.insert(text.clone())),
        Value::String(text) if matches!(name, "cluster" | "services" | "repositoryName" | "logGroupName") => {
            found.insert(text.clone());
        }
        // As in the last part of the ARN of a bus, because requests name a bus without its kind.
        Value::String(text) if name == "EventBusName" => drop(found.insert(format!("event-bus/{text}"))),
        Value::Array(list) => list.iter().for_each(|item| collect(item, name, found)),
        Value::Object(map) => map.iter().for_each(|(name, item)| collect(item, name, found)),
        _ => {}
    }
}

/// The permission that an S3 request needs (path style, as clients of a local endpoint use it).
fn s3(parts: &Parts) -> (String, BTreeSet<String>) {
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let query = parts.uri.query().unwrap_or("");
    let action = match (&parts.method, key.is_empty()) {
        (&Method::GET | &Method::HEAD, false) => "GetObject",
        (&Method::PUT | &Method::POST, false) => "PutObject",
        (&Method::DELETE, false) => "DeleteObject",
        (&Method::GET, true) if bucket.is_empty() => "ListAllMyBuckets",
        (&Method::GET, true) if query.starts_with("tagging") => "GetBucketTagging",
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketTagging.html
        (&Method::PUT | &Method::DELETE, true) if query.starts_with("tagging") => "PutBucketTagging",
        (&Method::GET, true) if query.contains("versions") => "ListBucketVersions",
        (&Method::GET | &Method::HEAD, true) => "ListBucket",
        (&Method::POST, true) if query.contains("delete") => "DeleteObject",
        (&Method::PUT, true) => "CreateBucket",
        (&Method::DELETE, true) => "DeleteBucket",
        _ => "Unknown",
    };
    let object = if key.is_empty() { bucket.to_owned() } else { format!("{bucket}/{key}") };
    let mut resources = BTreeSet::from([format!("arn:aws:s3:::{object}")]);
    // The value of the condition key `s3:prefix` in policies.
    if action == "ListBucket" {
        let prefix = form::pairs(query).find(|(name, _)| name == "prefix");
        resources.extend(prefix.map(|(_, prefix)| format!("prefix/{prefix}")));
    }
    (action.to_owned(), resources)
}

fn rest(service: &str, parts: &Parts) -> (String, BTreeSet<String>) {
    let path = parts.uri.path();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (service, segments.as_slice()) {
        ("lambda", [_, "functions", name, "invocations"]) => {
            ("InvokeFunction".to_owned(), BTreeSet::from([(*name).to_owned()]))
        }
        _ => (format!("{} {path}", parts.method), BTreeSet::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(method: &str, uri: &str, service: &str, key: &str, more: &[(&str, &str)]) -> Parts {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = Request::builder().method(method).uri(uri).header("authorization", authorization);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn call(parts: &Parts, body: &str) -> Call {
        read(protocol(parts).unwrap(), Caller::Client, parts, body.as_bytes()).unwrap()
    }

    #[test]
    fn a_form_is_an_action_on_its_arns() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let parts = parts("POST", "/", "elasticloadbalancing", "000000000000", &[form]);
        let call = call(&parts, "Action=ModifyListener&ListenerArn=arn%3Aaws%3Ax%3Alistener%2Fa&Port=80");
        assert_eq!((call.service.as_str(), call.action.as_str()), ("elasticloadbalancing", "ModifyListener"));
        assert_eq!(call.resources, ["arn:aws:x:listener/a"]);
    }

    #[test]
    fn a_json_request_is_its_target_on_what_it_names() {
        let target = ("x-amz-target", "AmazonEC2ContainerServiceV20141113.DescribeServices");
        let parts = parts("POST", "/", "ecs", "test", &[target]);
        let call =
            call(&parts, r#"{"cluster":"demo","services":["arn:aws:ecs:x:service/demo/blue"],"include":["TAGS"]}"#);
        assert_eq!(call.action, "DescribeServices");
        assert_eq!(call.resources, ["arn:aws:ecs:x:service/demo/blue", "demo"]);
        assert_eq!((call.caller, signer(&parts).as_deref()), (Caller::Client, Some("test")));
    }

    #[test]
    fn an_event_is_put_on_the_bus_that_it_names() {
        let parts = parts("POST", "/", "events", "test", &[("x-amz-target", "AWSEvents.PutEvents")]);
        let call = call(&parts, r#"{"Entries":[{"Source":"x","EventBusName":"default"}]}"#);
        assert_eq!((call.action.as_str(), call.resources), ("PutEvents", vec!["event-bus/default".to_owned()]));
    }

    #[test]
    fn an_s3_request_is_the_permission_it_needs() {
        for (method, uri, action, resources) in [
            ("GET", "/b/cutover/lock.json", "GetObject", &["arn:aws:s3:::b/cutover/lock.json"][..]),
            ("GET", "/b?tagging", "GetBucketTagging", &["arn:aws:s3:::b"]),
            ("DELETE", "/b?tagging", "PutBucketTagging", &["arn:aws:s3:::b"]),
            ("HEAD", "/b/k", "GetObject", &["arn:aws:s3:::b/k"]),
            ("PUT", "/b/k?x-id=PutObject", "PutObject", &["arn:aws:s3:::b/k"]),
            ("GET", "/b?list-type=2&prefix=cutover%2F", "ListBucket", &["arn:aws:s3:::b", "prefix/cutover/"]),
            ("POST", "/b?delete", "DeleteObject", &["arn:aws:s3:::b"]),
        ] {
            let call = call(&parts(method, uri, "s3", "test", &[]), "");
            assert_eq!(call.action, action, "{uri}");
            assert_eq!(call.resources, resources, "{uri}");
        }
    }

    #[test]
    fn an_invocation_names_its_function() {
        let parts = parts("POST", "/2015-03-31/functions/swap/invocations", "lambda", "test", &[]);
        let call = call(&parts, "");
        assert_eq!((call.action.as_str(), call.resources), ("InvokeFunction", vec!["swap".to_owned()]));
    }

    #[test]
    fn a_request_in_cbor_is_the_operation_in_its_path() {
        let path = "/service/GraniteServiceVersion20100801/operation/GetMetricData";
        let parts = parts("POST", path, "monitoring", "test", &[("smithy-protocol", "rpc-v2-cbor")]);
        let call = call(&parts, "");
        assert_eq!((call.service.as_str(), call.action.as_str()), ("cloudwatch", "GetMetricData"));
    }

    #[test]
    fn a_request_without_a_signature_is_no_call() {
        let parts = Request::get("/v2/").body(()).unwrap().into_parts().0;
        assert_eq!(protocol(&parts), None);
    }
}
