//! Attacks that the rights of a deploying pipeline allow, and that the command of an administrator would execute: each
//! attack is rejected or has no effect. (`pipeline` simulates what the roles themselves can do.)

use std::process::Stdio;

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, Said, User, project};
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// The rights of an administrator, for anybody who assumes the role.
fn everything() -> Value {
    let statement = json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]);
    json!([{ "PolicyName": "x", "PolicyDocument": { "Version": "2012-10-17", "Statement": statement } }])
}

fn backdoor() -> Value {
    let statement = json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": "666666666666" } }]);
    let trust = json!({ "Version": "2012-10-17", "Statement": statement });
    json!({ "Type": "AWS::IAM::Role", "Properties": { "AssumeRolePolicyDocument": trust, "Policies": everything() } })
}

struct Attacked<'a> {
    cloud: &'a Cloud,
    config: NamedTempFile,
    runtime: tokio::runtime::Runtime,
    stacks: aws_sdk_cloudformation::Client,
}

impl<'a> Attacked<'a> {
    fn new(cloud: &'a Cloud, more: &str) -> Self {
        let own = std::fs::read_to_string(project().join("local/faulty/bluegreen.toml")).unwrap();
        let config = NamedTempFile::new().unwrap();
        std::fs::write(config.path(), format!("{own}\n{more}")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stacks = aws_sdk_cloudformation::Client::new(&runtime.block_on(cloud.sdk_config()));
        let attacked = Self { cloud, config, runtime, stacks };
        attacked.run(&["deploy"]).expect(0);
        attacked
    }

    fn arguments<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        [&["--config", self.config.path().to_str().unwrap()], arguments].concat()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.cloud.run_in(&project().join("local/faulty"), &self.arguments(arguments))
    }

    fn template(&self) -> Value {
        let template = self.runtime.block_on(self.stacks.get_template().stack_name("bluegreen").send()).unwrap();
        serde_json::from_str(template.template_body().unwrap()).unwrap()
    }

    /// Gives the stack another template without the command.
    fn poison(&self, change: impl FnOnce(&mut Value)) {
        let mut template = self.template();
        change(&mut template);
        let parameters = template["Parameters"].as_object().unwrap().keys();
        let parameters = parameters.map(|key| Parameter::builder().parameter_key(key).use_previous_value(true).build());
        let update = self.stacks.update_stack().stack_name("bluegreen").template_body(template.to_string());
        let update = update.capabilities(Capability::CapabilityIam).set_parameters(Some(parameters.collect()));
        self.runtime.block_on(update.send()).unwrap();
        eventually("the poisoned template is deployed", || {
            let described = self.stacks.describe_stacks().stack_name("bluegreen").send();
            let described = self.runtime.block_on(described).unwrap();
            (described.stacks()[0].stack_status() == Some(&StackStatus::UpdateComplete)).then_some(())
        });
    }

    /// The actions that the roles of the stack currently allow on every resource.
    fn administrators(&self) -> Vec<String> {
        let function = Function::of(self.cloud);
        let resources = self.stacks.list_stack_resources().stack_name("bluegreen").send();
        let resources = self.runtime.block_on(resources).unwrap();
        let roles =
            resources.stack_resource_summaries().iter().filter(|it| it.resource_type() == Some("AWS::IAM::Role"));
        let ids = roles.map(|it| it.logical_resource_id().unwrap().to_owned());
        let all_powerful = |id: &String| {
            let statements = crate::support::policy::statements(self.cloud, &function, id);
            statements.iter().any(|it| crate::support::policy::texts(&it["Action"]).contains(&"*"))
        };
        ids.filter(all_powerful).collect()
    }
}

