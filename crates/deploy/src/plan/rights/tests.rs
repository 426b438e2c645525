//! What counts as more than before, one case after the other.

use serde_json::{Value, json};

use super::*;

fn template(resources: &Value) -> Value {
    json!({
        "Parameters": { "ProdColor": { "Default": "green" } },
        "Conditions": { "Later": { "Fn::Equals": [{ "Ref": "ProdColor" }, "blue"] } },
        "Resources": resources,
    })
}

fn one(kind: &str, properties: &Value) -> Value {
    template(&json!({ "It": { "Type": kind, "Properties": properties } }))
}

fn role(statements: &Value) -> Value {
    one("AWS::IAM::Role", &json!({ "Policies": [{ "PolicyDocument": { "Statement": statements } }] }))
}

fn ingress(rules: &Value) -> Value {
    one("AWS::EC2::SecurityGroup", &json!({ "SecurityGroupIngress": rules }))
}

fn change(id: &str, kind: &str, action: Action) -> Difference {
    Difference { id: id.to_owned(), kind: kind.to_owned(), action, properties: Vec::new(), vague: false }
}

/// What is said by the templates alone.
fn reported(before: &Value, after: &Value) -> Vec<String> {
    Rights::of(before, after).broadened(&[]).into_iter().collect()
}

/// What is said once the change set lists this action on the resource.
fn listed(before: &Value, after: &Value, action: Action) -> Vec<String> {
    let kind = after["Resources"]["It"]["Type"].as_str().unwrap_or("AWS::IAM::Role");
    Rights::of(before, after).broadened(&[change("It", kind, action)]).into_iter().collect()
}

fn everything() -> Value {
    json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })
}

fn read_only() -> Value {
    json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "b/*" })
}

