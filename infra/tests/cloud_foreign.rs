//! A stack that somebody else made has the name that the command is told: every verb refuses it, and touches nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use aws_sdk_cloudformation::types::{ChangeSetType, OnFailure};
use serde_json::{Value, json};
use support::function::eventually;
use support::{Cloud, project};

const BUCKET: &str = "payroll-archive";

/// A bucket that can be made, and a listener that cannot.
fn payroll() -> String {
    let arn = |rest: &str| format!("arn:aws:elasticloadbalancing:us-east-1:000000000000:{rest}");
    let forward = json!({ "Type": "forward", "TargetGroupArn": arn("targetgroup/x/1") });
    let properties = json!({ "LoadBalancerArn": arn("loadbalancer/app/x/1"), "Port": 1, "DefaultActions": [forward] });
    let kind = "AWS::ElasticLoadBalancingV2::Listener";
    json!({ "Resources": {
        "Bucket": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": BUCKET } },
        "Bad": { "Type": kind, "DependsOn": "Bucket", "Properties": properties },
    } })
    .to_string()
}

/// The calls of the command that are more than a look.
fn changes(cloud: &Cloud) -> Vec<Value> {
    let calls = cloud.local(&["calls", "--json", "--caller", "client"]).expect(0).json();
    let reads = ["Describe", "Get", "List", "Head"];
    let own = ["CreateStack", "CreateBucket", "PutObject", "CreateChangeSet"];
    let changes = |call: &&Value| {
        let action = call["action"].as_str().unwrap();
        !reads.iter().any(|start| action.starts_with(start)) && !own.contains(&action)
    };
    calls.as_array().unwrap().iter().filter(changes).cloned().collect()
}

#[test]
fn a_stack_that_somebody_else_made_is_refused_by_every_verb_and_not_touched() {
    let cloud = Cloud::start([90, 91]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = runtime.block_on(cloud.sdk_config());
    let cloudformation = aws_sdk_cloudformation::Client::new(&config);
    let s3 = cutover_lambda::ledger::s3_client(&config);
    let status = |stack: &str| {
        let described = runtime.block_on(cloudformation.describe_stacks().stack_name(stack).send()).unwrap();
        described.stacks()[0].stack_status().unwrap().as_str().to_owned()
    };

    let create = cloudformation.create_stack().stack_name("payroll").template_body(payroll());
    runtime.block_on(create.on_failure(OnFailure::DoNothing).send()).unwrap();
    eventually("the creation has failed", || (status("payroll") == "CREATE_FAILED").then_some(()));
    let put = s3.put_object().bucket(BUCKET).key("2026.csv").body(b"salaries".to_vec().into());
    runtime.block_on(put.send()).unwrap();
    let template = json!({ "Resources": { "Topic": { "Type": "AWS::SNS::Topic" } } }).to_string();
    let review = cloudformation.create_change_set().stack_name("invoices").change_set_name("somebody-s");
    let review = review.change_set_type(ChangeSetType::Create).template_body(&template).send();
    runtime.block_on(review).unwrap();

    for stack in ["payroll", "invoices"] {
        for verb in [
            &["deploy"] as &[&str],
            &["deploy", "--yes"],
            &["deploy", "--version", "1"],
            &["diff"],
            &["destroy", "--yes"],
            &["destroy", "--confirm", stack],
            &["cutover"],
            &["rollback"],
            &["reconcile"],
            &["status"],
            &["history"],
            &["logs", "blue"],
            &["open", "prod"],
        ] {
            let said = cloud.run_in(&project().join("local/faulty"), &[&["--stack", stack], verb].concat());
            assert_eq!(said.code, 3, "{stack} {verb:?}: {}\n{}", said.out, said.err);
            assert!(said.err.contains(&format!("stack {stack} was not made by bluegreen")), "{verb:?}: {}", said.err);
            assert!(said.err.contains("--stack NAME"), "{}", said.err);
        }
    }

    assert_eq!(changes(&cloud), Vec::<Value>::new());
    assert_eq!((status("payroll").as_str(), status("invoices").as_str()), ("CREATE_FAILED", "REVIEW_IN_PROGRESS"));
    let object = runtime.block_on(s3.get_object().bucket(BUCKET).key("2026.csv").send()).unwrap();
    assert_eq!(runtime.block_on(object.body.collect()).unwrap().into_bytes(), b"salaries".as_slice());
}
