//! A reference to a subnet is none to a target group.

use cfn_kit::Ref;
use cfn_kit::resources::ec2::Subnet;
use cfn_kit::resources::elbv2::TargetGroup;

fn right(group: &Ref<TargetGroup>) -> &Ref<TargetGroup> {
    group
}

fn wrong(subnet: &Ref<Subnet>) -> &Ref<TargetGroup> {
    subnet
}

fn main() {}
