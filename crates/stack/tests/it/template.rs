//! The synthesized template: a snapshot that a person reviews, and rules that hold for every template of this stack.

use serde_json::Value;
use stack::{Settings, synthesize};

fn template(settings: &Settings) -> Value {
    let text = synthesize(settings).unwrap().to_json().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn resources(template: &Value) -> impl Iterator<Item = (&String, &Value)> {
    template["Resources"].as_object().unwrap().iter()
}

/// Every statement of every policy in the template, with its resource.
fn statements(template: &Value) -> Vec<(String, Value)> {
    fn collect(id: &str, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(statements)) = fields.get("Statement") {
                    found.extend(statements.iter().map(|statement| (id.to_owned(), statement.clone())));
                }
                fields.values().for_each(|value| collect(id, value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(id, value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    resources(template).for_each(|(id, resource)| collect(id, resource, &mut found));
    found
}

#[test]
fn the_template_is_the_reviewed_one() {
    insta::assert_snapshot!(synthesize(&Settings::default()).unwrap().to_pretty_json().unwrap());
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let make = || synthesize(&Settings::default()).unwrap().to_json().unwrap();
    assert_eq!(make(), make());
}

#[test]
fn the_template_fits_into_an_api_call() {
    const LIMIT: usize = 51_200;
    assert!(synthesize(&Settings::default()).unwrap().to_json().unwrap().len() < LIMIT);
}

#[test]
fn what_needs_an_image_or_a_zip_waits_for_it() {
    let template = template(&Settings::default());
    for (id, condition) in [
        ("BlueService", "BlueDeployed"),
        ("BlueTaskDefinition", "BlueDeployed"),
        ("GreenService", "GreenDeployed"),
        ("GreenTaskDefinition", "GreenDeployed"),
        ("CutoverFunction", "CutoverDeployed"),
        ("CutoverInvocation", "CutoverDeployed"),
    ] {
        assert_eq!(template["Resources"][id]["Condition"], condition, "{id}");
    }
}

#[test]
fn no_listener_says_where_traffic_goes_and_each_is_deleted_before_the_target_groups() {
    let template = template(&Settings::default());
    for id in ["ProdListener", "DevListener"] {
        let actions = &template["Resources"][id]["Properties"]["DefaultActions"];
        assert_eq!(actions.as_array().unwrap().len(), 1, "{actions}");
        assert_eq!(actions[0]["Type"], "fixed-response");
        assert_eq!(actions[0]["FixedResponseConfig"]["StatusCode"], "503");
        let before = template["Resources"][id]["DependsOn"].as_array().unwrap();
        assert!(["BlueTargetGroup", "GreenTargetGroup"].iter().all(|it| before.contains(&(*it).into())), "{before:?}");
    }
}

#[test]
fn each_environment_is_addressed_by_a_permanent_rule() {
    let template = template(&Settings::default());
    for (rule, color, group) in
        [("DevBlueRule", "blue", "BlueTargetGroup"), ("DevGreenRule", "green", "GreenTargetGroup")]
    {
        let properties = &template["Resources"][rule]["Properties"];
        assert_eq!(properties["ListenerArn"]["Ref"], "DevListener");
        let header = &properties["Conditions"][0]["HttpHeaderConfig"];
        assert_eq!(header["HttpHeaderName"], "x-bluegreen-env");
        assert_eq!(header["Values"][0], color);
        assert_eq!(properties["Actions"][0]["TargetGroupArn"]["Ref"], group);
    }
}

#[test]
fn no_policy_allows_more_than_it_names() {
    /// Actions that accept no narrower resource than `*`.
    const UNSCOPED: [&str; 5] = [
        "ecr:GetAuthorizationToken",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth",
    ];
    for (id, statement) in statements(&template(&Settings::default())) {
        if statement["Effect"] == "Deny" {
            continue;
        }
        let actions: Vec<&str> =
            statement["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
        assert!(actions.iter().all(|action| !action.contains('*')), "{id}: {statement}");
        let everything = statement["Resource"].as_array().into_iter().flatten().any(|resource| resource == "*");
        if everything {
            assert!(actions.iter().all(|action| UNSCOPED.contains(action)), "{id}: {statement}");
        }
    }
}

#[test]
fn no_statement_can_lose_its_resources() {
    // IAM rejects a statement whose resources all depend on conditions that do not hold.
    for (id, statement) in statements(&template(&Settings::default())) {
        for resource in statement["Resource"].as_array().into_iter().flatten() {
            assert!(resource.get("Fn::If").is_none(), "{id}: {statement}");
        }
    }
}

#[test]
fn the_service_itself_may_do_nothing() {
    for role in ["BlueTaskRole", "GreenTaskRole"] {
        let template = template(&Settings::default());
        let properties = &template["Resources"][role]["Properties"];
        assert!(properties.is_object() && properties.get("Policies").is_none(), "{role}");
    }
}

#[test]
fn tasks_are_reached_through_the_load_balancer_only() {
    let template = template(&Settings::default());
    let ingress = &template["Resources"]["TaskSecurityGroup"]["Properties"]["SecurityGroupIngress"];
    assert_eq!(ingress.as_array().unwrap().len(), 1);
    assert_eq!(ingress[0]["SourceSecurityGroupId"]["Fn::GetAtt"][0], "LoadBalancerSecurityGroup");
    assert_eq!(ingress[0]["FromPort"], 8080);
}

#[test]
fn containers_are_confined() {
    let template = template(&Settings::default());
    for color in ["Blue", "Green"] {
        let task = &template["Resources"][format!("{color}TaskDefinition")]["Properties"];
        assert_eq!((task["Cpu"].as_str(), task["Memory"].as_str()), (Some("256"), Some("512")));
        let container = &task["ContainerDefinitions"][0];
        assert_eq!(container["User"], "65532:65532");
        assert_eq!(container["ReadonlyRootFilesystem"], true);
        assert_eq!(container["LinuxParameters"]["Capabilities"]["Drop"][0], "ALL");
        assert!(container.get("Privileged").is_none());
    }
}

#[test]
fn chosen_ports_are_literal_numbers() {
    let settings = Settings::parse("[prod]\nport = 8000\n[dev]\nport = 8001\n").unwrap();
    let template = template(&settings);
    assert_eq!(template["Resources"]["ProdListener"]["Properties"]["Port"], 8000);
    assert_eq!(template["Resources"]["DevListener"]["Properties"]["Port"], 8001);
    let url = template["Outputs"]["ProdUrl"]["Value"]["Fn::Sub"].as_str().unwrap();
    assert_eq!(url, "http://${LoadBalancer.DNSName}:8000");
}

#[test]
fn every_output_and_parameter_has_a_description() {
    let template = template(&Settings::default());
    for section in ["Outputs", "Parameters"] {
        for (id, item) in template[section].as_object().unwrap() {
            assert!(item["Description"].as_str().is_some_and(|text| text.len() > 10), "{section} {id}");
        }
    }
}

#[test]
fn tags_are_on_everything_that_has_tags() {
    let template = template(&Settings::parse("[tags]\nteam = 'web'\n").unwrap());
    for (id, resource) in resources(&template) {
        if let Some(tags) = resource["Properties"].get("Tags") {
            assert!(tags.as_array().unwrap().iter().any(|tag| tag["Key"] == "team" && tag["Value"] == "web"), "{id}");
        }
    }
}

#[test]
fn secrets_are_references_that_only_ecs_may_read() {
    let secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3";
    let settings = format!("[environment]\nLEVEL = 'info'\n[secrets]\nDB = '{secret}:password::'\n");
    let template = template(&Settings::parse(&settings).unwrap());
    let container = &template["Resources"]["BlueTaskDefinition"]["Properties"]["ContainerDefinitions"][0];
    assert_eq!(container["Environment"][1], serde_json::json!({ "Name": "LEVEL", "Value": "info" }));
    assert_eq!(container["Secrets"][0]["ValueFrom"], format!("{secret}:password::"));
    let reading: Vec<(String, Value)> = statements(&template)
        .into_iter()
        .filter(|(_, statement)| statement["Action"][0] == "secretsmanager:GetSecretValue")
        .collect();
    let readers: Vec<&str> = reading.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(readers, ["BlueExecutionRole", "GreenExecutionRole"]);
    assert!(reading.iter().all(|(_, statement)| statement["Resource"] == serde_json::json!([secret])));
}

#[test]
fn nothing_survives_the_stack() {
    for (id, resource) in resources(&template(&Settings::default())) {
        assert!(resource.get("DeletionPolicy").is_none_or(|policy| policy == "Delete"), "{id}");
    }
}
