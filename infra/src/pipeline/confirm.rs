//! Fourth stage: what was agreed to before the lease is taken.

use std::collections::BTreeSet;

use deploy::Plan;

use super::Job;
use super::spec::Spec;
use crate::error::Result;

/// A deployment that may be applied.
pub(super) struct Confirmed {
    pub(super) spec: Spec,
    pub(super) agreed: Agreed,
}

/// What was agreed to.
pub(super) enum Agreed {
    /// Everything: the stack is being created, and nothing of it is in use.
    ToEverything,
    /// These concerns of the plan.
    To(BTreeSet<String>),
}

impl Agreed {
    /// Asks for what the exact plan contains beyond what was agreed to.
    pub(super) async fn covers(&self, job: Job<'_>, plan: &Plan) -> Result<()> {
        let Self::To(confirmed) = self else { return Ok(()) };
        let news: BTreeSet<String> = plan.concerns().difference(confirmed).cloned().collect();
        job.context.confirm(plan, news).await
    }
}
