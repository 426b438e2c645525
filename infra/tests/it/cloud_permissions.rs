//! Least privilege: the policy of the function allows exactly the calls that it makes on the local cloud.

use crate::support::function::Function;
use crate::support::policy::{allows, policy, texts};
use crate::support::{Cloud, project};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Lambda itself writes the log of a function, with the role of the function.
const BY_LAMBDA: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];

#[test]
fn the_functions_policy_allows_what_it_calls_and_nothing_else() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
    let function = Function::of(&cloud);
    exercise(&function);
    let statements = policy(&cloud, &function, "CutoverRole");
    let calls = function.calls(0);
    let mut called = BTreeSet::new();
    for call in &calls {
        let action = format!("{}:{}", call["service"].as_str().unwrap(), call["action"].as_str().unwrap());
        let allowed = statements.iter().any(|statement| allows(statement, &action, call));
        assert!(allowed, "nothing in its policy allows {call:#}\n{statements:#?}");
        // To create a rule with tags requires both permissions:
        // <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html>.
        if action == "elasticloadbalancing:CreateRule" {
            called.insert("elasticloadbalancing:AddTags".to_owned());
        }
        called.insert(action);
    }
    let listed = |call: &Value| texts(&call["resources"]).iter().any(|resource| resource.starts_with("prefix/"));
    assert!(calls.iter().any(listed), "no list of objects names a prefix: the policy's condition was not tried");
    let allowed = statements.iter().flat_map(|statement| texts(&statement["Action"])).map(str::to_owned);
    let unused: Vec<String> =
        allowed.filter(|action| !called.contains(action) && !BY_LAMBDA.contains(&action.as_str())).collect();
    assert!(unused.is_empty(), "allowed, and never called: {unused:?}; called: {called:?}");
}

/// Every operation, among them one that finds an interrupted run.
fn exercise(function: &Function<'_>) {
    let probe = json!({ "count": 30, "interval_ms": 50 });
    for (op, outcome) in [("plan", "planned"), ("cutover", "done"), ("rollback", "done"), ("reconcile", "noop")] {
        let record = function.invoke(&json!({ "op": op, "probe": probe }));
        assert_eq!(record["outcome"], outcome, "{record:#}");
    }
    let status = function.invoke(&json!({ "op": "status" }));
    assert!(status["outcome"].is_null(), "{status:#}");
    function.begin(&json!({ "id": "killed", "probe": { "count": 600, "interval_ms": 50 }, "settle_ms": 30_000 }));
    function.wait_for_phase("killed", "settle");
    function.kill();
    function.let_the_lease_expire();
    let record = function.invoke(&json!({ "op": "reconcile" }));
    assert_eq!(record["outcome"], "done", "{record:#}");
}