#[test]
fn another_action_is_broader() {
    let before = role(&json!([read_only()]));
    let after = role(&json!([{ "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "b/*" }]));
    assert_eq!(reported(&before, &after), ["It may now s3:PutObject on b/*"]);
    assert!(reported(&after, &before).is_empty(), "less is not broader");
}

#[test]
fn what_a_wildcard_allowed_before_is_not_broader() {
    let before = role(&json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
    let after = role(&json!([read_only()]));
    assert!(reported(&before, &after).is_empty());
    assert_eq!(reported(&after, &before), ["It may now s3:* on *"]);
}

#[test]
fn losing_a_condition_or_a_denial_is_broader() {
    let statement = |extra: Value| {
        let mut statement = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "b" });
        if let (Some(fields), Value::Object(extra)) = (statement.as_object_mut(), extra) {
            fields.extend(extra);
        }
        role(&json!([statement]))
    };
    let narrow = statement(json!({ "Condition": { "Bool": { "x": "y" } } }));
    assert_eq!(reported(&narrow, &statement(json!({}))), ["It may now s3:GetObject on b"]);
    let denial = statement(json!({ "Effect": "Deny" }));
    assert_eq!(reported(&denial, &role(&json!([]))), ["It no longer denies s3:GetObject on b"]);
    assert_eq!(reported(&denial, &template(&json!({}))), ["It no longer denies s3:GetObject on b"]);
}

#[test]
fn somebody_else_who_may_assume_a_role_is_broader() {
    let trust = |service: &str| {
        let statement = json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": service } }]);
        one("AWS::IAM::Role", &json!({ "AssumeRolePolicyDocument": { "Statement": statement } }))
    };
    assert_eq!(reported(&trust("a"), &trust("b")), ["It lets b: it may now sts:AssumeRole"]);
}

#[test]
fn another_port_or_peer_of_a_security_group_is_broader() {
    let rule = |port: u16, peer: &str| json!({ "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": peer });
    let before = ingress(&json!([rule(80, "0.0.0.0/0")]));
    assert!(reported(&before, &ingress(&json!([rule(80, "10.0.0.0/8")]))).is_empty());
    let after = ingress(&json!([rule(80, "0.0.0.0/0"), rule(22, "0.0.0.0/0")]));
    assert_eq!(reported(&before, &after), ["It now lets in tcp 22 from everybody"]);
}

#[test]
fn a_grant_under_a_condition_that_does_not_hold_is_asked_about() {
    let clean = role(&json!([read_only()]));
    let poisoned = role(&json!([read_only(), { "Fn::If": ["Later", everything(), { "Ref": "AWS::NoValue" }] }]));
    assert_eq!(reported(&clean, &poisoned), ["It may now * on *"]);
    let nested = one(
        "AWS::IAM::Role",
        &json!({ "Policies": { "Fn::If": ["Later", [
        { "PolicyDocument": { "Statement": [everything()] } }], { "Ref": "AWS::NoValue" }] } }),
    );
    assert_eq!(reported(&clean, &nested), ["It may now * on *"]);
}

#[test]
fn a_grant_that_a_parameter_of_an_unchanged_template_brings_into_force_is_asked_about() {
    // Somebody deployed a template whose grants wait for a cutover; the next update only tells it that prod has changed.
    let poisoned = role(&json!([read_only(), { "Fn::If": ["Later", everything(), { "Ref": "AWS::NoValue" }] }]));
    assert!(reported(&poisoned, &poisoned).is_empty(), "nothing changes");
    assert_eq!(listed(&poisoned, &poisoned, Action::Modify), ["It may now * on *"]);
}

#[test]
fn a_role_under_a_condition_counts_as_if_it_existed() {
    let conditional = template(&json!({ "It": {
        "Type": "AWS::IAM::Role",
        "Condition": "Later",
        "Properties": { "Policies": [{ "PolicyDocument": { "Statement": [everything()] } }] },
    } }));
    assert_eq!(reported(&template(&json!({})), &conditional), ["It may now * on *"]);
    assert!(reported(&conditional, &conditional).is_empty());
    assert_eq!(listed(&conditional, &conditional, Action::Add), ["It may now * on *"]);
    assert!(listed(&conditional, &conditional, Action::Modify).is_empty(), "it exists and stays what it is");
}

#[test]
fn what_was_granted_under_one_value_of_a_condition_is_not_taken_as_granted() {
    let before = role(&json!([{ "Fn::If": ["Later", everything(), read_only()] }]));
    assert_eq!(reported(&before, &role(&json!([everything()]))), ["It may now * on *"]);
    assert!(reported(&before, &role(&json!([read_only()]))).is_empty(), "granted under both");
}

#[test]
fn what_is_not_known_is_broader() {
    let clean = role(&json!([read_only()]));
    let resource = |value: Value| role(&json!([{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": value }]));
    for value in [
        json!("{{resolve:ssm:/resource}}"),
        json!({ "Fn::ImportValue": "x" }),
        json!({ "Ref": "ProdColor" }),
        json!({ "Fn::Sub": "${ProdColor}/*" }),
    ] {
        let after = resource(value.clone());
        assert!(reported(&clean, &after).iter().any(|it| it.contains("unknown")), "{value}");
        assert!(listed(&after, &after, Action::Modify).iter().any(|it| it.contains("unknown")), "{value}");
    }
    let text = one("AWS::IAM::Policy", &json!({ "PolicyDocument": "{}" }));
    assert!(reported(&template(&json!({})), &text)[0].contains("unknown"));
    let transformed = json!({ "Transform": "Macro", "Resources": {} });
    assert!(reported(&template(&json!({})), &transformed)[0].contains("transformed"));
}

#[test]
fn what_is_not_read_of_a_resource_with_rights_is_broader_if_it_changes() {
    let policy = |role: &str| {
        one("AWS::IAM::Policy", &json!({ "PolicyDocument": { "Statement": [read_only()] }, "Roles": [role] }))
    };
    assert!(reported(&policy("a"), &policy("b"))[0].contains("unknown"), "it is attached to another role");
    let bounded = one("AWS::IAM::Role", &json!({ "PermissionsBoundary": "arn" }));
    assert!(reported(&bounded, &one("AWS::IAM::Role", &json!({})))[0].contains("unknown"));
    let tagged = one("AWS::IAM::Role", &json!({ "Tags": [{ "Key": "a", "Value": "b" }] }));
    assert!(reported(&one("AWS::IAM::Role", &json!({})), &tagged).is_empty());
    let rotated = one("AWS::KMS::Key", &json!({ "EnableKeyRotation": true }));
    assert!(reported(&one("AWS::KMS::Key", &json!({})), &rotated).is_empty());
    let user = one("AWS::IAM::User", &json!({}));
    assert!(reported(&template(&json!({})), &user)[0].contains("unknown"));
}

#[test]
fn a_role_that_neither_template_has_is_asked_about() {
    // What CloudFormation read is not the template that was meant.
    let clean = template(&json!({}));
    let found = Rights::of(&clean, &clean).broadened(&[change("Backdoor", "AWS::IAM::Role", Action::Add)]);
    assert!(found.iter().any(|it| it.starts_with("Backdoor (AWS::IAM::Role) changes")), "{found:?}");
    let found = Rights::of(&clean, &clean).broadened(&[change("Queue", "AWS::SQS::Queue", Action::Add)]);
    assert!(found.is_empty());
}
