//! What you add to the stack from a program of your own, without a change here: resources beside its constructs, and
//! permissions of the service. Must not know what is added.

use std::fmt;

use cfn_kit::resources::iam::InlinePolicy;
use cfn_kit::resources::sns::Topic;
use cfn_kit::{PolicyDocument, Ref, Stack, Statement};
use model::Color;

use crate::part::Marking;
use crate::storage::Storage;
use crate::{Both, Environment, Fleet, LoadBalancing, Network, title};

/// Adds to a stack whose own constructs are complete.
pub type Extend = fn(&mut Stack, &Built<'_>);

/// The stack's own constructs, for an extension to refer to.
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
    /// Each environment gets a policy in its own half of the template, so a release changes the permissions of the environment
    /// that it goes to, and a rollback gives back those that were there. `name` is unique in the stack: letters and digits.
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
            // Tasks may use the permission from their first second.
            stack.after(&self.environments.of(color).service, &policy);
        }
    }
}

/// An extension that settings carry; none by default. It is code: settings are equal whatever extends them.
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
