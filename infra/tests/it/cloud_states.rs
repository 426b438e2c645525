//! Stacks in unusual states on the local cloud, deployments and cutovers that wait for each other, and `logs --follow`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, Said, project};
use aws_sdk_cloudformation::types::ChangeSetType;
use serde_json::json;

fn faulty() -> PathBuf {
    project().join("local/faulty")
}

#[test]
fn a_stack_that_was_never_made_is_removed_or_taken_over_and_made() {
    let cloud = Cloud::start([90, 91]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = aws_sdk_cloudformation::Client::new(&runtime.block_on(cloud.sdk_config()));
    let status = || {
        let described = client.describe_stacks().stack_name("bluegreen").send();
        let described = runtime.block_on(described).unwrap();
        described.stacks()[0].stack_status().unwrap().as_str().to_owned()
    };
    // A resource that cannot be created.
    let listener = "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/none/1/2";
    let properties = json!({ "ListenerArn": listener, "Priority": 1, "Conditions": [], "Actions": [] });
    let kind = "AWS::ElasticLoadBalancingV2::ListenerRule";
    let wrong = json!({ "Type": kind, "Properties": properties });
    let broken = json!({ "Description": stack::DESCRIPTION, "Resources": { "Wrong": wrong } }).to_string();
    runtime.block_on(client.create_stack().stack_name("bluegreen").template_body(&broken).send()).unwrap();
    eventually("the creation is rolled back", || (status() == "ROLLBACK_COMPLETE").then_some(()));
    let made = cloud.run_in(&faulty(), &["deploy"]).expect(0);
    assert!(made.err.contains("ROLLBACK_COMPLETE") && made.err.contains("Wrong"), "{}", made.err);
    assert_eq!(status(), "UPDATE_COMPLETE");
    cloud.run_in(&faulty(), &["destroy", "--confirm", "bluegreen"]).expect(0);

    // A change set that was not executed.
    let whole = json!({ "Resources": { "Topic": { "Type": "AWS::SNS::Topic" } } }).to_string();
    let review = client.create_change_set().stack_name("bluegreen").change_set_name("bluegreen-interrupted");
    let review = review.change_set_type(ChangeSetType::Create).template_body(&whole).send();
    runtime.block_on(review).unwrap();
    assert_eq!(status(), "REVIEW_IN_PROGRESS");
    cloud.run_in(&faulty(), &["deploy"]).expect(0);
    assert_eq!(status(), "UPDATE_COMPLETE");
}

#[test]
fn deployments_and_cutovers_refuse_or_wait_for_each_other_and_a_log_is_followed() {
    let cloud = Cloud::start([90, 91]);
    let run = |arguments: &[&str]| cloud.run_in(&faulty(), arguments);
    run(&["deploy"]).expect(0);
    let function = Function::of(&cloud);

    let mut followed = cloud.command(&["logs", "blue", "--follow"]);
    let mut followed = followed.current_dir(faulty()).stdout(Stdio::piped()).spawn().unwrap();

    // A deployment during a cutover.
    // Its baseline takes five seconds, so the swap comes while the deployment waits.
    let probe = json!({ "count": 250, "interval_ms": 50, "baseline": 100 });
    function.begin(&json!({ "id": "long", "probe": probe }));
    function.wait_for_phase("long", "baseline");
    let refused = run(&["deploy", "--version", "4"]).expect(3);
    assert!(refused.err.contains("a cutover is in progress") && refused.err.contains("--wait"), "{}", refused.err);
    let waited = run(&["deploy", "--version", "4", "--wait"]).expect(0);
    assert!(waited.err.contains("waiting for the cutover"), "{}", waited.err);
    assert!(waited.err.contains("green is now idle"), "{}", waited.err);
    assert_eq!(function.record("long").unwrap()["outcome"], "done");

    // A cutover during a deployment, which is slow to prepare its change.
    let slow = ["fault", "add", "delay", "--caller", "client", "--action", "CreateChangeSet", "--ms", "5000"];
    cloud.local(&slow).expect(0);
    let mut deployment = cloud.command(&["deploy", "--version", "1"]);
    let mut deployment = deployment.current_dir(faulty()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the deployment has the lock", || {
        function.lease().filter(|lease| lease["purpose"] == "deployment" && lease["released"] == false)
    });
    let refused = run(&["cutover"]).expect(3);
    assert!(refused.err.contains("deployment"), "{}", refused.err);
    let waited = run(&["cutover", "--wait", "--probes", "30", "--interval", "50ms"]).expect(0);
    assert!(waited.err.contains("deployment"), "{}", waited.err);
    assert!(deployment.wait().unwrap().success());
    function.clear_faults();

    // The new task on blue has written to the followed log.
    run(&["deploy", "--version", "4"]).expect(0);
    let lines = BufReader::new(followed.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = { lines }.find(|line| line.contains("version 4 listens")).unwrap();
    assert!(line.split(' ').nth(1).is_some_and(|task| task.len() == 8), "a task's short id comes first: {line}");
    followed.kill().unwrap();
    Said::of(followed.wait_with_output().unwrap());
}

#[test]
fn a_deployment_that_is_killed_keeps_its_lock_until_somebody_sees_that_it_is_dead() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&faulty(), &["deploy"]).expect(0);
    // It cannot see the update in progress.
    let hold = ["fault", "add", "hold", "--caller", "client", "--action", "DescribeStackEvents", "--skip", "1"];
    cloud.local(&hold).expect(0);
    let arguments = ["deploy", "--version", "4"];
    let mut killed = cloud.command(&arguments).current_dir(faulty()).stderr(Stdio::null()).spawn().unwrap();
    let function = Function::of(&cloud);
    let later = |lock: &serde_json::Value| lock["life_ms"] == 30 * 60 * 1000 && lock["released"] == false;
    eventually("the update continues", || function.lease().filter(later));
    eventually("the update is executed", || {
        let calls = cloud.local(&["calls", "--json", "--caller", "client"]).expect(0).json();
        let executed = calls.as_array().unwrap().iter().filter(|call| call["action"] == "ExecuteChangeSet").count();
        // The stack was created with two calls.
        (executed > 2).then_some(())
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    cloud.local(&["fault", "clear"]).expect(0);

    // The function does not query CloudFormation, so it refuses; the command sees that the lease is not renewed.
    let refused = function.invoke(&json!({ "op": "cutover" }));
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    let again = cloud.run_in(&faulty(), &arguments).expect(0);
    assert!(again.err.contains("no longer renews its lease"), "{}", again.err);
    assert_eq!(function.lease().unwrap()["released"], true);
}

/// A deployment that holds the lease and waits for the response to its change set, until all faults are cleared.
fn deployment_that_waits(cloud: &Cloud, function: &Function<'_>, version: &str) -> Child {
    cloud.local(&["fault", "add", "hold", "--caller", "client", "--action", "CreateChangeSet"]).expect(0);
    let mut deployment = cloud.command(&["deploy", "--version", version]);
    let deployment = deployment.current_dir(faulty()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the deployment has the lock", || {
        function.lease().filter(|lease| lease["purpose"] == "deployment" && lease["released"] == false)
    });
    deployment
}

