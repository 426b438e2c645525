//! The zones of a stack, on the local cloud: selected from the zones of EC2, or read from the subnets of an existing
//! stack without the setting.

use crate::support::Cloud;
use crate::support::function::eventually;
use aws::connect_to::ConnectTo;
use deploy::DeployedStack;
use deploy::zones;
use model::stack_state::StackState;
use serde_json::json;
use stack::{DESCRIPTION, Settings};

#[test]
fn zones_are_chosen_once_and_read_from_a_stack_that_was_made_without_them() {
    let cloud = Cloud::start([90, 91]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = runtime.block_on(cloud.sdk_config());
    let clients = deploy::Cloud::new(config, ConnectTo::from_env().unwrap());

    let choose = |settings: &Settings| runtime.block_on(zones::choose(&clients, settings)).unwrap();
    let [first, second] = choose(&Settings::default());
    assert!(first != second && first.starts_with("us-east-1") && second.starts_with("us-east-1"), "{first} {second}");
    assert_eq!(choose(&Settings::default()), [first, second]);
    let named = Settings::parse("[network]\nzones = [\"us-east-1c\", \"us-east-1a\"]").unwrap();
    assert_eq!(choose(&named), ["us-east-1c", "us-east-1a"]);

    let subnet = |range: &str, zone: &str| {
        let properties = json!({ "VpcId": { "Ref": "Vpc" }, "CidrBlock": range, "AvailabilityZone": zone });
        json!({ "Type": "AWS::EC2::Subnet", "Properties": properties })
    };
    let template = json!({ "Description": DESCRIPTION, "Resources": {
        "Vpc": { "Type": "AWS::EC2::VPC", "Properties": { "CidrBlock": "10.0.0.0/16" } },
        "PublicSubnetA": subnet("10.0.0.0/24", "us-east-1b"),
        "PublicSubnetB": subnet("10.0.1.0/24", "us-east-1c"),
    } });
    let create = clients.cloudformation.create_stack().stack_name("old").template_body(template.to_string());
    runtime.block_on(create.send()).unwrap();
    let stack = eventually("the stack is made", || {
        let stack = runtime.block_on(DeployedStack::require(&clients, "old")).unwrap();
        (stack.state == StackState::CreateComplete).then_some(stack)
    });
    assert_eq!(runtime.block_on(zones::of_stack(&clients, &stack)).unwrap(), ["us-east-1b", "us-east-1c"]);
}
