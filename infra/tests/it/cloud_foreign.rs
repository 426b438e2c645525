//! The selected stack name belongs to a stack of another tool: every command rejects it and changes nothing.

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, project};
use aws_sdk_cloudformation::types::{ChangeSetType, OnFailure};
use aws_sdk_s3::types::{Tag, Tagging};
use ledger::S3Ledger;
use serde_json::{Value, json};

const BUCKET: &str = "payroll-archive";

/// A bucket that can be created, and a listener that cannot.
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

/// The calls of the command that are not read-only.
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
    let s3 = ledger::s3_client(&config);
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
            assert!(
                said.err.contains(&format!("stack {stack} was not created by bluegreen")),
                "{verb:?}: {}",
                said.err
            );
            assert!(said.err.contains("--stack NAME"), "{}", said.err);
        }
    }

    assert_eq!(changes(&cloud), Vec::<Value>::new());
    assert_eq!((status("payroll").as_str(), status("invoices").as_str()), ("CREATE_FAILED", "REVIEW_IN_PROGRESS"));
    let object = runtime.block_on(s3.get_object().bucket(BUCKET).key("2026.csv").send()).unwrap();
    assert_eq!(runtime.block_on(object.body.collect()).unwrap().into_bytes(), b"salaries".as_slice());
}

/// Every command except `releases`, `report`, and `graph`, which find a stack as `history` and `synth` do.
const VERBS: [&[&str]; 9] = [
    &["deploy", "--version", "2"],
    &["diff"],
    &["destroy", "--yes"],
    &["destroy", "--confirm", "bluegreen"],
    &["cutover"],
    &["reconcile"],
    &["status"],
    &["history"],
    &["logs", "blue"],
];

/// A stack of bluegreen on the local cloud, with clients to remove its marks.
struct Marked<'a> {
    cloud: &'a Cloud,
    runtime: tokio::runtime::Runtime,
    config: aws_config::SdkConfig,
    s3: aws_sdk_s3::Client,
    ecr: aws_sdk_ecr::Client,
    bucket: String,
    registry: String,
}

impl<'a> Marked<'a> {
    fn new(cloud: &'a Cloud) -> Self {
        cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = runtime.block_on(cloud.sdk_config());
        let ecr = aws_sdk_ecr::Client::new(&config);
        let outputs = Function::of(cloud).outputs.clone();
        let describe = ecr.describe_repositories().repository_names(&outputs["RegistryName"]).send();
        let registry = runtime.block_on(describe).unwrap().repositories()[0].repository_arn().unwrap().to_owned();
        let s3 = ledger::s3_client(&config);
        Self { cloud, runtime, config, s3, ecr, bucket: outputs["BucketName"].clone(), registry }
    }

    /// Tags the bucket as part of this stack, or of none.
    fn mark_bucket(&self, stack: Option<&str>) {
        let tag = |value: &str| Tag::builder().key("bluegreen:stack").value(value).build().unwrap();
        let done = match stack {
            Some(stack) => {
                let tags = Tagging::builder().tag_set(tag(stack)).build().unwrap();
                self.runtime.block_on(self.s3.put_bucket_tagging().bucket(&self.bucket).tagging(tags).send()).is_ok()
            }
            None => self.runtime.block_on(self.s3.delete_bucket_tagging().bucket(&self.bucket).send()).is_ok(),
        };
        assert!(done);
    }

    /// Tags the registry as part of this stack.
    fn mark_registry(&self, stack: &str) {
        let tag = aws_sdk_ecr::types::Tag::builder().key("bluegreen:stack").value(stack).build().unwrap();
        let call = self.ecr.tag_resource().resource_arn(&self.registry).tags(tag);
        self.runtime.block_on(call.send()).unwrap();
    }

    /// Checks that every command rejects the stack, for this reason, and changes nothing.
    fn is_refused(&self, reason: &str) {
        let before = changes(self.cloud);
        for verb in VERBS {
            let said = self.cloud.run_in(&project().join("local/faulty"), verb);
            assert_eq!(said.code, 3, "{verb:?}: {}\n{}", said.out, said.err);
            assert!(said.err.contains(reason) && said.err.contains("bluegreen:stack=bluegreen"), "{}", said.err);
        }
        assert_eq!(changes(self.cloud), before);
    }
}

#[test]
fn a_bucket_or_registry_that_is_not_the_stacks_own_is_neither_read_nor_written() {
    let cloud = Cloud::start([90, 91]);
    let marked = Marked::new(&cloud);
    marked.mark_bucket(Some("payroll"));
    marked.is_refused("its tag bluegreen:stack names stack payroll");
    marked.mark_bucket(None);
    marked.is_refused("its tag bluegreen:stack is missing");
    marked.mark_bucket(Some("bluegreen"));
    marked.mark_registry("payroll");
    marked.is_refused("its tag bluegreen:stack names stack payroll");
    marked.mark_registry("bluegreen");
    cloud.run_in(&project().join("local/faulty"), &["status"]).expect(0);

    let other = S3Ledger::in_bucket(&marked.config, &marked.bucket, Some("111111111111"));
    let refused = marked.runtime.block_on(other.list(1)).unwrap_err().to_string();
    assert!(refused.contains("AccessDenied"), "{refused}");
}
