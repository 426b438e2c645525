//! The example of a construct of one's own does what it says.

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "an example has a main function")]
#[path = "../examples/own_construct.rs"]
mod own_construct;

use cfn_kit::assertions::Checked;
use cfn_kit::{Stack, Template};
use infra::commands::synth;
use own_construct::{Orders, stack};
use serde_json::json;

#[test]
fn a_construct_of_one_s_own_is_in_the_template_and_refers_rightly() {
    let template = Checked::new(&stack().unwrap());
    template.has("AWS::SQS::Queue", &json!({ "MessageRetentionPeriod": 345_600 })).unwrap();
    template.has("AWS::SQS::QueuePolicy", &json!({ "Queues": [{ "Ref": "Orders" }] })).unwrap();
    template.refers_only_to_what_exists().unwrap();
    template.allows_no_wildcards(&[]).unwrap();
    let output = &template.json()["Outputs"]["OrdersArn"]["Value"];
    assert_eq!(output["Fn::GetAtt"], json!(["Orders", "Arn"]));
}

#[test]
fn its_grant_is_for_its_own_queue_only() {
    let mut stack = Stack::new("A stack");
    let grant = serde_json::to_value(Orders::new(&mut stack, 1).grant_send()).unwrap();
    assert_eq!(
        (&grant["Action"], &grant["Resource"]),
        (&json!(["sqs:SendMessage"]), &json!([{ "Fn::GetAtt": ["Orders", "Arn"] }]))
    );
}

#[test]
fn what_has_no_type_is_told_in_the_metadata_and_beside_the_template() {
    let template: Template = stack().unwrap();
    let checked = Checked::new(&template);
    let metadata = &checked.json()["Resources"]["OrdersPolicy"]["Metadata"];
    assert_eq!(metadata["Untyped"], "not checked by the construct kit");
    assert_eq!(
        synth::notes(&template),
        ["OrdersPolicy (AWS::SQS::QueuePolicy) has no Rust type: nothing has checked its properties"]
    );
}

#[test]
fn this_system_s_own_stack_has_a_type_for_everything() {
    let template = stack::synthesize(&stack::Settings::default()).unwrap();
    assert_eq!(template.untyped().count(), 0);
}
