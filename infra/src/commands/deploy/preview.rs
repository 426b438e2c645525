//! What a deployment would do, computed before the lease is taken, so that a person who thinks keeps no cutover waiting.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::publish::Release;
use super::super::{Context, synth};
use super::observe::Observed;
use super::wanted::{self, Releases, Wanted};
use crate::cloud::Cloud;
use crate::deploy::plan::{Plan, State, Subject, Traffic, Values};
use crate::error::{Doing, Result};
use crate::zones;
use stack::{Both, FIRST_PROD};

/// The labels of versions; empty if nothing runs.
pub(super) fn versions(releases: &Both<Option<Release>>) -> Both<String> {
    Both::make(|color| releases.of(color).as_ref().map_or_else(String::new, |it| it.version.clone()))
}

/// What a deployment comes to: template, releases and parameters. Numbers of releases are those that are free as far as
/// the stack says.
pub(super) fn outcome(
    context: &Context,
    observed: &Observed,
    wanted: &Wanted<'_>,
) -> Result<(Value, Releases, BTreeMap<String, String>)> {
    let template = wanted.template(&context.settings, observed)?;
    let release = wanted.app.as_ref().map(|app| app.release(&observed.outputs.registry_uri));
    let releases = wanted.releases(observed, release.as_ref(), &template, observed.highest_number() + 1);
    let parameters = wanted.parameters(Some(observed), &template, &releases.after);
    Ok((template, releases, parameters))
}

/// The plan of an update, by the templates and their parameters alone.
pub(super) fn of_update(context: &Context, cloud: &Cloud, observed: &Observed, wanted: &Wanted<'_>) -> Result<Plan> {
    let (template, releases, parameters) = outcome(context, observed, wanted)?;
    let mut plan = plan(context, cloud, observed, (&template, &releases, &parameters), wanted.zones.as_ref())?;
    plan.waiting = wanted::waiting(context, observed, wanted);
    Ok(plan)
}

/// The plan of an update to this template with these parameters. `zones` are those that the subnets of a stack are in
/// whose template asks for the first ones.
pub(super) fn plan(
    context: &Context,
    cloud: &Cloud,
    observed: &Observed,
    (template, releases, parameters): (&Value, &Releases, &Values),
    zones: Option<&[String; 2]>,
) -> Result<Plan> {
    let live = observed.traffic.live()?.unwrap_or(FIRST_PROD);
    let traffic = Traffic::new(live, &versions(&releases.before), &versions(&releases.after));
    let subject = Subject { stack: &context.stack, region: cloud.region() };
    let deployed = zones.map_or_else(|| observed.template.clone(), |zones| zones::put_in(&observed.template, zones));
    let before = State { template: &deployed, values: &observed.stack.parameters };
    let after = State { template, values: parameters };
    Ok(Plan::of_update(subject, traffic, before, after))
}

/// The plan of a creation: both environments on one version. `there` is the template of an incomplete stack.
pub(super) fn of_creation(context: &Context, cloud: &Cloud, there: &Value, wanted: &Wanted<'_>) -> Result<Plan> {
    let new = synth::template(&context.settings)?;
    let new: Value = serde_json::to_value(new).doing(|| "write the template".to_owned())?;
    let version = context.settings.app.first_version.as_str();
    // Any image will do: it is named only after the registry exists.
    let image = format!("app@sha256:{}", "0".repeat(64));
    let release = Some(Release { image, version: version.to_owned(), number: Some(1) });
    let after = wanted.parameters(None, &new, &Both::make(|_| release.clone()));
    let versions = |label: &str| Both::make(|_| label.to_owned());
    let traffic = Traffic::new(FIRST_PROD, &versions(""), &versions(version));
    let subject = Subject { stack: &context.stack, region: cloud.region() };
    let before = State { template: there, values: &after };
    Ok(Plan::of_creation(subject, traffic, before, State { template: &new, values: &after }))
}
