//! Requests are parsed from hostile JSON: every bad field is refused with its name.

use super::*;
use serde_json::json;

fn refusal(event: &Value) -> RequestError {
    match Request::parse(event) {
        Ok(request) => panic!("{event} was accepted as {request:?}"),
        Err(error) => error,
    }
}

#[test]
fn the_short_events_work() {
    assert_eq!(Request::parse(&json!({"op": "cutover"})).unwrap(), Request::default());
    assert_eq!(Request::parse(&json!({"to": "blue"})).unwrap().to, Some(Color::Blue));
    assert_eq!(Request::parse(&json!({"op": "status"})).unwrap().op, Op::Status);
    assert_eq!(Request::parse(&json!({"op": "cutover", "to": null})).unwrap(), Request::default());
    let shift = Request::parse(&json!({"op": "cutover", "shift": [{"weight": 10}]})).unwrap().shift;
    assert_eq!(shift, [ShiftStep { weight: 10, hold: ShiftStep::HOLD }]);
    let short = Request::parse(&json!({"to": "blue", "probe": {"count": 5}})).unwrap();
    assert_eq!((short.probe.count, short.probe.baseline), (5, 2));
}

#[test]
fn an_event_that_does_not_say_what_to_do_is_refused() {
    for event in [json!({}), json!({"to": null}), json!({"id": "a"}), json!({"probe": {"count": 5}})] {
        assert_eq!(refusal(&event).field, "op", "{event}");
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let event = serde_json::to_value(Request::default()).unwrap();
    assert_eq!(
        event,
        json!({
            "op": "cutover",
            "probe": {
                "count": 150, "interval_ms": 100, "timeout_ms": 2000, "max_failures": 0,
                "baseline": 10, "version": {}, "max_in_flight": 128,
            },
            "gate": {"count": 5},
            "settle_ms": 1000,
            "on_fail": "rollback",
        })
    );
}

#[test]
fn a_full_event_is_read_and_written_back() {
    let event = json!({
        "op": "plan", "to": "green", "id": "abc-1_2", "expect": "blue", "by": "ada@shell, für die Schicht",
        "not_after": "2026-01-31T12:00:00Z",
        "probe": {
            "path": "/x?y=1", "count": 3000, "interval_ms": 20, "timeout_ms": 10000, "ok": [200, "300-302"],
            "max_failures": 3, "baseline": 0, "version": {"header": "x-v", "value": "2"}, "max_in_flight": 1,
        },
        "gate": {"count": 0},
        "settle_ms": 0,
        "on_fail": "hold",
        "shift": [{"weight": 1, "hold_ms": 0}, {"weight": 99, "hold_ms": 60000}],
    });
    let request = Request::parse(&event).unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), event);
    let ok = request.probe.ok.as_ref().unwrap();
    assert!(ok.contains(301) && !ok.contains(201));
    let again: Request = serde_json::from_value(event).unwrap();
    assert_eq!(again, request);
}

