//! Fuzz targets: the events that anybody who may invoke the function can send.

use crate::hook::HookEvent;
use crate::request::Request;
use fuzz_input::Input;
use serde_json::Value;

const EVENTS: [&[u8]; 8] = [
    br#"{"to":"blue"}"#,
    br#"{"op":"cutover","to":"green","expect":"blue","id":"release-17","on_fail":"hold"}"#,
    br#"{"op":"rollback","force":true}"#,
    br#"{"op":"status"}"#,
    br#"{"to":"blue","shift":[{"weight":10,"hold_ms":30000},{"weight":50,"hold_ms":30000}],"settle_ms":1000}"#,
    br#"{"to":"blue","probe":{"path":"/ready","count":150,"interval_ms":100,"timeout_ms":2000,"ok":["200-299",304],"max_failures":3}}"#,
    br#"{"to":"blue","probe":{"version":{"header":"x-app-version","value":"2"},"max_p99_ms":500,"max_slowdown":150},"gate":{"count":5}}"#,
    br#"{"executionDetails":{"x":1},"executionId":"1","lifecycleStage":"POST_TEST_TRAFFIC_SHIFT","hookDetails":{"probe":{"count":5}}}"#,
];

#[test]
fn an_event_is_a_valid_request_or_an_error_that_names_a_field() {
    bolero::check!().with_type::<Input>().for_each(|input| {
        let Ok(event) = serde_json::from_slice::<Value>(&input.of(&EVENTS)) else { return };
        if let Some(Err(problem)) = HookEvent::recognise(&event) {
            assert!(!problem.is_empty() && problem.len() < 1000, "{problem}");
        }
        match Request::parse(&event) {
            // What was understood can be written, and is understood alike again.
            Ok(request) => {
                let written = serde_json::to_value(&request).unwrap();
                assert_eq!(Request::parse(&written).as_ref(), Ok(&request), "{written}");
            }
            Err(error) => assert!(!error.field.is_empty() && error.to_string().len() < 1000, "{error}"),
        }
    });
}

#[test]
fn every_example_is_an_event() {
    for event in EVENTS {
        let event: Value = serde_json::from_slice(event).unwrap();
        let known = HookEvent::recognise(&event).map_or_else(|| Request::parse(&event).is_ok(), |hook| hook.is_ok());
        assert!(known, "{event}");
    }
}
