//! What is to be deployed: the artifacts, the template, its parameters, and what each environment runs then.

use std::collections::BTreeMap;

use cfn_kit::limits::BUCKET_LIMIT;
use deploy::plan::{Applied as AppliedBy, Waiting};
use deploy::{Parameters, zones};
use model::color::Color;
use serde_json::Value;
use stack::render::{self, RenderError, render_release, render_stack};
use stack::{Both, FIRST_PROD, Settings, parameter};

use super::observe::Observed;
use super::project::Project;
use super::{Job, Request};
use crate::artifacts::{self, Artifact, Release};
use crate::build::FunctionZip;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::synthesis::fitting;

/// What is to be deployed, and where.
pub(super) struct Spec {
    /// The cutover function, if the stack itself is brought up to date.
    pub(super) function: Option<FunctionZip>,
    /// The version, if one is deployed.
    pub(super) app: Option<Artifact>,
    /// The environments that it goes to.
    pub(super) environments: Vec<Color>,
    /// Zones of the stack's own network.
    pub(super) zones: Option<[String; 2]>,
}

impl Spec {
    /// Builds what a request needs for an existing stack.
    pub(super) async fn build(job: Job<'_>, project: Project, observed: &Observed) -> Result<Self> {
        let Job { context, request, .. } = job;
        let Project { workspace, cached } = project;
        // A deployment that will be refused should not build first.
        let environments = environments(observed, request)?;
        let version = match &request.version {
            Some(version) => Some(version),
            None => (!environments.is_empty()).then_some(&context.settings.app.first_version),
        };
        let app = async {
            match version {
                Some(version) => artifacts::app(context, &workspace, version, &cached).await.map(Some),
                None => Ok(None),
            }
        };
        // A release does not touch the function.
        let function = async {
            match &request.version {
                Some(_) => Ok(None),
                None => artifacts::function(context, workspace.function_source(), &cached).await.map(Some),
            }
        };
        let (app, function) = tokio::try_join!(app, function)?;
        let zones = zones_of(job, observed).await?;
        Ok(Self { function, app, environments, zones })
    }

    /// The template. A release changes one environment's half of the deployed one; a deployment of the stack changes all
    /// but the halves of environments that run something.
    pub(super) fn template(&self, settings: &Settings, observed: &Observed) -> Result<Value> {
        let rendered = match self.environments.first() {
            Some(color) if self.is_release() => render_release(settings, &observed.template, *color),
            _ => render_stack(settings, &observed.template, &observed.empty()),
        };
        let mut template = rendered.map_err(refused)?;
        zones::keep(&mut template, &observed.template, self.zones.as_ref());
        Ok(template)
    }

    /// Whether a version is deployed to a stack that is there, and not the stack itself: only the latter brings the
    /// function with it.
    pub(super) const fn is_release(&self) -> bool {
        self.function.is_none()
    }

    /// What a deployment leads to, in a stack as it was observed. `image` is the image in the registry, and `next` the
    /// number of a new release.
    pub(super) fn outcome(
        &self,
        settings: &Settings,
        observed: &Observed,
        image: Option<&Release>,
        next: u64,
    ) -> Result<Outcome> {
        let template = self.template(settings, observed)?;
        let releases = self.releases(observed, image, &template, next);
        let parameters = self.parameters(Some(observed), &template, &releases.after);
        Ok(Outcome { template, releases, parameters })
    }

    /// What a deployment is expected to lead to before anything is uploaded: the image has its name in the registry, and
    /// numbers of releases are those that are free as far as the stack says.
    pub(super) fn expected_outcome(&self, settings: &Settings, observed: &Observed) -> Result<Outcome> {
        let image = self.app.as_ref().map(|app| app.release(&observed.outputs.registry_uri));
        self.outcome(settings, observed, image.as_ref(), observed.highest_number() + 1)
    }

    /// What the environments run before and after; what is new gets numbers from `next` on.
    pub(super) fn releases(
        &self,
        observed: &Observed,
        pushed: Option<&Release>,
        template: &Value,
        next: u64,
    ) -> Releases {
        let before = observed.releases();
        let same_template = *template == observed.template;
        let mut number = next;
        // The first prod is the first release, too.
        let mut after = before.clone();
        for color in [FIRST_PROD, FIRST_PROD.other()] {
            let Some(release) = pushed.filter(|_| self.environments.contains(&color)) else { continue };
            let is_there = |it: &Release| it.image == release.image && it.version == release.version;
            if same_template && before.of(color).as_ref().is_some_and(is_there) {
                continue;
            }
            *after.of_mut(color) = Some(Release { number: Some(number), ..release.clone() });
            number += 1;
        }
        Releases { before, after }
    }

    /// The parameters with which the environments run `after`.
    pub(super) fn parameters(
        &self,
        observed: Option<&Observed>,
        template: &Value,
        after: &Both<Option<Release>>,
    ) -> BTreeMap<String, String> {
        let deployed = |name: &str| observed.map_or_else(String::new, |it| it.stack.parameter(name).to_owned());
        let code = self.function.as_ref().map_or_else(|| deployed(parameter::CUTOVER_CODE), |zip| zip.hash.clone());
        let mut parameters = BTreeMap::from([(parameter::CUTOVER_CODE.to_owned(), code)]);
        // A stack in an existing VPC has no zone parameters.
        let declared = |name: &str| template["Parameters"].get(name).is_some();
        for (number, name) in parameter::ZONES.into_iter().enumerate().filter(|(_, name)| declared(name)) {
            let chosen = self.zones.as_ref().map_or_else(|| deployed(name), |zones| zones[number].clone());
            parameters.insert(name.to_owned(), chosen);
        }
        for color in Color::ALL {
            let release = after.of(color).clone().unwrap_or_default();
            parameters.insert(parameter::image(color).to_owned(), release.image);
            parameters.insert(parameter::version(color).to_owned(), release.version);
            let number = release.number.map_or_else(String::new, |number| number.to_string());
            parameters.insert(parameter::release(color).to_owned(), number);
        }
        parameters
    }
}

