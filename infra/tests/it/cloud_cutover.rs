//! Cutovers under external load, on the local cloud: what users see if the cutover succeeds, and if it fails.

use crate::support::function::Function;
use crate::support::outside::Outside;
use crate::support::{Client, Cloud, project};
use serde_json::{Value, json};

/// Version 1 on prod, version 2 of the sample on dev.
fn with_two_versions() -> Cloud {
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    cloud.run(&["deploy", "--version", "2"]).expect(0);
    cloud
}

/// The good version on prod, and on dev a version that fails when it has users.
fn with_a_version_that_fails_later() -> Cloud {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    cloud.run_in(&faulty, &["deploy", "--version", "4"]).expect(0);
    cloud
}

/// The calls of the function that changed the target of the prod rule, in order.
fn writes_of_prod(function: &Function<'_>) -> Vec<Value> {
    let prod = function.rule_of("ProdListenerArn");
    let is_one = |call: &Value| {
        let mut resources = call["resources"].as_array().unwrap().iter();
        call["action"] == "ModifyRule" && resources.any(|arn| arn.as_str().unwrap().contains(&prod))
    };
    function.calls(0).into_iter().filter(is_one).collect()
}

#[test]
fn thirty_cutovers_back_and_forth_fail_no_request_of_a_client_outside() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let outside = Outside::mixed(&cloud.address(0));
    for round in 0..30 {
        let event = json!({ "probe": { "count": 30, "interval_ms": 20 }, "settle_ms": 100 });
        let record = function.invoke(&event);
        let (prod, dev) = if round % 2 == 0 { ("blue", "green") } else { ("green", "blue") };
        assert_eq!(record["outcome"], "done", "{record:#}");
        assert_eq!(function.sides(), (prod.to_owned(), dev.to_owned()));
    }
    let seen = outside.leave();
    eprintln!("{} requests in {} ms, by version {:?}", seen.requests, seen.milliseconds, seen.versions);
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    // Counted as a rate: after a delay on a busy machine, the client catches up.
    assert!(seen.requests * 1000 >= 100 * seen.milliseconds, "{seen:?}");
    assert!(["1", "2"].iter().all(|version| seen.versions.get(*version).is_some_and(|count| *count > 100)), "{seen:?}");
}

