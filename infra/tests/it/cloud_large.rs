//! A template that is too large for a call, on the local cloud: it goes through the bucket of the stack, which is
//! therefore created first.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::function::eventually;
use crate::support::{Cloud, Said, User, project};
use aws_sdk_cloudformation::types::StackStatus;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const CALL_LIMIT: usize = 51_200;

fn faulty() -> PathBuf {
    project().join("local/faulty")
}

/// Settings whose template is too large for a call: each of the two task definitions has 30 KB of variables.
fn settings(more: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let own = std::fs::read_to_string(faulty().join("bluegreen.toml")).unwrap();
    let variable = |number: usize| format!("LONG_{number} = \"{}\"\n", "x".repeat(500));
    let variables: String = (0..60).map(variable).collect();
    std::fs::write(file.path(), format!("{own}\n{more}\n[environment]\n{variables}")).unwrap();
    file
}

struct Stack<'a> {
    cloud: &'a Cloud,
    settings: &'a NamedTempFile,
}

impl Stack<'_> {
    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--config", self.settings.path().to_str().unwrap()], arguments].concat()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.cloud.run_in(&faulty(), &self.arguments(arguments))
    }

    fn size(&self) -> usize {
        let template: Value = serde_json::from_str(&self.run(&["synth"]).expect(0).out).unwrap();
        template.to_string().len()
    }

    /// The logical ids of the resources of the stack; none if there is no stack.
    fn resources(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = aws_sdk_cloudformation::Client::new(&self.cloud.sdk_config().await);
            let answer = client.list_stack_resources().stack_name("bluegreen").send().await;
            let all = answer.ok().and_then(|answer| answer.stack_resource_summaries).unwrap_or_default();
            all.into_iter().filter_map(|it| it.logical_resource_id).collect()
        })
    }

    /// The number of requests of commands for the lease.
    fn locks(&self) -> usize {
        let calls = self.cloud.local(&["calls", "--json", "--caller", "client"]).expect(0).json();
        let is_lock =
            |call: &&Value| call["action"] == "PutObject" && call["resources"].to_string().contains("lock.json");
        calls.as_array().unwrap().iter().filter(is_lock).count()
    }

    /// Starts to create the stack and kills the command before it adds the rest.
    fn begin_and_kill(&self) {
        // Between both steps, the command acquires the lease.
        let hold = ["fault", "add", "hold", "--caller", "client", "--action", "PutObject", "--resource", "lock.json"];
        self.cloud.local(&hold).expect(0);
        let before = self.locks();
        let mut command = self.cloud.command(&self.arguments(&["deploy"]));
        let mut command = command.current_dir(faulty()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the command is between its steps", || (self.locks() > before).then_some(()));
        command.kill().unwrap();
        command.wait().unwrap();
        self.cloud.local(&["fault", "clear"]).expect(0);
        assert_eq!(self.resources(), ["Bucket", "BucketPolicy"]);
    }
}

