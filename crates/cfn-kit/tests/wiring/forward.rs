//! A listener forwards to a target group, not to a load balancer's listener.

use cfn_kit::Ref;
use cfn_kit::resources::elbv2::{Action, Listener, TargetGroup};

fn right(group: Ref<TargetGroup>) -> Action {
    Action::forward(group.arn())
}

fn wrong(listener: Ref<Listener>) -> Action {
    Action::forward(listener.arn())
}

fn main() {}