#[test]
fn a_version_that_fails_once_it_has_users_is_seen_only_until_it_is_rolled_back() {
    let cloud = with_a_version_that_fails_later();
    let function = Function::of(&cloud);
    let before = function.sides();
    // So that users have followed the last write.
    cloud.local(&["fault", "lag", "0"]).expect(0);
    let outside = Outside::start(&cloud.address(0));
    let record = function.invoke(&json!({ "probe": { "count": 100, "interval_ms": 50 } }));
    let seen = outside.leave();
    assert_eq!(record["outcome"], "rolled_back", "{record:#}");
    assert_eq!(function.sides(), before);

    let writes = writes_of_prod(&function);
    assert_eq!(writes.len(), 2, "there and back: {writes:#?}");
    let at = |call: &Value| call["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let there = u64::try_from(at(&writes[0])).unwrap();
    let back = u64::try_from(at(&writes[1])).unwrap() + (writes[1]["took_ms"].as_u64().unwrap() + 1) * 1000;
    eprintln!("{} of {} requests failed within {} ms", seen.failures.len(), seen.requests, (back - there) / 1000);
    assert!(!seen.failures.is_empty(), "the version was to fail: {seen:?}");
    let elsewhere: Vec<_> = seen.failures.iter().filter(|(at, _)| !(there..=back).contains(at)).collect();
    assert!(elsewhere.is_empty(), "swapped at {there}, back at {back}: {elsewhere:?}");
}

/// The requests of each environment in the last minutes, blue first, as `status` reports them.
fn requests(cloud: &Cloud) -> [u64; 2] {
    let status = cloud.run(&["--json", "status"]).expect(0).json();
    assert_eq!(status["requests_unknown"], Value::Null);
    [0, 1].map(|color| {
        let minutes = status["environments"][color]["requests"]["minutes"].as_array().unwrap().clone();
        assert_eq!(minutes.len(), 16);
        minutes.iter().filter_map(|minute| minute["requests"].as_u64()).sum()
    })
}

#[test]
fn requests_are_the_environments_that_answered_them() {
    let cloud = with_two_versions();
    let mut user = Client::new(cloud.address(0));
    let mut ask = |times| (0..times).for_each(|_| assert_eq!(user.get("/").unwrap().status, 200));
    ask(100);
    let before = crate::support::function::eventually("the requests of prod", || {
        let both = requests(&cloud);
        (both[1] >= 100).then_some(both)
    });
    // A deployment requests the version of each environment; the many health checks do not count as requests.
    assert!(before[0] < 10 && before[1] < 110, "{before:?}");

    let record = cloud.run(&["--json", "cutover"]).expect(0).json();
    let due = record["probes"]["counts"]["due"].as_u64().unwrap();
    // More than the requests of the cutover itself, on both sides.
    ask(3 * due);
    let [blue, green] = crate::support::function::eventually("the requests of the new prod", || {
        let both = requests(&cloud);
        (both[0] >= 3 * due).then_some(both)
    });
    assert!(
        blue < 6 * due && (before[1] + 1..before[1] + 2 * due).contains(&green),
        "of {due} probes: {blue}, {green}"
    );

    // The rest of the status does not depend on the metrics.
    let forbid = ["fault", "add", "error", "--service", "cloudwatch", "--action", "GetMetricData"];
    cloud.local(&forbid).expect(0);
    let said = cloud.run(&["status"]).expect(0).out;
    let why = "requests unknown: cannot read the metrics of the load balancer: InternalServiceFault: ";
    assert!(said.contains(why) && said.contains("blue         prod        2 "), "{said}");
    cloud.local(&["fault", "clear"]).expect(0);
    cloud.local(&["fault", "add", "hold", "--service", "cloudwatch"]).expect(0);
    let status = cloud.run(&["--json", "status"]).expect(0).json();
    assert_eq!(status["requests_unknown"], "CloudWatch did not respond within 3 s");
    assert_eq!(
        (&status["environments"][0]["role"], &status["environments"][0]["requests"]),
        (&json!("prod"), &Value::Null)
    );
}

#[test]
fn a_progressive_shift_gives_each_version_its_share_and_fails_nobody() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let outside = Outside::start(&cloud.address(0));
    let shift = json!([{ "weight": 20, "hold_ms": 10_000 }, { "weight": 50, "hold_ms": 1000 }]);
    let probe = json!({ "count": 60, "interval_ms": 20 });
    function.begin(&json!({ "id": "shift", "shift": shift, "probe": probe }));
    function.wait_for_phase("shift", "shift");
    let mut user = Client::new(cloud.address(0));
    crate::support::function::eventually("the load balancer follows", || {
        (user.get("/").unwrap().version.as_deref() == Some("2")).then_some(())
    });
    let answers: Vec<_> = (0..400).map(|_| user.get("/").unwrap().version).collect();
    let new = answers.iter().filter(|version| version.as_deref() == Some("2")).count();
    eprintln!("{new} of 400 answers during the first step were the new version's");
    // 80 are expected; 40 to 120 is five standard deviations to each side.
    assert!((40..=120).contains(&new), "{new} of 400");
    let record = function.wait_for_end("shift");
    let seen = outside.leave();
    assert_eq!(record["outcome"], "done", "{record:#}");
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    assert_eq!(writes_of_prod(&function).len(), 3, "one for each step, and the whole swap");
}

#[test]
fn a_version_that_fails_during_the_shift_is_rolled_back_whole() {
    let cloud = with_a_version_that_fails_later();
    let function = Function::of(&cloud);
    let before = function.sides();
    let outside = Outside::start(&cloud.address(0));
    let shift = json!([{ "weight": 10, "hold_ms": 20_000 }]);
    let record = function.invoke(&json!({ "shift": shift, "probe": { "count": 100, "interval_ms": 20 } }));
    assert_eq!(record["outcome"], "rolled_back", "{record:#}");
    assert_eq!(function.sides(), before);
    let seen = outside.leave();
    let failed = u64::try_from(seen.failures.len()).unwrap();
    assert!(failed * 2 < seen.requests, "most users never met it: {seen:?}");
    let after = Outside::start(&cloud.address(0));
    crate::support::function::eventually("an answer of the old version", || {
        (crate::support::get(&cloud.address(0), "/").version.as_deref() == Some("1")).then_some(())
    });
    let seen = after.leave();
    assert!(seen.failures.is_empty(), "the new version has no share any more: {seen:?}");
}
