//! Injected API call faults: rules that say which calls fail, how often, and how, for tests and rehearsals.

use super::call::{Call, Caller, Protocol};
use crate::http_client::{Body, full};
use crate::rule::{Turns, next_id};
use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Response, StatusCode, header};
use minicbor::Encoder;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The effect of a fault on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// Reject the call with the throttling error of the service; the call has no effect.
    Throttle,
    /// Return an internal error of the service; the call has no effect.
    Error,
    /// Delay the call (--ms), then perform it and respond.
    Delay,
    /// Never respond while the client waits; the call has no effect.
    Hold,
    /// Drop the connection at once; the call has no effect.
    Drop,
    /// Perform the call, then drop the connection without a response.
    DropAnswer,
    /// Drop the connection, and perform the call later (--ms).
    Late,
}

impl Effect {
    /// The name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A rule and the number of its matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// Assigned when the rule is added.
    #[serde(default)]
    pub(crate) id: u64,
    pub(crate) effect: Effect,
    /// The IAM prefix of the service; absent: all services.
    pub(crate) service: Option<String>,
    /// The action; absent: all actions.
    pub(crate) action: Option<String>,
    /// Text that one of the resources must contain.
    pub(crate) resource: Option<String>,
    pub(crate) caller: Option<Caller>,
    /// Which calls fail.
    #[serde(flatten)]
    pub(crate) turns: Turns,
    /// The delay of the effects `delay` and `late`.
    #[serde(default)]
    pub(crate) ms: u64,
}

/// The fault that applies to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub(super) effect: Effect,
    pub(super) ms: u64,
}

/// The rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Fault>,
}

impl Fault {
    fn means(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let on = |part: &String| call.resources.iter().any(|resource| resource.contains(part));
        is(&self.service, &call.service)
            && is(&self.action, &call.action)
            && self.resource.as_ref().is_none_or(on)
            && self.caller.is_none_or(|caller| caller == call.caller)
    }
}

impl Faults {
    /// Adds a rule and returns it with its id.
    pub(crate) fn add(&self, fault: Fault) -> Fault {
        let mut inner = self.lock();
        let fault = Fault { id: next_id(), turns: fault.turns.anew(), ..fault };
        inner.rules.push(fault.clone());
        fault
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.lock().rules.clone()
    }

    /// Removes one rule, or all. Returns the number of removed rules.
    pub(crate) fn clear(&self, id: Option<u64>) -> usize {
        let mut inner = self.lock();
        let before = inner.rules.len();
        inner.rules.retain(|rule| id.is_some_and(|id| rule.id != id));
        before - inner.rules.len()
    }

