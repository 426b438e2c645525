//! An ARN of a role is none of a log group.

use cfn_kit::resources::iam::Role;
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::{Arn, Expr, Ref};

fn right(role: Ref<Role>) -> Expr<Arn<Role>> {
    role.arn()
}

fn wrong(log: Ref<LogGroup>) -> Expr<Arn<Role>> {
    log.arn()
}

fn main() {}
