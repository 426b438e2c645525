//! Sixth stage: brings the stack to the desired state, through a change set that is read before it is executed.

use deploy::{
    ChangeSet, Cloud, DeployedStack, Expected, Rules, Source, Traffic, follow_operation, refuse_live_changes, sleeps,
    until_answered, wake,
};
use model::color::Color;
use stack::outputs::Outputs;

use super::lock::ObservedAgain;
use super::observe::Observed;
use super::plan::of_update;
use super::records::ReleaseRecords;
use super::spec::{self, Outcome, Releases, Spec};
use super::{Job, changes_found};
use crate::context::Context;
use crate::error::Result;

/// A deployment that CloudFormation has applied, or refused.
pub(super) struct Applied {
    pub(super) spec: Spec,
    /// The stack before.
    pub(super) observed: Observed,
    pub(super) outcome: Outcome,
    pub(super) records: ReleaseRecords,
    /// The outputs after, or why it was not applied.
    pub(super) result: Result<Outputs>,
}

impl ObservedAgain {
    /// Numbers the releases, and applies what changes. The error of a change is in what it returns: the records of its
    /// releases are not ended yet.
    pub(super) async fn apply(self, job: Job<'_>) -> Result<Applied> {
        let Self { spec, agreed, observed, image } = &self;
        let settings = &job.context.settings;
        let ledger = job.cloud.releases(&observed.outputs.bucket);
        let highest = observed.highest_number();
        let mut outcome = spec.outcome(settings, observed, image.as_ref(), highest + 1)?;
        if outcome.releases.differ() {
            let next = ledger.next(highest).await?;
            outcome = spec.outcome(settings, observed, image.as_ref(), next)?;
        }
        wake_what_is_deployed_to(job, &observed.outputs, spec).await?;
        let mut records = ReleaseRecords::new(ledger);
        let change = Change { spec, observed, outcome: &outcome };
        let result = Box::pin(change.execute(job, agreed, &mut records)).await;
        let Self { spec, observed, .. } = self;
        Ok(Applied { spec, observed, outcome, records, result })
    }
}

/// A change of the stack before its execution.
struct Change<'a> {
    spec: &'a Spec,
    observed: &'a Observed,
    outcome: &'a Outcome,
}

impl Change<'_> {
    /// Brings the stack to the desired state, and returns its new outputs.
    async fn execute(
        &self,
        job: Job<'_>,
        agreed: &super::confirm::Agreed,
        records: &mut ReleaseRecords,
    ) -> Result<Outputs> {
        let Job { context, cloud, .. } = job;
        let Self { observed, outcome, .. } = self;
        let stack = &observed.stack;
        let timer = context.listener.start(format!("update stack {}", context.stack));
        if outcome.is_there(observed) {
            timer.finish(&*context.listener, "nothing to change");
            return Ok(observed.outputs.clone());
        }
        let text = spec::text(&outcome.template)?;
        let source = Source::Text { text: &text, bucket: stack.bucket()? };
        let set = ChangeSet::prepare(cloud, &stack.name, false, source, &spec::given(&outcome.parameters)).await?;
        let Some(set) = set else {
            timer.finish(&*context.listener, "nothing to change");
            return Ok(observed.outputs.clone());
        };
        let permitted = async {
            self.permit(job, &set, agreed).await?;
            records.begin(job, &outcome.releases).await
        };
        if let Err(refusal) = permitted.await {
            ChangeSet::discard(cloud, &stack.name, &set.id).await?;
            return Err(refusal);
        }
        let changed = outcome.releases.changed().into_iter();
        let expected: Vec<Expected> = changed.filter_map(|color| expected(color, &outcome.releases)).collect();
        execute(context, cloud, stack, &set, &expected).await?;
        timer.finish(&*context.listener, format!("{} resources changed", set.changes.len()));
        outputs_now(context, cloud).await
    }

    /// Whether the change may be executed: by the rules about live traffic, by the request, and by the person who must
    /// agree to more than was shown before.
    async fn permit(&self, job: Job<'_>, set: &ChangeSet, agreed: &super::confirm::Agreed) -> Result<()> {
        let Self { spec, observed, outcome } = self;
        let request = job.request;
        let plan = of_update(job, observed, outcome, spec)?.with_change_set(&set.changes);
        if request.expect_no_changes {
            return Err(changes_found(&plan));
        }
        let rules = Rules {
            live: observed.traffic.live()?,
            target: spec.environments.first().copied(),
            force: request.allowed.live_version,
            allow_live_changes: request.allowed.live_changes,
            rules_carry_traffic: observed.traffic.by_rules,
        };
        refuse_live_changes(&plan, rules)?;
        agreed.covers(job, &plan).await
    }
}

/// What an environment will run.
fn expected(color: Color, releases: &Releases) -> Option<Expected> {
    let release = releases.after.of(color).as_ref()?;
    Some(Expected { color, image: release.image.clone() })
}

/// Executes a change set under a lease that outlives this command, and follows it to its end.
pub(super) async fn execute(
    context: &Context,
    cloud: &Cloud,
    stack: &DeployedStack,
    change: &ChangeSet,
    expected: &[Expected],
) -> Result<()> {
    let begin = async { Ok(change.execute(cloud, &stack.name).await?) };
    let resources = change.resources();
    let operation = context.operation(cloud, stack, &resources).as_update(expected);
    context.covered(cloud, Box::pin(follow_operation(operation, begin))).await
}

/// The stack's outputs after an operation of it.
pub(super) async fn outputs_now(context: &Context, cloud: &Cloud) -> Result<Outputs> {
    let read = async || DeployedStack::require(cloud, &context.stack).await?.outputs();
    Ok(until_answered(&*context.listener, read).await?)
}

/// Where traffic goes after a deployment.
pub(super) async fn traffic_now(context: &Context, cloud: &Cloud, outputs: &Outputs) -> Result<Traffic> {
    Ok(until_answered(&*context.listener, async || cloud.traffic(&context.stack, outputs).await).await?)
}

/// Starts the tasks of an environment that sleeps and gets a version now.
async fn wake_what_is_deployed_to(job: Job<'_>, outputs: &Outputs, spec: &Spec) -> Result<()> {
    let Job { context, cloud, request } = job;
    if !context.settings.idle_sleeps() || request.version.is_none() {
        return Ok(());
    }
    for color in &spec.environments {
        if sleeps(cloud, outputs, *color).await? {
            let timer = context.listener.start(format!("wake {color}"));
            wake(cloud, outputs, *color, context.settings.app.count.get()).await?;
            timer.finish(&*context.listener, "its tasks are starting");
        }
    }
    Ok(())
}