#[test]
fn the_lock_of_a_killed_deployment_is_taken_over_at_once_on_the_same_machine_and_unlock_breaks_one_that_lives() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&faulty(), &["deploy"]).expect(0);
    let function = Function::of(&cloud);
    let run = |arguments: &[&str]| cloud.run_in(&faulty(), arguments);

    let mut killed = deployment_that_waits(&cloud, &function, "4");
    killed.kill().unwrap();
    killed.wait().unwrap();
    cloud.local(&["fault", "clear"]).expect(0);
    let before = function.lease().unwrap();
    let again = run(&["deploy", "--version", "4"]).expect(0);
    assert!(again.err.contains("was stopped on this machine"), "{}", again.err);
    assert_eq!(function.lease().unwrap()["released"], true);
    assert_ne!(function.lease().unwrap()["writer"], before["writer"]);

    // A holder that is alive.
    let said = run(&["unlock", "--yes"]).expect(0);
    assert!(said.out.contains("is free"), "{}", said.out);
    let mut alive = deployment_that_waits(&cloud, &function, "1");
    let holder = function.lease().unwrap()["holder"].as_str().unwrap().to_owned();
    let refused = run(&["unlock"]).expect(3);
    for word in [holder.as_str(), "a deployment", "since", "The holder is alive", "--yes"] {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }
    assert_eq!(function.lease().unwrap()["holder"], holder.as_str());
    let unlocked = run(&["--json", "unlock", "--yes"]).expect(0).json();
    assert_eq!(unlocked, json!({ "stack": "bluegreen", "holder": holder, "interrupted": [] }));
    assert_eq!(run(&["--json", "status"]).expect(0).json()["lease"], serde_json::Value::Null);
    cloud.local(&["fault", "clear"]).expect(0);
    assert!(!alive.wait().unwrap().success(), "it has lost its lock");

    // An unreadable lease.
    function.write_lease(b"{".to_vec());
    let status = run(&["status"]).expect(0);
    assert!(status.out.contains("cutover/lock.json") && status.out.contains("bluegreen unlock"), "{}", status.out);
    let refused = run(&["deploy", "--version", "1"]).expect(1);
    assert!(refused.err.contains("bluegreen unlock"), "{}", refused.err);
    run(&["unlock", "--yes"]).expect(0);
    run(&["deploy", "--version", "1"]).expect(0);
}

#[test]
fn a_bucket_is_not_written_to_once_it_is_emptied() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    // Longer than the renewal interval of the lease.
    cloud.local(&["fault", "add", "delay", "--caller", "client", "--action", "DeleteStack", "--ms", "7000"]).expect(0);
    cloud.run_in(&faulty, &["destroy", "--confirm", "bluegreen"]).expect(0);
    let calls = cloud.local(&["calls", "--json", "--caller", "client"]).expect(0).json();
    let actions: Vec<&str> = calls.as_array().unwrap().iter().map(|call| call["action"].as_str().unwrap()).collect();
    let emptied = actions.iter().rposition(|action| *action == "DeleteObject").unwrap();
    let after: Vec<&&str> = actions[emptied..].iter().filter(|action| **action == "PutObject").collect();
    assert!(actions[emptied..].contains(&"DeleteStack") && after.is_empty(), "{:?}", &actions[emptied..]);
}