/// Values of parameters as a change set takes them.
pub(super) fn given(values: &BTreeMap<String, String>) -> Parameters {
    values.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
}

/// Template text as it is deployed: without blanks.
pub(super) fn text(template: &Value) -> Result<String> {
    let text =
        serde_json::to_string(template).map_err(|error| Error::failed("cannot write the template").because(error))?;
    fitting(text, BUCKET_LIMIT)
}

fn refused(error: RenderError) -> Error {
    match error {
        RenderError::DeployFirst { .. } => Error::refused("the stack is not ready for this release")
            .because(error)
            .hint("update the stack first, which moves no traffic: bluegreen deploy"),
        RenderError::Settings(_) | RenderError::Moved => {
            Error::usage("the settings are not compatible with the deployed stack").because(error)
        }
        other => Error::failed("cannot render the template").because(other),
    }
}

/// What a deployment leads to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) template: Value,
    pub(super) releases: Releases,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Outcome {
    /// Whether the stack is like this already.
    pub(super) fn is_there(&self, observed: &Observed) -> bool {
        observed.is(&self.template, &self.parameters)
    }
}

/// What each environment runs, and will run.
#[derive(Clone, Debug)]
pub(super) struct Releases {
    pub(super) before: Both<Option<Release>>,
    pub(super) after: Both<Option<Release>>,
}

impl Releases {
    /// The environments that get something new, in the order of their numbers.
    pub(super) fn changed(&self) -> Vec<Color> {
        let mut changed: Vec<Color> =
            Color::ALL.into_iter().filter(|color| self.before.of(*color) != self.after.of(*color)).collect();
        changed.sort_by_key(|color| self.after.of(*color).as_ref().and_then(|release| release.number));
        changed
    }

    /// Whether any environment gets something else.
    pub(super) fn differ(&self) -> bool {
        !self.changed().is_empty()
    }
}

/// Settings that only this command reads: nothing deployed depends on them.
const OF_THE_COMMAND: [&str; 3] = ["name", "region", "app.first_version"];

/// The changed settings that this deployment does not apply, and what applies them.
pub(super) fn waiting(context: &Context, observed: &Observed, spec: &Spec) -> Option<Waiting> {
    let color = spec.environments.first().copied();
    let newest = || {
        let releases = observed.releases();
        Color::ALL.into_iter().max_by_key(|color| releases.of(*color).as_ref().and_then(|it| it.number))
    };
    let color = color.or_else(newest)?;
    let waiting = render::waiting(&context.settings, &observed.template, color);
    let (keys, by) = if spec.is_release() {
        (waiting.stack?, AppliedBy::ByTheStack)
    } else {
        (waiting.release?, AppliedBy::ByARelease)
    };
    let settings: Vec<String> = keys.into_iter().filter(|key| !OF_THE_COMMAND.contains(&key.as_str())).collect();
    (!settings.is_empty() && observed.empty().is_empty()).then_some(Waiting { settings, by })
}

/// The zones of a stack whose template does not have them as parameters yet: those that its subnets are in.
async fn zones_of(job: Job<'_>, observed: &Observed) -> Result<Option<[String; 2]>> {
    let Job { context, cloud, request } = job;
    let known = parameter::ZONES.iter().all(|name| !observed.stack.parameter(name).is_empty());
    if known || request.version.is_some() || !context.settings.zones_are_chosen() {
        return Ok(None);
    }
    Ok(Some(zones::of_stack(cloud, &observed.stack).await?))
}

/// The environments that the built version goes to. Which one is live matters only if a version is named.
fn environments(observed: &Observed, request: &Request) -> Result<Vec<Color>> {
    let Some(version) = &request.version else { return Ok(observed.empty()) };
    if observed.is_of_an_older_version() {
        return Err(Error::refused(format!(
            "stack {} was created by an older version of bluegreen",
            observed.stack.name
        ))
        .because("its listeners route traffic by default actions; this version uses listener rules")
        .hint("update the stack first, which moves no traffic: bluegreen deploy"));
    }
    if !observed.empty().is_empty() || observed.outputs.function.is_none() {
        return Err(Error::refused(format!("the first deployment of stack {} is not finished", observed.stack.name))
            .hint("finish the deployment first: bluegreen deploy"));
    }
    let live = observed.traffic.require_live()?;
    let color = request.color.unwrap_or(live.other());
    if color == live && !request.allowed.live_version {
        return Err(Error::refused(format!("{color} is live: users of prod would get version {version} immediately"))
            .hint(format!(
                "deploy to the idle environment and cut over: bluegreen deploy --version {version}, bluegreen cutover"
            ))
            .hint("if users must get it immediately (an urgent fix), pass --force"));
    }
    Ok(vec![color])
}