    /// Returns the effect of the first rule that applies to a call. Every rule that matches counts the call.
    pub(super) fn meet(&self, call: &Call) -> Option<Met> {
        let mut inner = self.lock();
        let mut found = None;
        for rule in inner.rules.iter_mut().filter(|rule| rule.means(call)) {
            if rule.turns.strikes() && found.is_none() {
                found = Some(Met { effect: rule.effect, ms: rule.ms });
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A throttling error in the format of the service.
pub(super) fn throttled(protocol: Protocol, service: &str) -> Response<Body> {
    match protocol {
        Protocol::Query => query(StatusCode::BAD_REQUEST, "Sender", "Throttling", "Rate exceeded"),
        Protocol::Json => json(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded"),
        Protocol::Rest if service == "lambda" => {
            json(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded.")
        }
        Protocol::Rest => json(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", "Rate exceeded"),
        Protocol::Cbor => cbor(StatusCode::BAD_REQUEST, "ThrottlingException", "Rate exceeded"),
        Protocol::S3 => s3(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate."),
    }
}

/// An internal error in the format of the service.
pub(super) fn failed(protocol: Protocol) -> Response<Body> {
    let (status, message) = (StatusCode::INTERNAL_SERVER_ERROR, "We encountered an internal error. Please try again.");
    match protocol {
        Protocol::Query => query(status, "Receiver", "InternalFailure", message),
        Protocol::Json => json(status, "InternalFailure", message),
        Protocol::Rest => json(status, "ServiceException", message),
        Protocol::Cbor => cbor(status, "InternalServiceFault", message),
        Protocol::S3 => s3(status, "InternalError", message),
    }
}

/// The refusal of an access key that this local cloud did not issue, in the format of the service.
pub(super) fn unknown_key(protocol: Protocol) -> Response<Body> {
    let (status, message) = (
        StatusCode::FORBIDDEN,
        "This local cloud did not issue the access key. Use its credentials: local-cloud exec -- COMMAND, or \
         eval &quot;$(local-cloud env)&quot;",
    );
    let text = message.replace("&quot;", "\"");
    match protocol {
        Protocol::Query => query(status, "Sender", "InvalidClientTokenId", message),
        Protocol::Json | Protocol::Rest => json(status, "UnrecognizedClientException", &text),
        Protocol::Cbor => cbor(status, "UnrecognizedClientException", &text),
        Protocol::S3 => s3(status, "InvalidAccessKeyId", message),
    }
}

/// The challenge of the registry to a client without its password:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>.
pub(super) fn registry_login() -> Response<Body> {
    let message = "log in with the password of GetAuthorizationToken (aws ecr get-login-password)";
    let text = serde_json::json!({ "errors": [{ "code": "UNAUTHORIZED", "message": message }] }).to_string();
    let mut response = answer(StatusCode::UNAUTHORIZED, "application/json", text, None);
    let challenge = HeaderValue::from_static("Basic realm=\"local-cloud\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn query(status: StatusCode, kind: &str, code: &str, message: &str) -> Response<Body> {
    let request = uuid::Uuid::new_v4();
    let text = format!(
        "<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{request}</RequestId></ErrorResponse>"
    );
    answer(status, "text/xml", text, None)
}

fn s3(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let request = uuid::Uuid::new_v4().simple();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>{request}</RequestId></Error>"
    );
    answer(status, "application/xml", text, None)
}

fn json(status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let text = serde_json::json!({ "__type": code, "message": message, "Message": message }).to_string();
    answer(status, "application/x-amz-json-1.1", text, Some(code))
}

fn cbor(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let mut body = Encoder::new(Vec::new());
    // Writing to memory cannot fail.
    let _ = body.map(2).and_then(|body| body.str("__type")?.str(code)?.str("message")?.str(message));
    let mut response = answer(status, "application/cbor", body.into_writer(), None);
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

pub(super) fn answer(
    status: StatusCode,
    kind: &'static str,
    text: impl Into<Bytes>,
    error: Option<&'static str>,
) -> Response<Body> {
    let mut response = Response::new(full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(error) = error {
        response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::collections::BTreeMap;

    fn call(action: &str, resource: &str) -> Call {
        Call {
            service: "elasticloadbalancing".into(),
            action: action.into(),
            resources: vec![resource.into()],
            caller: Caller::Function,
        }
    }

    fn fault(action: Option<&str>) -> Fault {
        Fault {
            id: 0,
            effect: Effect::Throttle,
            service: Some("elasticloadbalancing".into()),
            action: action.map(str::to_owned),
            resource: None,
            caller: Some(Caller::Function),
            turns: Turns::default(),
            ms: 0,
        }
    }

    #[test]
    fn a_fault_strikes_after_those_it_lets_pass_and_so_often() {
        let faults = Faults::default();
        faults.add(Fault { turns: Turns { skip: 1, times: Some(2), met: 0 }, ..fault(Some("ModifyListener")) });
        let met: Vec<bool> = (0..5).map(|_| faults.meet(&call("ModifyListener", "a")).is_some()).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert_eq!(faults.list()[0].turns.met, 5);
        assert!(faults.meet(&call("DescribeListeners", "a")).is_none());
    }

    #[tokio::test]
    async fn an_error_in_cbor_is_a_map_of_texts_of_any_length() {
        let long = "x".repeat(300);
        let body = cbor(StatusCode::BAD_REQUEST, "ThrottlingException", &long).into_body();
        let bytes = body.collect().await.unwrap().to_bytes();
        let fields: BTreeMap<String, String> = minicbor::decode(&bytes).unwrap();
        let expected = [("__type", "ThrottlingException"), ("message", long.as_str())];
        assert_eq!(fields, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    }

    #[test]
    fn a_fault_means_only_its_resource_and_caller() {
        let faults = Faults::default();
        faults.add(Fault { resource: Some("listener/b".into()), ..fault(None) });
        assert!(faults.meet(&call("ModifyListener", "arn:listener/a")).is_none());
        assert!(faults.meet(&Call { caller: Caller::Client, ..call("ModifyListener", "arn:listener/b") }).is_none());
        assert!(faults.meet(&call("ModifyListener", "arn:listener/b")).is_some());
    }

    #[test]
    fn faults_are_cleared_by_id_or_all() {
        let faults = Faults::default();
        let (one, _two) = (faults.add(fault(None)), faults.add(fault(None)));
        assert_eq!(faults.clear(Some(one.id)), 1);
        assert_eq!(faults.clear(None), 1);
        assert!(faults.list().is_empty());
    }
}
