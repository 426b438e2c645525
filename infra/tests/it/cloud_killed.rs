//! The process of the function is killed in every phase of a cutover, on the local cloud: one `reconcile` repairs it.

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, project};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A stack with two healthy environments, and actions on it.
struct Stack<'a> {
    cloud: &'a Cloud,
    function: Function<'a>,
    folder: PathBuf,
}

impl Stack<'_> {
    /// Starts a cutover, kills it in `phase`, and reconciles. Returns the record of the killed run.
    fn killed_in(&self, phase: &str, probe: &Value, more: &Value) -> Value {
        let before = self.function.sides();
        let mut event = json!({ "id": format!("killed-in-{phase}"), "probe": probe });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.function.begin(&event);
        let id = event["id"].as_str().unwrap();
        self.function.wait_for_phase(id, phase);
        self.function.kill();
        self.function.clear_faults();
        self.function.let_the_lease_expire();
        self.reconciled(id, &before)
    }

    /// Starts a cutover, kills it in `locked`, when it has the lease and no record yet, and reconciles.
    fn killed_before_it_is_recorded(&self) {
        let before = self.function.sides();
        let id = "killed-in-locked";
        self.function.fault(&["hold", "--action", "PutObject", "--resource", id]);
        self.function.begin(&json!({ "id": id }));
        eventually("the run has the lease", || self.function.lease().filter(|lease| lease["holder"] == id));
        self.function.kill();
        self.function.clear_faults();
        self.function.let_the_lease_expire();
        self.cloud.run_in(&self.folder, &["--json", "reconcile"]).expect(0);
        assert!(self.function.record(id).is_none_or(|record| !record["outcome"].is_null()));
        assert_eq!(self.function.sides(), before);
        assert_eq!(self.function.lease().unwrap()["released"], true);
    }

    /// Reconciles, and checks the state after run `id` was killed. Returns the record of that run.
    fn reconciled(&self, id: &str, before: &(String, String)) -> Value {
        let said = self.cloud.run_in(&self.folder, &["--json", "reconcile"]).expect(0);
        let record = self.function.record(id).unwrap();
        let (prod, dev) = self.function.sides();
        assert_ne!(prod, dev, "{id}: {}", said.out);
        let verified = record["verified"] == true;
        assert!(verified || prod == before.0, "{id}: prod is {prod}, it was {}: {record:#}", before.0);
        assert!(!record["outcome"].is_null(), "{id}: the record is open: {record:#}");
        assert_eq!(self.function.lease().unwrap()["released"], true, "{id}");
        record
    }

    fn hold(&self, action: &str, resource: &str) {
        let rule = ["hold", "--service", "elasticloadbalancing", "--action", action];
        let on = if resource.is_empty() { Vec::new() } else { vec!["--resource", resource] };
        self.function.fault(&[&rule[..], &on[..]].concat());
    }

    fn rule(&self, listener: &str) -> String {
        self.function.rule_of(listener)
    }
}

#[test]
fn a_cutover_killed_in_any_phase_is_put_right_by_the_next_reconcile() {
    let cloud = Cloud::start([90, 91]);
    let folder = project().join("local/faulty");
    cloud.run_in(&folder, &["deploy"]).expect(0);
    let stack = Stack { cloud: &cloud, function: Function::of(&cloud), folder };
    let short = json!({ "count": 40, "interval_ms": 50 });

    stack.killed_before_it_is_recorded();
    stack.hold("DescribeTargetHealth", "");
    stack.killed_in("preflight", &short, &json!({}));
    stack.killed_in("gate", &json!({ "interval_ms": 100 }), &json!({ "gate": { "count": 100 } }));
    stack.killed_in("baseline", &json!({ "count": 400, "interval_ms": 50, "baseline": 300 }), &json!({}));
    stack.hold("ModifyRule", &stack.rule("DevListenerArn"));
    stack.killed_in("swap_dev", &short, &json!({}));
    stack.killed_in("settle", &short, &json!({ "settle_ms": 30_000 }));
    let long = json!({ "count": 600, "interval_ms": 50 });
    stack.killed_in("verify", &long, &json!({ "settle_ms": 0 }));
    // At the start, the function reads the rules of both listeners; at the end, it reads them with one call.
    stack.function.kill();
    stack.function.fault(&["hold", "--action", "DescribeRules", "--skip", "2"]);
    stack.killed_in("confirm", &short, &json!({}));

    // The test does not break the lease: reconcile waits until the lease of the dead function expires.
    let before = stack.function.sides();
    stack.hold("ModifyRule", &stack.rule("ProdListenerArn"));
    stack.function.begin(&json!({ "id": "killed-in-swap_prod", "probe": short }));
    stack.function.wait_for_phase("killed-in-swap_prod", "swap_prod");
    stack.function.kill();
    stack.function.clear_faults();
    stack.reconciled("killed-in-swap_prod", &before);
}

#[test]
fn a_rollback_killed_half_way_is_put_right_by_the_next_reconcile() {
    let cloud = Cloud::start([90, 91]);
    let folder = project().join("local/faulty");
    cloud.run_in(&folder, &["deploy"]).expect(0);
    cloud.run_in(&folder, &["deploy", "--version", "4"]).expect(0);
    let stack = Stack { cloud: &cloud, function: Function::of(&cloud), folder };
    let prod = stack.rule("ProdListenerArn");
    // The first write of prod is the swap, the second is the rollback.
    let rule = ["hold", "--action", "ModifyRule", "--resource", &prod, "--skip", "1"];
    stack.function.fault(&rule);
    stack.killed_in("roll_back", &json!({ "count": 300, "interval_ms": 50 }), &json!({}));
    assert_eq!(stack.function.sides(), ("green".to_owned(), "blue".to_owned()));
}