#[test]
fn a_stack_whose_template_fits_into_no_call_is_made_updated_cut_over_and_destroyed() {
    let cloud = Cloud::start([90, 91]);
    let first = settings("");
    let stack = Stack { cloud: &cloud, settings: &first };
    assert!(stack.size() > CALL_LIMIT, "{}", stack.size());

    let diff = stack.run(&["diff"]).expect(0);
    assert!(diff.out.contains("LoadBalancer") && diff.out.contains("will be created"), "{}", diff.out);
    let checks = stack.run(&["doctor"]).expect(0);
    assert!(checks.out.contains("only the part that creates the bucket"), "{}", checks.out);
    let made = stack.run(&["deploy"]).expect(0);
    assert!(made.err.contains("create stack") && made.err.contains("complete stack"), "{}", made.err);
    let checks = stack.run(&["doctor"]).expect(0);
    assert!(checks.out.contains("uploaded to the bucket of the stack"), "{}", checks.out);

    // No change.
    stack.run(&["deploy"]).expect(0);
    stack.run(&["deploy", "--expect-no-changes"]).expect(0);
    stack.run(&["diff", "--expect-no-changes"]).expect(0);

    // A change of the stack itself, and versions.
    let changed = settings("[logs]\nretention_days = 7\n");
    let stack = Stack { cloud: &cloud, settings: &changed };
    let diff = stack.run(&["diff"]).expect(0);
    assert!(diff.out.contains("CutoverLogGroup") && !diff.out.contains("will be created"), "{}", diff.out);
    assert!(
        !diff.out.contains("BlueLogGroup") && diff.out.contains("settings that apply with the next release"),
        "{}",
        diff.out
    );
    stack.run(&["deploy", "--expect-no-changes"]).expect(3);
    stack.run(&["deploy"]).expect(0);
    stack.run(&["deploy", "--version", "4"]).expect(0);
    stack.run(&["deploy", "--version", "3"]).expect(4);
    stack.run(&["deploy", "--version", "1"]).expect(0);
    let user = User::of(cloud.address(0), "/");
    let record = stack.run(&["--json", "cutover"]).expect(0).json();
    assert_eq!(record["outcome"], "done", "{record:#}");
    // The routing of traffic is not part of the stack: a cutover does not change the stack.
    let reported = stack.run(&["deploy"]).expect(0);
    assert!(reported.err.contains("nothing to change"), "{}", reported.err);
    let seen = user.leave();
    assert!(seen.failures.is_empty() && seen.requests > 0, "{seen:?}");

    let destroyed = stack.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
    assert!(destroyed.err.contains("nothing is left"), "{}", destroyed.err);
}

#[test]
fn a_stack_that_is_only_begun_is_completed_or_destroyed() {
    let cloud = Cloud::start([90, 91]);
    let settings = settings("");
    let stack = Stack { cloud: &cloud, settings: &settings };
    stack.begin_and_kill();
    stack.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
    assert!(stack.resources().is_empty());

    stack.begin_and_kill();
    let refused = stack.run(&["deploy", "--version", "4"]).expect(2);
    assert!(refused.err.contains("create it first"), "{}", refused.err);
    let refused = stack.run(&["deploy", "--expect-no-changes"]).expect(3);
    assert!(refused.err.contains("is incomplete"), "{}", refused.err);
    let refused = stack.run(&["status"]).expect(1);
    assert!(refused.err.contains("finish the deployment"), "{}", refused.err);
    let diff = stack.run(&["--json", "diff"]).expect(0).json();
    let added: Vec<&str> = diff["resources"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(added.contains(&"LoadBalancer") && !added.contains(&"Bucket"), "{added:?}");
    let completed = stack.run(&["deploy"]).expect(0);
    assert!(completed.err.contains("complete stack") && !completed.err.contains("create stack"), "{}", completed.err);
    stack.run(&["deploy", "--expect-no-changes"]).expect(0);
}

#[test]
fn a_stack_whose_rest_could_not_be_made_is_completed_by_the_next_command() {
    let cloud = Cloud::start([90, 91]);
    let settings = settings("");
    let stack = Stack { cloud: &cloud, settings: &settings };
    stack.begin_and_kill();
    // The rest has a resource that cannot be created: everything except the first step is rolled back.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = aws_sdk_cloudformation::Client::new(&runtime.block_on(cloud.sdk_config()));
    let template = runtime.block_on(client.get_template().stack_name("bluegreen").send()).unwrap();
    let mut template: Value = serde_json::from_str(template.template_body().unwrap()).unwrap();
    let listener = "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/none/1/2";
    let properties = json!({ "ListenerArn": listener, "Priority": 1, "Conditions": [], "Actions": [] });
    template["Resources"]["Wrong"] =
        json!({ "Type": "AWS::ElasticLoadBalancingV2::ListenerRule", "Properties": properties });
    let update = client.update_stack().stack_name("bluegreen").template_body(template.to_string()).send();
    runtime.block_on(update).unwrap();
    eventually("the update is rolled back", || {
        let described = runtime.block_on(client.describe_stacks().stack_name("bluegreen").send()).unwrap();
        (described.stacks()[0].stack_status() == Some(&StackStatus::UpdateRollbackComplete)).then_some(())
    });
    let completed = stack.run(&["deploy"]).expect(0);
    assert!(completed.err.contains("complete stack"), "{}", completed.err);
    stack.run(&["deploy", "--expect-no-changes"]).expect(0);
}
