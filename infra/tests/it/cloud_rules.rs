//! The rules that route traffic, on the local cloud: a deleted rule is detected and created again from the records of
//! cutovers; other rules on the same listeners do not change.

use crate::support::function::{Function, eventually};
use crate::support::{Cloud, Said, get, project};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, PathPatternConditionConfig, RuleCondition,
};
use serde_json::Value;

struct Rules<'a> {
    cloud: &'a Cloud,
    function: Function<'a>,
    runtime: tokio::runtime::Runtime,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
}

impl<'a> Rules<'a> {
    fn new(cloud: &'a Cloud) -> Self {
        cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let balancers = aws_sdk_elasticloadbalancingv2::Client::new(&runtime.block_on(cloud.sdk_config()));
        Self { cloud, function: Function::of(cloud), runtime, balancers }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.cloud.run_in(&project().join("local/faulty"), arguments)
    }

    fn cut_over(&self) {
        self.run(&["cutover", "--probes", "20", "--interval", "20ms", "--settle", "100ms"]).expect(0);
    }

    /// The rule of a listener that routes traffic.
    fn carrying(&self, listener: &str) -> String {
        let of_traffic = |(rule, priority): (String, String)| (priority == "50000").then_some(rule);
        self.of(listener).into_iter().find_map(of_traffic).unwrap()
    }

    /// The rules of a listener except the default: ARN and priority.
    fn of(&self, listener: &str) -> Vec<(String, String)> {
        let rules = self.balancers.describe_rules().listener_arn(&self.function.outputs[listener]).send();
        let rules = self.runtime.block_on(rules).unwrap().rules.unwrap();
        let others = rules.into_iter().filter(|rule| rule.is_default != Some(true));
        others.map(|rule| (rule.rule_arn.unwrap(), rule.priority.unwrap())).collect()
    }

    fn delete(&self, rule: &str) {
        self.runtime.block_on(self.balancers.delete_rule().rule_arn(rule).send()).unwrap();
    }

    fn drift(&self) -> Vec<String> {
        let status = self.run(&["--json", "status"]).expect(0).json();
        let drift = status["drift"].as_array().unwrap();
        drift.iter().map(|it: &Value| it["listener"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until prod gives this answer, because a load balancer follows its rules with a delay.
#[track_caller]
fn until(cloud: &Cloud, path: &str, status: u16) {
    eventually(&format!("{path} answers {status}"), || (get(&cloud.address(0), path).status == status).then_some(()));
}

#[test]
fn a_rule_that_is_deleted_by_hand_is_seen_and_made_again_where_it_was() {
    let cloud = Cloud::start([90, 91]);
    let rules = Rules::new(&cloud);
    rules.cut_over();
    assert_eq!(rules.function.sides(), ("blue".to_owned(), "green".to_owned()));
    assert_eq!(rules.drift(), Vec::<String>::new());

    for (listener, name) in [("ProdListenerArn", "prod"), ("DevListenerArn", "dev")] {
        rules.delete(&rules.carrying(listener));
        assert_eq!(rules.drift(), [name]);
        let checks = rules.run(&["doctor"]);
        assert!(checks.out.contains("bluegreen reconcile"), "{}", checks.out);
        if name == "prod" {
            until(&cloud, "/", 503);
            // Only a reconcile knows its previous target.
            let refused = rules.run(&["cutover"]);
            assert_eq!(refused.code, 3, "{}", refused.err);
        }
        rules.run(&["reconcile"]).expect(0);
        assert_eq!(rules.function.sides(), ("blue".to_owned(), "green".to_owned()));
        assert_eq!(rules.drift(), Vec::<String>::new());
    }
    assert_eq!(get(&cloud.address(0), "/").status, 200);
}

#[test]
fn rules_of_others_are_never_touched() {
    let cloud = Cloud::start([90, 91]);
    let rules = Rules::new(&cloud);
    let condition = RuleCondition::builder()
        .field("path-pattern")
        .path_pattern_config(PathPatternConditionConfig::builder().values("/teapot").build())
        .build();
    let answer = FixedResponseActionConfig::builder().status_code("418").build();
    let action = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(answer).build();
    let make = rules.balancers.create_rule().listener_arn(&rules.function.outputs["ProdListenerArn"]);
    let make = make.priority(7).conditions(condition).actions(action).send();
    rules.runtime.block_on(make).unwrap();
    let before = rules.of("ProdListenerArn");
    until(&cloud, "/teapot", 418);
    rules.cut_over();
    rules.run(&["reconcile"]).expect(0);
    rules.run(&["deploy", "--version", "4"]).expect(0);
    assert_eq!(rules.of("ProdListenerArn"), before);
    assert_eq!(get(&cloud.address(0), "/teapot").status, 418);
    assert_eq!(rules.function.sides(), ("blue".to_owned(), "green".to_owned()));
    rules.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}
