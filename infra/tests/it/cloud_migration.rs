//! A stack of an older version (its template is a fixture): `deploy` updates it under load without a failed request,
//! although the template has a stale value for prod. After that, releases work as on any stack.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, Said, User, project};
use aws_sdk_cloudformation::types::{Capability, OnFailure, Parameter, StackStatus};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Rule};

/// The stack as the older version created it, in a folder with its settings.
struct Old<'a> {
    cloud: &'a Cloud,
    folder: &'a Path,
    runtime: tokio::runtime::Runtime,
    stacks: aws_sdk_cloudformation::Client,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
    s3: aws_sdk_s3::Client,
    ecs: aws_sdk_ecs::Client,
}

impl<'a> Old<'a> {
    fn new(cloud: &'a Cloud, folder: &'a Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = runtime.block_on(cloud.sdk_config());
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            cloud,
            folder,
            stacks: aws_sdk_cloudformation::Client::new(&config),
            balancers: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            ecs: aws_sdk_ecs::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            runtime,
        }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.cloud.run_in(self.folder, arguments)
    }

    fn outputs(&self, stack: &str) -> BTreeMap<String, String> {
        let described = self.runtime.block_on(self.stacks.describe_stacks().stack_name(stack).send()).unwrap();
        let outputs = described.stacks()[0].outputs().iter();
        outputs.map(|it| (it.output_key().unwrap().to_owned(), it.output_value().unwrap().to_owned())).collect()
    }

    fn parameters(&self, stack: &str) -> BTreeMap<String, String> {
        let described = self.runtime.block_on(self.stacks.describe_stacks().stack_name(stack).send()).unwrap();
        let all = described.stacks()[0].parameters().iter();
        all.map(|it| (it.parameter_key().unwrap().to_owned(), it.parameter_value().unwrap().to_owned())).collect()
    }

    /// Creates the stack in two steps, as the older version did, with image and function of another stack.
    fn make(&self, template: &str, from: &str) {
        let nothing = BTreeMap::from([("ProdColor", "green".to_owned())]);
        let parameters = |values: &BTreeMap<&str, String>| -> Vec<Parameter> {
            let one = |(name, value): (&&str, &String)| {
                Parameter::builder().parameter_key(*name).parameter_value(value).build()
            };
            values.iter().map(one).collect()
        };
        let created = self.stacks.create_stack().stack_name("bluegreen").template_body(template);
        let created = created.capabilities(Capability::CapabilityIam).on_failure(OnFailure::DoNothing);
        self.runtime.block_on(created.set_parameters(Some(parameters(&nothing))).send()).unwrap();
        self.wait(&StackStatus::CreateComplete);

        let (given, there) = (self.parameters(from), self.outputs(from));
        let code = format!("code/{}.zip", given["CutoverCode"]);
        let copied = self.s3.copy_object().copy_source(format!("{}/{code}", there["BucketName"]));
        let copied = copied.bucket(&self.outputs("bluegreen")["BucketName"]).key(&code);
        self.runtime.block_on(copied.send()).unwrap();
        let mut values = nothing;
        for name in ["CutoverCode", "BlueImage", "BlueVersion", "GreenImage", "GreenVersion"] {
            values.insert(name, given[name].clone());
        }
        let updated = self.stacks.update_stack().stack_name("bluegreen").use_previous_template(true);
        let updated = updated.capabilities(Capability::CapabilityIam).set_parameters(Some(parameters(&values)));
        self.runtime.block_on(updated.send()).unwrap();
        self.wait(&StackStatus::UpdateComplete);
    }

    fn wait(&self, status: &StackStatus) {
        eventually(&format!("the stack is in {status}"), || {
            let described = self.stacks.describe_stacks().stack_name("bluegreen").send();
            let described = self.runtime.block_on(described).unwrap();
            (described.stacks()[0].stack_status() == Some(status)).then_some(())
        });
    }

    /// Performs a cutover as the older version did: writes the default actions.
    fn swap_default_actions(&self) {
        let outputs = self.outputs("bluegreen");
        for (listener, group) in [("Dev", "Green"), ("Prod", "Blue")] {
            let action = Action::builder().r#type(ActionTypeEnum::Forward);
            let action = action.target_group_arn(&outputs[&format!("{group}TargetGroupArn")]).build();
            let modified = self.balancers.modify_listener().listener_arn(&outputs[&format!("{listener}ListenerArn")]);
            self.runtime.block_on(modified.default_actions(action).send()).unwrap();
        }
    }

    fn default_action(&self, listener: &str) -> Option<ActionTypeEnum> {
        let described = self.balancers.describe_rules().listener_arn(&self.outputs("bluegreen")[listener]).send();
        let described = self.runtime.block_on(described).unwrap();
        let default = described.rules().iter().find(|rule| rule.is_default() == Some(true));
        default.and_then(|rule: &Rule| rule.actions()[0].r#type().cloned())
    }

    fn task_definitions(&self) -> [String; 2] {
        let outputs = self.outputs("bluegreen");
        ["BlueServiceArn", "GreenServiceArn"].map(|service| {
            let described = self.ecs.describe_services().cluster(&outputs["ClusterName"]).services(&outputs[service]);
            let described = self.runtime.block_on(described.send()).unwrap();
            described.services()[0].task_definition().unwrap().to_owned()
        })
    }

    fn healthy(&self) {
        eventually("both environments are healthy", || {
            let outputs = self.outputs("bluegreen");
            let up = ["BlueTargetGroupArn", "GreenTargetGroupArn"].iter().all(|group| {
                let health = self.balancers.describe_target_health().target_group_arn(&outputs[*group]).send();
                let health = self.runtime.block_on(health).unwrap();
                let states = health.target_health_descriptions().iter();
                let healthy = states.filter(|it| {
                    it.target_health().and_then(|it| it.state()).is_some_and(|state| state.as_str() == "healthy")
                });
                healthy.count() == 2
            });
            up.then_some(())
        });
    }
}

