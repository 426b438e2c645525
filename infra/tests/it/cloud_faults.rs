//! Cutovers on the local cloud while the API of the load balancer throttles, fails, hangs, or is late: each run
//! converges or is refused.

use crate::support::function::Function;
use crate::support::{Cloud, project};
use serde_json::{Value, json};

const API: &str = "elasticloadbalancing";

/// Checks the invariants: the listeners differ, they are swapped exactly if the run reports it, and the lease is free.
#[track_caller]
fn is_in_order(function: &Function<'_>, before: &(String, String), record: &Value) {
    let after = function.sides();
    let swapped = (before.1.clone(), before.0.clone());
    match record["outcome"].as_str().unwrap() {
        "done" => assert_eq!(after, swapped, "{record:#}"),
        "refused" | "rolled_back" => assert_eq!(&after, before, "{record:#}"),
        other => panic!("{other}: {record:#}"),
    }
    assert_eq!(function.lease().unwrap()["released"], true, "{record:#}");
}

/// Runs a cutover under a fault. Returns its record.
#[track_caller]
fn under(function: &Function<'_>, rule: &[&str]) -> Value {
    let before = function.sides();
    function.fault(rule);
    let record = function.invoke(&json!({ "probe": { "count": 30, "interval_ms": 50 }, "settle_ms": 200 }));
    function.clear_faults();
    eprintln!("{rule:?}: {} {}", record["outcome"], record["message"]);
    is_in_order(function, &before, &record);
    record
}

#[test]
fn a_cutover_converges_or_refuses_whatever_the_load_balancers_api_does() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
    let function = Function::of(&cloud);
    let (prod, dev) = (function.rule_of("ProdListenerArn"), function.rule_of("DevListenerArn"));
    let write = ["--action", "ModifyRule", "--resource"];
    let on = |effect: &[&str], listener: &str| {
        let rule = [effect, &write[..], &[listener]].concat();
        under(&function, &rule)["outcome"].as_str().unwrap().to_owned()
    };

    // A throttled client must retry.
    assert_eq!(under(&function, &["throttle", "--service", API, "--times", "2"])["outcome"], "done");
    assert_eq!(under(&function, &["throttle", "--service", API])["outcome"], "refused");
    assert_eq!(under(&function, &["error", "--service", API, "--times", "2"])["outcome"], "done");
    // The response never arrives or is lost after the write: the result is unknown, so the function reads and retries.
    assert_eq!(on(&["hold", "--times", "1"], &prod), "done");
    assert_eq!(on(&["drop-answer", "--times", "1"], &prod), "done");
    assert_eq!(on(&["drop-answer"], &dev), "done");
    // A write that takes effect after its response was lost must not undo later writes.
    assert_eq!(on(&["late", "--ms", "1500", "--times", "1"], &prod), "done");
    assert_eq!(on(&["late", "--ms", "1500", "--times", "1"], &dev), "done");
    // A write that is never accepted.
    assert_ne!(on(&["error"], &prod), "done");
    assert_ne!(on(&["throttle"], &dev), "done");
}
