//! Cutovers under load from outside, on the local cloud: what users see when all is well, and when it is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use serde_json::json;
use support::function::Function;
use support::outside::{Outside, be_the_client};
use support::{Cloud, project};

#[test]
#[ignore = "not a test: the client process of the others"]
fn outside_client() {
    be_the_client();
}

#[test]
fn twenty_cutovers_back_and_forth_fail_no_request_of_a_client_outside() {
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    cloud.run(&["deploy", "--version", "2"]).expect(0);
    let function = Function::of(&cloud);
    let outside = Outside::start(&cloud.address(0), "outside_client");
    for round in 0..20 {
        let event = json!({ "probe": { "count": 30, "interval_ms": 20 }, "settle_ms": 100 });
        let record = function.invoke(&event);
        let (prod, dev) = if round % 2 == 0 { ("blue", "green") } else { ("green", "blue") };
        assert_eq!(record["outcome"], "done", "{record:#}");
        assert_eq!(function.sides(), (prod.to_owned(), dev.to_owned()));
    }
    let seen = outside.leave();
    eprintln!("{} requests in {} ms, by version {:?}", seen.requests, seen.milliseconds, seen.versions);
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    // Counted as a rate: what a busy machine kept the client from asking in time, it made up for.
    assert!(seen.requests * 1000 >= 100 * seen.milliseconds, "{seen:?}");
    assert!(["1", "2"].iter().all(|version| seen.versions.get(*version).is_some_and(|count| *count > 100)), "{seen:?}");
}

#[test]
fn a_version_that_fails_once_it_has_users_is_seen_only_until_it_is_rolled_back() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    cloud.run_in(&faulty, &["deploy", "--version", "4"]).expect(0);
    let function = Function::of(&cloud);
    let before = function.sides();
    let outside = Outside::start(&cloud.address(0), "outside_client");
    let record = function.invoke(&json!({ "probe": { "count": 100, "interval_ms": 50 } }));
    let seen = outside.leave();
    assert_eq!(record["outcome"], "rolled_back", "{record:#}");
    assert_eq!(function.sides(), before);

    let prod = &function.outputs["ProdListenerArn"];
    let calls = function.calls(0);
    let on_prod = |call: &&serde_json::Value| {
        call["action"] == "ModifyListener" && call["resources"].as_array().unwrap().iter().any(|arn| arn == prod)
    };
    let writes: Vec<_> = calls.iter().filter(on_prod).collect();
    assert_eq!(writes.len(), 2, "there and back: {writes:#?}");
    let at =
        |call: &serde_json::Value| call["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let there = u64::try_from(at(writes[0])).unwrap();
    let back = u64::try_from(at(writes[1])).unwrap() + (writes[1]["took_ms"].as_u64().unwrap() + 1) * 1000;
    eprintln!("{} of {} requests failed within {} ms", seen.failures.len(), seen.requests, (back - there) / 1000);
    assert!(!seen.failures.is_empty(), "the version was to fail: {seen:?}");
    let elsewhere: Vec<_> = seen.failures.iter().filter(|(at, _)| !(there..=back).contains(at)).collect();
    assert!(elsewhere.is_empty(), "swapped at {there}, back at {back}: {elsewhere:?}");
}
