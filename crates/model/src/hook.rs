//! The function as a lifecycle hook of Amazon ECS's built-in blue/green deployments: it probes the service revision
//! that receives traffic and decides whether the deployment may continue. It reads no ledger and writes no listener,
//! because ECS controls the traffic. Must not know how probes are sent.
//!
//! ECS calls the function with an event like this one and expects a `hookStatus` in the answer
//! (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html>):
//!
//! ```json
//! {
//!   "executionId": "a635edb5-…",
//!   "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
//!   "resourceArn": "arn:aws:ecs:eu-central-1:123456789012:service-deployment/shop/web/TFX5sH9q9XDboDTOv0rIt",
//!   "executionDetails": {
//!     "serviceArn": "arn:aws:ecs:eu-central-1:123456789012:service/shop/web",
//!     "targetServiceRevisionArn": "arn:aws:ecs:…", "testTrafficWeights": {}, "productionTrafficWeights": {}
//!   },
//!   "hookDetails": {"probe": {"count": 50, "path": "/healthz"}}
//! }
//! ```
//!
//! `hookDetails` comes from the definition of the service and may contain `probe` with the same fields as in a request;
//! the default is 50 probes. Use the hook for the stages `POST_TEST_TRAFFIC_SHIFT` and `PRE_PRODUCTION_TRAFFIC_SHIFT`,
//! in which it probes the test listener (the dev URL of this function), and for `PRODUCTION_TRAFFIC_SHIFT` and
//! `POST_PRODUCTION_TRAFFIC_SHIFT`, in which it probes prod. At any other stage there is nothing to probe, and the
//! answer is `FAILED`: a check that checks nothing must not pass. A failed series of probes is repeated twice, 10 s
//! apart, because routes may lag.

use crate::request::{ProbeOptions, RequestError, parse_hook_probe};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Number of probes if the hook does not set it.
pub const COUNT: u32 = 50;
/// Series of probes before the deployment is failed.
pub const ATTEMPTS: u64 = 3;
/// Seconds until ECS calls again.
pub const CALL_BACK_DELAY: u32 = 10;
/// The field of `hookDetails` with the number of failed series so far.
const ATTEMPT: &str = "attempt";
/// Fields that only the event of a hook has. An event with any of them is never treated as a request.
const MARKS: [&str; 3] = ["lifecycleStage", "executionDetails", "hookDetails"];

/// What a hook probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The test listener.
    Test,
    /// The production listener.
    Production,
}

/// The event of a hook, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct HookEvent {
    /// The deployment, for the log.
    pub deployment: String,
    /// The stage.
    pub stage: String,
    /// What to probe.
    pub target: Target,
    /// How to probe it.
    pub probe: ProbeOptions,
    details: Map<String, Value>,
}

/// The answer to a hook's event, as ECS reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookAnswer {
    /// What to do with the deployment.
    pub hook_status: HookStatus,
    /// Seconds until the hook is called again, if it is in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_back_delay: Option<u32>,
    /// The input of the next call, if it is in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_details: Option<Map<String, Value>>,
}

/// What ECS does with the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HookStatus {
    /// Go on.
    Succeeded,
    /// Roll back.
    Failed,
    /// Call again.
    InProgress,
}

impl HookAnswer {
    /// An answer that ends the hook.
    pub const fn ended(hook_status: HookStatus) -> Self {
        Self { hook_status, call_back_delay: None, hook_details: None }
    }
}

impl HookEvent {
    /// Parses an event of ECS; `None` if it is not one. An error message if it is one that cannot be handled: then the
    /// deployment fails.
    pub fn recognise(event: &Value) -> Option<Result<Self, String>> {
        let object = event.as_object()?;
        MARKS.iter().any(|mark| object.contains_key(*mark)).then(|| Self::read(object))
    }

    fn read(event: &Map<String, Value>) -> Result<Self, String> {
        if let Some(field) = ["op", "to"].into_iter().find(|field| event.contains_key(*field)) {
            return Err(format!(
                "an event of Amazon ECS has no field {field}, and a request has no field {}",
                MARKS.join(", ")
            ));
        }
        let text = |field: &str| event.get(field).and_then(Value::as_str).map(str::to_owned);
        let stage = text("lifecycleStage").ok_or("the event has no lifecycleStage")?;
        if !event.get("executionDetails").is_some_and(Value::is_object) {
            return Err("the event has no executionDetails".to_owned());
        }
        let target = match stage.as_str() {
            "POST_TEST_TRAFFIC_SHIFT" | "PRE_PRODUCTION_TRAFFIC_SHIFT" => Target::Test,
            "PRODUCTION_TRAFFIC_SHIFT" | "POST_PRODUCTION_TRAFFIC_SHIFT" => Target::Production,
            other => {
                let stage: String = other.chars().take(60).collect();
                return Err(format!("there is nothing to probe at stage {stage:?}; use POST_TEST_TRAFFIC_SHIFT"));
            }
        };
        let details = details(event.get("hookDetails"))?;
        let probe = details.get("probe").filter(|probe| !probe.is_null());
        let problem = |error: RequestError| format!("hookDetails.{error}");
        let probe = probe.map(parse_hook_probe).transpose().map_err(problem)?;
        Ok(Self {
            deployment: text("resourceArn").unwrap_or_default(),
            stage,
            target,
            probe: probe.unwrap_or_else(|| ProbeOptions { count: COUNT, baseline: 0, ..ProbeOptions::default() }),
            details,
        })
    }

