//! How the function handles events, on the local cloud: two at once, the same event twice, and invalid events. The
//! journal of its calls shows the writes.

use crate::support::function::Function;
use crate::support::{Cloud, project};
use serde_json::{Value, json};

fn is_write(call: &Value) -> bool {
    let action = call["action"].as_str().unwrap();
    !["Describe", "Get", "List"].iter().any(|read| action.starts_with(read))
}

/// The writes of the function, without the records of refused runs.
fn writes_after(function: &Function<'_>, number: u64) -> Vec<Value> {
    let record = |call: &Value| {
        call["resources"].as_array().unwrap().iter().all(|arn| arn.as_str().unwrap().contains("/cutover/runs/"))
    };
    function.calls(number).into_iter().filter(|call| is_write(call) && !record(call)).collect()
}

#[test]
fn events_are_carried_out_once_one_at_a_time_or_refused() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
    let function = Function::of(&cloud);
    two_at_once_are_one_and_a_refusal(&function);
    the_same_id_twice_is_one_run(&function);
    a_wrong_field_is_refused_by_its_name_and_nothing_is_written(&function);
}

fn two_at_once_are_one_and_a_refusal(function: &Function<'_>) {
    let event = |id: &str| json!({ "id": id, "probe": { "count": 60, "interval_ms": 50 } });
    function.begin(&event("first"));
    function.wait_for_phase("first", "baseline");
    let second = function.invoke(&event("second"));
    assert_eq!(second["outcome"], "refused", "{second:#}");
    assert!(second["message"].as_str().unwrap().contains("first"), "it names who holds the lease: {second:#}");
    let first = function.wait_for_end("first");
    assert_eq!(first["outcome"], "done", "{first:#}");
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
}

fn the_same_id_twice_is_one_run(function: &Function<'_>) {
    let stored = function.record("first").unwrap();
    let last = function.last_call();
    let again = function.invoke(&json!({ "id": "first" }));
    assert_eq!(again["outcome"], stored["outcome"]);
    assert_eq!((&again["finished"], &again["writer"]), (&stored["finished"], &stored["writer"]));
    let written: Vec<Value> = function.calls(last).into_iter().filter(is_write).collect();
    assert!(written.is_empty(), "{written:#?}");
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
}

fn a_wrong_field_is_refused_by_its_name_and_nothing_is_written(function: &Function<'_>) {
    let wrong = [
        ("op", json!({ "op": "swap" })),
        ("to", json!({ "to": "red" })),
        ("id", json!({ "id": "../lock" })),
        ("expect", json!({ "expect": 1 })),
        ("not_after", json!({ "not_after": "tomorrow" })),
        ("colour", json!({ "colour": "blue" })),
        ("settle_ms", json!({ "settle_ms": 60_001 })),
        ("on_fail", json!({ "on_fail": "panic" })),
        ("gate.count", json!({ "gate": { "count": 101 } })),
        ("gate.size", json!({ "gate": { "size": 1 } })),
        ("probe", json!({ "probe": [] })),
        ("probe.count", json!({ "probe": { "count": 0 } })),
        ("probe.count", json!({ "probe": { "count": "150" } })),
        ("probe.interval_ms", json!({ "probe": { "interval_ms": 19 } })),
        ("probe.timeout_ms", json!({ "probe": { "timeout_ms": 10_001 } })),
        ("probe.max_failures", json!({ "probe": { "max_failures": -1 } })),
        ("probe.baseline", json!({ "probe": { "count": 10, "baseline": 10 } })),
        ("probe.max_in_flight", json!({ "probe": { "max_in_flight": 0 } })),
        ("probe.path", json!({ "probe": { "path": "http://elsewhere/" } })),
        ("probe.ok", json!({ "probe": { "ok": ["2xx"] } })),
        ("probe.version.header", json!({ "probe": { "version": { "header": "a b" } } })),
    ];
    let (last, before) = (function.last_call(), function.sides());
    for (field, event) in &wrong {
        let answer = function.invoke(event);
        assert_eq!(answer["outcome"], "refused", "{event}: {answer:#}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("Refused: {field}")), "{event}: {message}");
        let recorded = function.record(answer["id"].as_str().unwrap()).unwrap();
        assert_eq!(recorded["message"], answer["message"], "the record says so");
    }
    let written = writes_after(function, last);
    assert!(written.is_empty(), "{written:#?}");
    assert_eq!(function.sides(), before);
}
