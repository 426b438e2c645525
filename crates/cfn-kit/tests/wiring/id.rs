//! An id of a security group is none of a subnet.

use cfn_kit::resources::ec2::{SecurityGroup, Subnet};
use cfn_kit::{Expr, Id, Ref};

fn right(subnet: Ref<Subnet>) -> Vec<Expr<Id<Subnet>>> {
    vec![subnet.id()]
}

fn wrong(group: Ref<SecurityGroup>) -> Vec<Expr<Id<Subnet>>> {
    vec![group.id()]
}

fn main() {}
