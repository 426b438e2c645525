//! Additions to the stack from another program, without a change here: more resources, and permissions of the service.
//! Must not know what is added.

use std::fmt;

use cfn_kit::resources::iam::InlinePolicy;
use cfn_kit::resources::sns::Topic;
use cfn_kit::{PolicyDocument, Ref, Stack, Statement};
use model::Color;

use crate::part::Marking;
use crate::storage::Storage;
use crate::{Both, Environment, Fleet, LoadBalancing, Network, title};

/// Adds resources to a stack after its constructs are complete.
pub type Extend = fn(&mut Stack, &Built<'_>);

/// The constructs of the stack, for references from an extension.
pub struct Built<'a> {
    /// VPC, subnets, and security groups.
    pub network: &'a Network,
    /// The registry and the stack's bucket.
    pub storage: &'a Storage,
    /// The load balancer with its listeners and target groups.
    pub balancer: &'a LoadBalancing,
    /// The cluster, and the roles of the tasks.
    pub fleet: &'a Fleet,
    /// The services.
    pub environments: &'a Both<Environment>,
    /// The topic of the alarms, if there are alarms.
    pub alarms: Option<&'a Ref<Topic>>,
}

impl Built<'_> {
    /// Lets the service in both environments do what the statements allow.
    ///
    /// Each environment gets its own policy. So a release changes only the permissions of the environment that it is
    /// deployed to, and after a rollback users are served with the earlier permissions. `name` consists of letters and
    /// digits and is unique in the stack.
    pub fn grant_tasks(&self, stack: &mut Stack, name: &str, statements: &[Statement]) {
        for color in Color::ALL {
            let stack = &mut stack.serving_half(color);
            let policy = stack.add(
                &format!("{}{name}Policy", title(color)),
                InlinePolicy {
                    policy_name: name.to_owned(),
                    policy_document: PolicyDocument::new(statements.to_vec()),
                    roles: vec![self.fleet.task_role(color).name()],
                },
            );
            // The policy must exist before the first task starts.
            stack.after(&self.environments.of(color).service, &policy);
        }
    }
}

/// An extension in the settings; none by default. It is code, so the comparison of settings ignores it.
#[derive(Clone, Copy, Default)]
pub struct Extension(Option<Extend>);

impl Extension {
    /// This extension.
    pub const fn new(extend: Extend) -> Self {
        Self(Some(extend))
    }

    /// Adds to the stack.
    pub(crate) fn apply(self, stack: &mut Stack, built: &Built<'_>) {
        if let Some(extend) = self.0 {
            extend(stack, built);
        }
    }
}

impl PartialEq for Extension {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Extension {}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Extension" } else { "None" })
    }
}