#[test]
fn every_bad_field_is_refused_by_name() {
    for (field, event) in [
        ("event", json!([])),
        ("event", json!("cutover")),
        ("event", json!(null)),
        ("op", json!({"op": "Cutover"})),
        ("op", json!({"op": 1})),
        ("to", json!({"to": "red"})),
        ("to", json!({"to": ["blue"]})),
        ("id", json!({"id": ""})),
        ("id", json!({"id": "../x"})),
        ("id", json!({"id": "x".repeat(65)})),
        ("id", json!({"id": 7})),
        ("expect", json!({"expect": "BLUE"})),
        ("not_after", json!({"not_after": "tomorrow"})),
        ("not_after", json!({"not_after": 1})),
        ("probe", json!({"probe": 150})),
        ("probe.path", json!({"probe": {"path": "x"}})),
        ("probe.path", json!({"probe": {"path": "//evil.example/"}})),
        ("probe.path", json!({"probe": {"path": "/a b"}})),
        ("probe.path", json!({"probe": {"path": "/\r\nx: y"}})),
        ("probe.path", json!({"probe": {"path": format!("/{}", "a".repeat(1024))}})),
        ("probe.count", json!({"probe": {"count": 0}})),
        ("probe.count", json!({"probe": {"count": 3001}})),
        ("probe.count", json!({"probe": {"count": -1}})),
        ("probe.count", json!({"probe": {"count": 1.5}})),
        ("probe.count", json!({"probe": {"count": "150"}})),
        ("probe.count", json!({"probe": {"count": 99_999_999_999_u64}})),
        ("probe.interval_ms", json!({"probe": {"interval_ms": 19}})),
        ("probe.interval_ms", json!({"probe": {"interval_ms": 5001}})),
        ("probe.timeout_ms", json!({"probe": {"timeout_ms": 99}})),
        ("probe.timeout_ms", json!({"probe": {"timeout_ms": 10001}})),
        ("probe.ok", json!({"probe": {"ok": 200}})),
        ("probe.ok", json!({"probe": {"ok": []}})),
        ("probe.ok", json!({"probe": {"ok": [99]}})),
        ("probe.ok", json!({"probe": {"ok": ["299-200"]}})),
        ("probe.max_failures", json!({"probe": {"max_failures": 3001}})),
        ("probe.baseline", json!({"probe": {"baseline": 150}})),
        ("probe.baseline", json!({"probe": {"count": 1, "baseline": 1}})),
        ("probe.version", json!({"probe": {"version": "2"}})),
        ("probe.version.header", json!({"probe": {"version": {"header": "a b"}}})),
        ("probe.version.value", json!({"probe": {"version": {"value": 2}}})),
        ("probe.version.x", json!({"probe": {"version": {"x": 2}}})),
        ("probe.max_in_flight", json!({"probe": {"max_in_flight": 0}})),
        ("probe.nope", json!({"probe": {"nope": 1}})),
        ("gate.count", json!({"gate": {"count": 101}})),
        ("gate.x", json!({"gate": {"x": 1}})),
        ("settle_ms", json!({"settle_ms": 60_001})),
        ("settle_ms", json!({"settle_ms": true})),
        ("on_fail", json!({"on_fail": "explode"})),
        ("by", json!({"by": "x".repeat(257)})),
        ("by", json!({"by": "a\nb"})),
        ("by", json!({"by": ["me"]})),
        ("shift", json!({"shift": {"weight": 10}})),
        ("shift", json!({"shift": []})),
        ("shift", json!({"shift": (1..=11).map(|weight| json!({"weight": weight})).collect::<Vec<_>>()})),
        ("shift[0]", json!({"shift": [10]})),
        ("shift[0].weight", json!({"shift": [{}]})),
        ("shift[0].weight", json!({"shift": [{"weight": 0}]})),
        ("shift[1].weight", json!({"shift": [{"weight": 10}, {"weight": 100}]})),
        ("shift[1].weight", json!({"shift": [{"weight": 10}, {"weight": 10}]})),
        ("shift[2].weight", json!({"shift": [{"weight": 10}, {"weight": 50}, {"weight": 20}]})),
        ("shift[0].hold_ms", json!({"shift": [{"weight": 10, "hold_ms": -1}]})),
        ("shift[0].hold_ms", json!({"shift": [{"weight": 10, "hold_ms": 840_001}]})),
        ("shift[0].hold", json!({"shift": [{"weight": 10, "hold": 1}]})),
        ("shift", json!({"shift": [{"weight": 10, "hold_ms": 200_000}], "probe": {"interval_ms": 20}})),
        ("settle_limit_ms", json!({"settle_limit_ms": 999})),
        ("probe.max_p99_ms", json!({"probe": {"max_p99_ms": 0}})),
        ("probe.max_slowdown", json!({"probe": {"max_slowdown": 99}})),
        ("force", json!({"force": "yes"})),
        ("unknown", json!({"unknown": 1})),
    ] {
        let error = refusal(&event);
        assert_eq!(error.field, field, "{event}: {error}");
    }
}

#[test]
fn a_refusal_says_the_limits() {
    assert_eq!(refusal(&json!({"probe": {"count": 0}})).to_string(), "probe.count: 0 is out of range, 1 to 3000");
    assert_eq!(refusal(&json!({"gate": {"cuont": 1}})).to_string(), "gate.cuont: unknown field; known fields: count");
}

#[test]
fn a_request_made_in_rust_has_the_same_limits() {
    for settle in [Duration::from_secs(61), Duration::from_nanos(60_000_000_001)] {
        let request = Request { settle, ..Request::default() };
        assert_eq!(request.check().unwrap_err().field, "settle_ms");
    }
}

#[test]
fn made_ids_sort_by_time() {
    let first = Request::default().id_or_new();
    std::thread::sleep(Duration::from_millis(2));
    let second = new_id();
    assert!(first < second);
    assert!(check_id(Some(&first)).is_ok());
}

#[test]
fn status_codes_are_read_from_a_text() {
    let codes: StatusSet = "200-299, 304".parse().unwrap();
    assert_eq!(codes, StatusSet::new([200..=299, 304..=304]));
    for invalid in ["", "99", "600", "299-200", "200-", "200;201", "2xx"] {
        assert!(invalid.parse::<StatusSet>().is_err(), "{invalid}");
    }
}
