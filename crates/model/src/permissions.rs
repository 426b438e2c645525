//! Every AWS API call that the function makes, and the resources that the call needs. The stack derives the function's
//! policy from this list, and a client with `aws::OnlyPermitted` makes no other call, so the policy is always complete.
//! Must not know how a policy is written.

/// The resources that a permission is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The prod and dev listeners, to create their rules.
    Listeners,
    /// The rules of prod and dev that carry the function's tags.
    Rules,
    /// The rules that the function creates, to tag them.
    NewRules,
    /// The load balancer as a whole: these calls accept no narrower resource.
    Traffic,
    /// The environments' services.
    Services,
    /// The environments' services, to scale them. Needed only if an idle environment sleeps.
    Scaling,
    /// The event bus.
    EventBus,
    /// The objects of the ledger.
    LedgerObjects,
    /// The bucket of the ledger, to list it.
    LedgerList,
}

impl Scope {
    /// Every scope.
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
    /// The resources that the call needs.
    pub scope: Scope,
}

const fn call(operation: (&'static str, &'static str), action: &'static str, scope: Scope) -> Call {
    Call { operation, action, scope }
}

/// All calls of the function.
pub const CALLS: [Call; 13] = [
    call((ELB, "CreateRule"), "elasticloadbalancing:CreateRule", Scope::Listeners),
    call((ELB, "ModifyRule"), "elasticloadbalancing:ModifyRule", Scope::Rules),
    // CreateRule with tags needs it: https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-permissions.html
    call((ELB, "AddTags"), "elasticloadbalancing:AddTags", Scope::NewRules),
    call((ELB, "DescribeRules"), "elasticloadbalancing:DescribeRules", Scope::Traffic),
    call((ELB, "DescribeTags"), "elasticloadbalancing:DescribeTags", Scope::Traffic),
    call((ELB, "DescribeTargetGroupAttributes"), "elasticloadbalancing:DescribeTargetGroupAttributes", Scope::Traffic),
    call((ELB, "DescribeTargetHealth"), "elasticloadbalancing:DescribeTargetHealth", Scope::Traffic),
    call(("ECS", "DescribeServices"), "ecs:DescribeServices", Scope::Services),
    call(("ECS", "UpdateService"), "ecs:UpdateService", Scope::Scaling),
    call(("EventBridge", "PutEvents"), "events:PutEvents", Scope::EventBus),
    call(("S3", "GetObject"), "s3:GetObject", Scope::LedgerObjects),
    call(("S3", "PutObject"), "s3:PutObject", Scope::LedgerObjects),
    call(("S3", "ListObjectsV2"), "s3:ListBucket", Scope::LedgerList),
];

const ELB: &str = "Elastic Load Balancing v2";

/// The IAM actions that the function needs in a scope.
pub fn actions(scope: Scope) -> Vec<&'static str> {
    CALLS.iter().filter(|call| call.scope == scope).map(|call| call.action).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_has_a_call_and_every_call_a_scope() {
        for scope in Scope::ALL {
            assert!(!actions(scope).is_empty(), "{scope:?}");
        }
        assert_eq!(Scope::ALL.into_iter().flat_map(actions).count(), CALLS.len());
    }
}