#[test]
fn rights_that_wait_under_a_condition_are_given_by_no_later_command() {
    let cloud = Cloud::start([90, 91]);
    let attacked = Attacked::new(&cloud, "");
    let user = User::of(cloud.address(0), "/");
    // None of these changes needs a permission now: they take effect with the next release.
    attacked.poison(|template| {
        template["Conditions"]["Later"] = json!({ "Fn::Equals": [{ "Ref": "BlueVersion" }, "4"] });
        let nothing = json!({ "Ref": "AWS::NoValue" });
        template["Resources"]["GreenTaskRole"]["Properties"]["Policies"] =
            json!({ "Fn::If": ["Later", everything(), nothing] });
        template["Resources"]["Backdoor"] = backdoor();
        template["Resources"]["Backdoor"]["Condition"] = json!("Later");
        template["Resources"]["Backdoor"]["DeletionPolicy"] = json!("Retain");
        template["Resources"]["GreenTaskDefinition"]["Properties"]["Tags"] = json!([{ "Key": "x", "Value": "y" }]);
    });
    assert_eq!(attacked.administrators(), Vec::<String>::new());

    let refused = attacked.run(&["deploy", "--version", "4"]).expect(3);
    assert!(refused.err.contains("GreenTaskRole") || refused.err.contains("Backdoor"), "{}", refused.err);
    assert_eq!(attacked.administrators(), Vec::<String>::new());

    // A deployment of the stack renders everything except the environments again, so foreign parts disappear.
    let reported = attacked.run(&["deploy", "--yes"]).expect(0);
    assert!(!attacked.template()["Resources"].as_object().unwrap().contains_key("Backdoor"), "{}", reported.err);
    assert_eq!(attacked.administrators(), Vec::<String>::new());
    let seen = user.leave();
    assert!(seen.failures.is_empty() && seen.requests > 0, "{seen:?}");
}

#[test]
fn a_template_that_is_replaced_in_the_bucket_is_not_the_one_that_is_executed() {
    let cloud = Cloud::start([90, 91]);
    let variable = |number: usize| format!("LONG_{number} = \"{}\"\n", "x".repeat(500));
    let variables: String = (0..60).map(variable).collect();
    let attacked = Attacked::new(&cloud, &format!("[environment]\n{variables}"));
    let function = Function::of(&cloud);
    let bucket = &function.outputs["BucketName"];
    let s3 = ledger::s3_client(&attacked.runtime.block_on(cloud.sdk_config()));

    let asked = || {
        let calls = cloud.local(&["calls", "--json", "--caller", "client"]).expect(0).json();
        calls.as_array().unwrap().iter().filter(|call| call["action"] == "CreateChangeSet").count()
    };
    // Between the upload and the moment when CloudFormation reads it.
    let before = asked();
    cloud.local(&["fault", "add", "hold", "--caller", "client", "--action", "CreateChangeSet"]).expect(0);
    let mut command = cloud.command(&attacked.arguments(&["deploy", "--version", "4"]));
    let command = command.current_dir(project().join("local/faulty"));
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("CloudFormation is asked", || (asked() > before).then_some(()));
    let (key, mut poisoned) = attacked.runtime.block_on(async {
        let listed = s3.list_objects_v2().bucket(bucket).prefix("templates/").send().await.unwrap();
        let newest = listed.contents().iter().max_by_key(|object| object.last_modified().unwrap().as_nanos()).unwrap();
        let key = newest.key().unwrap().to_owned();
        let got = s3.get_object().bucket(bucket).key(&key).send().await.unwrap();
        let body = got.body.collect().await.unwrap().into_bytes();
        (key, serde_json::from_slice::<Value>(&body).unwrap())
    });
    poisoned["Resources"]["Backdoor"] = backdoor();
    let put = s3.put_object().bucket(bucket).key(&key).body(poisoned.to_string().into_bytes().into());
    attacked.runtime.block_on(put.send()).unwrap();
    cloud.local(&["fault", "clear"]).expect(0);

    Said::of(running.wait_with_output().unwrap()).expect(0);
    assert!(!attacked.template()["Resources"].as_object().unwrap().contains_key("Backdoor"));
    assert_eq!(attacked.administrators(), Vec::<String>::new());
}