#[test]
fn a_stack_of_an_older_version_is_brought_up_to_date_and_no_user_notices() {
    let cloud = Cloud::start([80, 81]);
    let folder = tempfile::tempdir().unwrap();
    // Another stack, on other ports, provides the image and the function for the old stack.
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "name = \"other\"\n[prod]\nport = 8001\n[dev]\nport = 8002\n").unwrap();
    cloud.run(&["--config", other.to_str().unwrap(), "deploy"]).expect(0);
    let old = Old::new(&cloud, project());
    let template = std::fs::read_to_string(project().join("crates/stack/tests/fixtures/f79cde2-default.json")).unwrap();
    old.make(&template, "other");
    old.healthy();
    old.swap_default_actions();
    assert_eq!(old.parameters("bluegreen")["ProdColor"], "green", "the template does not know of the cutover");

    let status = old.run(&["--json", "status"]).expect(0).json();
    assert_eq!(
        (&status["environments"][0]["role"], &status["environments"][1]["role"]),
        (&"prod".into(), &"dev".into())
    );
    assert!(status["warnings"][0].as_str().unwrap().contains("older version"), "{status}");
    let refused = old.run(&["deploy", "--version", "2"]).expect(3);
    assert!(refused.err.contains("update the stack first"), "{}", refused.err);

    let before = old.task_definitions();
    let user = User::of(cloud.address(0), "/api");
    let diff = old.run(&["--json", "diff"]).expect(0).json();
    let changes = |it: &&serde_json::Value| it["action"] == "replace" || it["action"] == "remove";
    let gone: Vec<&serde_json::Value> = diff["resources"].as_array().unwrap().iter().filter(changes).collect();
    assert!(gone.iter().all(|it| it["type"] == "AWS::S3::BucketPolicy"), "{gone:#?}");
    let asked = old.run(&["deploy"]).expect(3);
    assert!(asked.err.contains("CutoverRole may now"), "{}", asked.err);
    old.run(&["deploy", "--yes"]).expect(0);
    assert_eq!(old.task_definitions(), before, "neither environment was touched");
    for listener in ["ProdListenerArn", "DevListenerArn"] {
        assert_eq!(old.default_action(listener), Some(ActionTypeEnum::FixedResponse), "{listener}");
    }
    let function = Function::of(&cloud);
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
    assert!(!old.parameters("bluegreen").contains_key("ProdColor"));

    // From here on, it behaves as any stack.
    old.run(&["deploy", "--version", "2", "--yes"]).expect(0);
    assert_eq!(old.task_definitions()[0], before[0], "prod keeps what it had, roles included");
    old.run(&["cutover", "--probes", "20", "--interval", "20ms", "--settle", "100ms"]).expect(0);
    assert_eq!(function.sides(), ("green".to_owned(), "blue".to_owned()));
    old.run(&["deploy", "--version", "2", "--yes"]).expect(0);
    // The roles that both environments shared are no longer needed.
    old.run(&["deploy", "--yes"]).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{:?} of {} requests", seen.failures, seen.requests);
    assert_eq!(seen.versions, ["1", "2"]);
    eprintln!("{} requests, none failed", seen.requests);
    let resources = old.stacks.list_stack_resources().stack_name("bluegreen").send();
    let resources = old.runtime.block_on(resources).unwrap();
    let is_there =
        |id: &str| resources.stack_resource_summaries().iter().any(|it| it.logical_resource_id() == Some(id));
    assert!(is_there("BlueTaskRole") && is_there("GreenTaskRole") && !is_there("TaskRole"));
    old.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}
