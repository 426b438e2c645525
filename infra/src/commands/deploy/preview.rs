//! What a deployment would do, computed before the lock is taken, so that a person who thinks keeps no cutover waiting.

use cutover_lambda::color::Color;

use super::super::Context;
use super::super::publish::Release;
use super::Wanted;
use crate::cloud::{Cloud, DeployedStack};
use crate::deploy::Parameters;
use crate::deploy::plan::{Plan, State, Subject, Traffic, Values};
use crate::error::{Calling, Doing, Result};
use crate::stack::{Both, FIRST_PROD, parameter};

/// What each environment runs, and will run.
#[derive(Clone, Debug)]
pub(super) struct Releases {
    pub(super) before: Both<Option<Release>>,
    pub(super) after: Both<Option<Release>>,
}

impl Releases {
    /// With `release` on each of the wanted environments.
    pub(super) fn new(stack: &DeployedStack, wanted: &Wanted<'_>, release: Option<&Release>) -> Self {
        let before = Both::make(|color| current(stack, color));
        let after = Both::make(|color| match release {
            Some(release) if wanted.environments.contains(&color) => Some(release.clone()),
            _ => before.of(color).clone(),
        });
        Self { before, after }
    }

    /// Whether any environment gets something else.
    pub(super) fn differ(&self) -> bool {
        self.before.blue != self.after.blue || self.before.green != self.after.green
    }
}

/// What the stack says an environment runs.
fn current(stack: &DeployedStack, color: Color) -> Option<Release> {
    let image = stack.parameter(parameter::image(color));
    (!image.is_empty())
        .then(|| Release { image: image.to_owned(), version: stack.parameter(parameter::version(color)).to_owned() })
}

/// The parameters under which the environments run `releases`.
pub(super) fn parameters(code: &str, releases: &Both<Option<Release>>) -> Parameters {
    let mut parameters = Parameters::from([(parameter::CUTOVER_CODE, Some(code.to_owned()))]);
    for color in Color::ALL {
        let (image, version) = releases
            .of(color)
            .as_ref()
            .map_or_else(Default::default, |release| (release.image.clone(), release.version.clone()));
        parameters.insert(parameter::image(color), Some(image));
        parameters.insert(parameter::version(color), Some(version));
    }
    parameters
}

/// The template that the stack was last deployed with; nothing where it is not JSON, so not this command's.
pub(in crate::commands) async fn deployed_template(cloud: &Cloud, stack: &DeployedStack) -> Result<serde_json::Value> {
    let answer = cloud
        .cloudformation
        .get_template()
        .stack_name(&stack.id)
        .template_stage(aws_sdk_cloudformation::types::TemplateStage::Original)
        .send()
        .await
        .calling(|| format!("read the template of stack {}", stack.name))?;
    Ok(serde_json::from_str(answer.template_body().unwrap_or_default()).unwrap_or_default())
}

/// The plan of an update, by the templates and their parameters alone.
pub(super) fn of_update(
    context: &Context,
    cloud: &Cloud,
    deployed: &Deployed<'_>,
    wanted: &Wanted<'_>,
    releases: &Releases,
) -> Result<Plan> {
    let new = serde_json::from_str(wanted.template).doing(|| "read the template".to_owned())?;
    let before: &Values = &deployed.stack.parameters;
    let after = values(&parameters(&wanted.function.hash, &releases.after));
    let label = |release: &Option<Release>| release.as_ref().map_or_else(String::new, |it| it.version.clone());
    let traffic = Traffic::new(
        deployed.live,
        false,
        &Both::make(|color| label(releases.before.of(color))),
        &Both::make(|color| label(releases.after.of(color))),
    );
    let subject = Subject { stack: &context.stack, region: cloud.region() };
    let before = State { template: deployed.template, values: before };
    Ok(Plan::of_update(subject, traffic, before, State { template: &new, values: &after }))
}

/// The plan of a creation: both environments on one version. `there` is the template of what is begun.
pub(super) fn of_creation(
    context: &Context,
    cloud: &Cloud,
    there: &serde_json::Value,
    wanted: &Wanted<'_>,
    version: &str,
) -> Result<Plan> {
    let new = serde_json::from_str(wanted.template).doing(|| "read the template".to_owned())?;
    // Any image will do: it is named only after the registry exists.
    let release = Some(Release { image: format!("app@sha256:{}", "0".repeat(64)), version: version.to_owned() });
    let after = values(&parameters(&wanted.function.hash, &Both::make(|_| release.clone())));
    let versions = |label: &str| Both::make(|_| label.to_owned());
    let traffic = Traffic::new(FIRST_PROD, false, &versions(""), &versions(version));
    let subject = Subject { stack: &context.stack, region: cloud.region() };
    let before = State { template: there, values: &after };
    Ok(Plan::of_creation(subject, traffic, before, State { template: &new, values: &after }))
}

/// A stack as it is now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deployed<'a> {
    pub(super) stack: &'a DeployedStack,
    pub(super) template: &'a serde_json::Value,
    pub(super) live: Color,
}

/// Whether the stack's last operation is over, and left something that can be built on.
pub(super) fn is_done(stack: &DeployedStack) -> bool {
    ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"].contains(&stack.status.as_str())
}

impl Deployed<'_> {
    /// Whether the stack is exactly what is wanted: the same template with the same parameters, in a state that says
    /// that its last operation is over. A change set would find nothing.
    pub(super) fn is(&self, template: &str, parameters: &Parameters) -> bool {
        let same_template = serde_json::from_str::<serde_json::Value>(template).is_ok_and(|it| it == *self.template);
        is_done(self.stack) && same_template && self.stack.parameters == values(parameters)
    }
}

fn values(parameters: &Parameters) -> Values {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_name_what_each_environment_runs() {
        let releases =
            Both { blue: Some(Release { image: "app@sha256:2".to_owned(), version: "2".to_owned() }), green: None };
        let parameters = parameters("abc", &releases);
        assert_eq!(parameters.len(), parameter::ALL.len());
        assert_eq!(parameters["BlueImage"].as_deref(), Some("app@sha256:2"));
        assert_eq!(parameters["GreenImage"].as_deref(), Some(""));
    }
}