    /// The answer when probes failed: repeat them, or fail the deployment.
    pub fn after_failure(&self) -> HookAnswer {
        let attempt = self.details.get(ATTEMPT).and_then(Value::as_u64).unwrap_or(0) + 1;
        if attempt >= ATTEMPTS {
            return HookAnswer::ended(HookStatus::Failed);
        }
        let mut details = self.details.clone();
        details.insert(ATTEMPT.to_owned(), attempt.into());
        HookAnswer {
            hook_status: HookStatus::InProgress,
            call_back_delay: Some(CALL_BACK_DELAY),
            hook_details: Some(details),
        }
    }
}

/// The details; unknown fields are refused. ECS passes them as an object, or as the text from the CloudFormation
/// template.
fn details(value: Option<&Value>) -> Result<Map<String, Value>, String> {
    let parsed = match value {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| format!("hookDetails: {error}"))?,
        Some(other) => other.clone(),
    };
    let Value::Object(details) = parsed else {
        return Err("hookDetails: it must be an object".to_owned());
    };
    match details.keys().find(|key| !["probe", ATTEMPT].contains(&key.as_str())) {
        Some(unknown) => {
            let unknown: String = unknown.chars().take(60).collect();
            Err(format!("hookDetails.{unknown}: unknown field; known field: probe"))
        }
        None => Ok(details),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(stage: &str, details: &Value) -> Value {
        json!({
            "executionId": "a635edb5", "lifecycleStage": stage, "resourceArn": "arn:aws:ecs:x:1:service-deployment/a/b/c",
            "executionDetails": {"serviceArn": "arn", "testTrafficWeights": {}, "productionTrafficWeights": {}},
            "hookDetails": details,
        })
    }

    fn read(stage: &str, details: &Value) -> Result<HookEvent, String> {
        HookEvent::recognise(&event(stage, details)).unwrap()
    }

    #[test]
    fn stages_say_what_is_probed() {
        for (stage, target) in [
            ("POST_TEST_TRAFFIC_SHIFT", Target::Test),
            ("PRE_PRODUCTION_TRAFFIC_SHIFT", Target::Test),
            ("PRODUCTION_TRAFFIC_SHIFT", Target::Production),
            ("POST_PRODUCTION_TRAFFIC_SHIFT", Target::Production),
        ] {
            assert_eq!(read(stage, &json!(null)).unwrap().target, target);
        }
        for stage in ["RECONCILE_SERVICE", "PRE_SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "new"] {
            assert!(read(stage, &json!(null)).unwrap_err().contains("nothing to probe"));
        }
    }

    #[test]
    fn details_are_an_events_own_probe_fields() {
        let stage = "POST_TEST_TRAFFIC_SHIFT";
        assert_eq!(read(stage, &json!(null)).unwrap().probe.count, 50);
        let given = json!({"probe": {"count": 7, "path": "/x"}});
        for details in [given.clone(), json!(given.to_string())] {
            let probe = read(stage, &details).unwrap().probe;
            assert_eq!((probe.count, probe.path.as_deref()), (7, Some("/x")));
        }
        for (details, problem) in [
            (json!({"probe": {"count": 0}}), "hookDetails.probe.count: 0 is out of range"),
            (json!({"probe": {"x": 0}}), "hookDetails.probe.x: unknown field"),
            (json!({"bucket": "b"}), "hookDetails.bucket: unknown field"),
            (json!([1]), "hookDetails: it must be an object"),
            (json!("{"), "hookDetails: "),
        ] {
            let error = read(stage, &details).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn a_request_and_a_hooks_event_are_never_confused() {
        for request in [json!({}), json!({"op": "cutover", "to": "blue"}), json!({"id": "x"}), json!(null), json!([])] {
            assert_eq!(HookEvent::recognise(&request), None);
        }
        for mark in MARKS {
            let request = json!({mark: {}});
            assert!(crate::Request::parse(&request).is_err(), "no request has {mark}");
            assert!(HookEvent::recognise(&request).unwrap().is_err());
        }
        let mut both = event("POST_TEST_TRAFFIC_SHIFT", &json!(null));
        both["op"] = json!("cutover");
        assert!(HookEvent::recognise(&both).unwrap().unwrap_err().contains("no field op"));
    }

    #[test]
    fn failed_probes_are_tried_again_and_then_fail() {
        let mut details = json!({"probe": {"count": 5}});
        let mut answers = Vec::new();
        for _ in 0..3 {
            let answer = read("POST_TEST_TRAFFIC_SHIFT", &details).unwrap().after_failure();
            details = json!(answer.hook_details);
            answers.push(serde_json::to_value(answer).unwrap());
        }
        let again = |attempt: u64| {
            json!({"hookStatus": "IN_PROGRESS", "callBackDelay": 10,
                "hookDetails": {"probe": {"count": 5}, "attempt": attempt}})
        };
        assert_eq!(answers, [again(1), again(2), json!({"hookStatus": "FAILED"})]);
    }
}
