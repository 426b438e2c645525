//! Every AWS API call that the function makes, and what it makes it on. The stack derives the function's policy from this
//! list, and a client that is made with `aws::OnlyPermitted` makes no other call: so the policy cannot have fallen behind.
//! Must not know how a policy is written.

/// What a call is made on: what a permission for it is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The prod and dev listeners, to make their rules.
    Listeners,
    /// The rules of prod and dev that the function made: those with its tags.
    Rules,
    /// The rules that the function is just making, to tag them.
    NewRules,
    /// The load balancer as a whole: these calls accept no narrower resource.
    Traffic,
    /// The environments' services.
    Services,
    /// The environments' services, to scale them: only where an idle environment sleeps.
    Scaling,
    /// The event bus.
    EventBus,
    /// The objects of the ledger.
    LedgerObjects,
    /// The bucket of the ledger, to list it.
    LedgerList,
}

impl On {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Listeners,
        Self::Rules,
        Self::NewRules,
        Self::Traffic,
        Self::Services,
        Self::Scaling,
        Self::EventBus,
        Self::LedgerObjects,
        Self::LedgerList,
    ];
}

/// One API call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service and the operation, as the SDK names them.
    pub operation: (&'static str, &'static str),
    /// The action of IAM that permits it.
    pub action: &'static str,
    /// What it is made on.
    pub on: On,
}

const fn call(operation: (&'static str, &'static str), action: &'static str, on: On) -> Call {
    Call { operation, action, on }
}

/// All calls of the function.
pub const CALLS: [Call; 13] = [
    call((ELB, "CreateRule"), "elasticloadbalancing:CreateRule", On::Listeners),
    call((ELB, "ModifyRule"), "elasticloadbalancing:ModifyRule", On::Rules),
    // CreateRule with tags needs it: https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-permissions.html
    call((ELB, "AddTags"), "elasticloadbalancing:AddTags", On::NewRules),
    call((ELB, "DescribeRules"), "elasticloadbalancing:DescribeRules", On::Traffic),
    call((ELB, "DescribeTags"), "elasticloadbalancing:DescribeTags", On::Traffic),
    call((ELB, "DescribeTargetGroupAttributes"), "elasticloadbalancing:DescribeTargetGroupAttributes", On::Traffic),
    call((ELB, "DescribeTargetHealth"), "elasticloadbalancing:DescribeTargetHealth", On::Traffic),
    call(("ECS", "DescribeServices"), "ecs:DescribeServices", On::Services),
    call(("ECS", "UpdateService"), "ecs:UpdateService", On::Scaling),
    call(("EventBridge", "PutEvents"), "events:PutEvents", On::EventBus),
    call(("S3", "GetObject"), "s3:GetObject", On::LedgerObjects),
    call(("S3", "PutObject"), "s3:PutObject", On::LedgerObjects),
    call(("S3", "ListObjectsV2"), "s3:ListBucket", On::LedgerList),
];

const ELB: &str = "Elastic Load Balancing v2";

/// The actions of IAM that the function needs on something.
pub fn actions(on: On) -> Vec<&'static str> {
    CALLS.iter().filter(|call| call.on == on).map(|call| call.action).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_on_something_and_everything_has_a_call() {
        for on in On::ALL {
            assert!(!actions(on).is_empty(), "{on:?}");
        }
        assert_eq!(On::ALL.into_iter().flat_map(actions).count(), CALLS.len());
    }
}
