//! Third stage: what a deployment would do, computed before the lease is taken, so that a person who thinks keeps no
//! cutover waiting.

use deploy::plan::{State, Subject, Traffic};
use deploy::{ChangeSet, Plan, Source, zones};
use model::color::Color;
use serde_json::Value;
use stack::{Both, FIRST_PROD};

use super::confirm::{Agreed, Confirmed};
use super::observe::Observed;
use super::project::Project;
use super::spec::{self, Outcome, Spec};
use super::{Job, changes_found, require_first_version};
use crate::artifacts::{self, Release};
use crate::error::{Doing as _, Result};
use crate::synthesis;

/// The labels of versions; empty if nothing runs.
pub(super) fn versions(releases: &Both<Option<Release>>) -> Both<String> {
    Both::make(|color| releases.of(color).as_ref().map_or_else(String::new, |it| it.version.clone()))
}

/// A deployment with its plan.
pub(super) struct Planned {
    observed: Observed,
    spec: Spec,
    outcome: Outcome,
    plan: Plan,
}

impl Planned {
    /// The plan by the templates and their parameters alone.
    pub(super) fn new(job: Job<'_>, observed: Observed, spec: Spec) -> Result<Self> {
        let outcome = spec.expected_outcome(&job.context.settings, &observed)?;
        let mut plan = of_update(job, &observed, &outcome, &spec)?;
        plan.waiting = spec::waiting(job.context, &observed, &spec);
        Ok(Self { observed, spec, outcome, plan })
    }

    /// The plan with the replacements from a change set.
    pub(super) async fn exact(self, job: Job<'_>) -> Result<Plan> {
        let Self { observed, outcome, plan, .. } = self;
        if plan.is_empty() {
            return Ok(plan);
        }
        let text = spec::text(&outcome.template)?;
        let source = Source::Text { text: &text, bucket: &observed.outputs.bucket };
        let (cloud, stack) = (job.cloud, &observed.stack.name);
        let change = ChangeSet::prepare(cloud, stack, false, source, &spec::given(&outcome.parameters)).await?;
        let Some(change) = change else { return Ok(plan.without_changes()) };
        ChangeSet::discard(cloud, stack, &change.id).await?;
        Ok(plan.with_change_set(&change.changes))
    }

    /// Asks for confirmation of what nobody should do without being asked.
    pub(super) async fn confirm(self, job: Job<'_>) -> Result<Confirmed> {
        let Self { spec, plan, .. } = self;
        if job.request.expect_no_changes && !plan.is_empty() {
            return Err(changes_found(&plan));
        }
        let concerns = plan.concerns();
        job.context.confirm(&plan, concerns.clone()).await?;
        Ok(Confirmed { spec, agreed: Agreed::To(concerns) })
    }
}

/// The plan of an update that leads to this.
pub(super) fn of_update(job: Job<'_>, observed: &Observed, outcome: &Outcome, spec: &Spec) -> Result<Plan> {
    let Outcome { template, releases, parameters } = outcome;
    let live = observed.traffic.live()?.unwrap_or(FIRST_PROD);
    let traffic = Traffic::new(live, &versions(&releases.before), &versions(&releases.after));
    let subject = Subject { stack: &job.context.stack, region: job.cloud.region() };
    // The zones that the subnets of a stack are in whose template asks for the first ones.
    let zones = spec.zones.as_ref();
    let deployed = zones.map_or_else(|| observed.template.clone(), |zones| zones::put_in(&observed.template, zones));
    let before = State { template: &deployed, values: &observed.stack.parameters };
    let after = State { template, values: parameters };
    Ok(Plan::of_update(subject, traffic, before, after))
}

/// The plan of a creation: both environments on one version. `there` is the template of an incomplete stack.
pub(super) async fn of_creation(job: Job<'_>, project: &Project, there: &Value) -> Result<Plan> {
    require_first_version(job)?;
    let context = job.context;
    let function = artifacts::function(context, project.workspace.function_source(), &project.cached).await?;
    let spec = Spec { function: Some(function), app: None, environments: Color::ALL.to_vec(), zones: None };
    let new = synthesis::template(&context.settings)?;
    let new: Value = serde_json::to_value(new).doing(|| "write the template".to_owned())?;
    let version = context.settings.app.first_version.as_str();
    // Any image will do: it is named only after the registry exists.
    let image = format!("app@sha256:{}", "0".repeat(64));
    let release = Some(Release { image, version: version.to_owned(), number: Some(1) });
    let after = spec.parameters(None, &new, &Both::make(|_| release.clone()));
    let versions = |label: &str| Both::make(|_| label.to_owned());
    let traffic = Traffic::new(FIRST_PROD, &versions(""), &versions(version));
    let subject = Subject { stack: &context.stack, region: job.cloud.region() };
    let before = State { template: there, values: &after };
    Ok(Plan::of_creation(subject, traffic, before, State { template: &new, values: &after }))
}
