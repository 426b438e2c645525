//! `bluegreen deploy`: makes the stack and brings it up to date, and puts a version on the idle environment.
//!
//! Order matters here: things are built before the lock is taken, so a long build never keeps a cutover waiting; and
//! the template's idea of prod is set to what is live before anything else is changed.

use std::time::Duration;

use cutover_lambda::color::Color;

use super::publish::{Built, Release, app, function, push_image, upload};
use super::{Context, synth};
use crate::build::{FunctionZip, Workspace};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{
    ChangeSet, Expected, Parameters, Source, follow_operation, refuse_live_changes, settle, wait_until_steady,
};
use crate::error::{Error, Kind, Result};
use crate::stack::outputs::Outputs;
use crate::stack::{Both, parameter};

/// The version that both environments get when the stack is made.
const FIRST_VERSION: &str = "1";

/// How long an environment may take to run what was deployed to it.
const STEADY_LIMIT: Duration = Duration::from_mins(15);

/// What to deploy.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The version to deploy; without one only the stack itself is brought up to date.
    pub version: Option<String>,
    /// The environment to deploy it to; the idle one where none is named.
    pub color: Option<Color>,
    /// Deploys to the live environment too.
    pub force: bool,
    /// Executes changes that touch what users of prod go through.
    pub allow_live_changes: bool,
}

/// What runs where after a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// What users see, as it can be opened from here.
    pub prod_url: String,
    /// Where the next version is tried, as it can be opened from here.
    pub dev_url: String,
    /// Which environment each listener forwards to.
    pub traffic: Traffic,
    /// Version labels by environment.
    pub versions: Both<String>,
}

/// Deploys.
pub async fn run(context: &Context, request: &Request) -> Result<Deployed> {
    let workspace = Workspace::find(context.settings.app.cargo.as_str())?;
    if let Some(version) = &request.version {
        workspace.check_version(version)?;
    }
    let cloud = Cloud::connect(&context.settings).await?;
    let template = synth::compact(&context.settings)?;
    match usable_stack(context, &cloud).await? {
        None if request.version.is_some() => {
            Err(Error::usage(format!("there is no stack {} in {} yet", context.stack, cloud.region()))
                .hint("make it first: make deploy-stack"))
        }
        None => {
            let built =
                async { tokio::try_join!(app(context, &workspace, FIRST_VERSION), function(context, &workspace)) };
            let ((app, function), ()) = tokio::try_join!(built, create(context, &cloud, &template))?;
            let environments = Color::ALL.to_vec();
            let wanted = Wanted { template: &template, function, app: Some(app), environments, request };
            Box::pin(update(context, &cloud, &wanted)).await
        }
        Some(stack) => {
            let app = async {
                match &request.version {
                    Some(version) => app(context, &workspace, version).await.map(Some),
                    None if lacks_images(&stack) => app(context, &workspace, FIRST_VERSION).await.map(Some),
                    None => Ok(None),
                }
            };
            // A deployment that will be refused should not build first.
            let environments = environments(&cloud, &stack, request).await?;
            let (app, function) = tokio::try_join!(app, function(context, &workspace))?;
            let wanted = Wanted { template: &template, function, app, environments, request };
            Box::pin(update(context, &cloud, &wanted)).await
        }
    }
}

/// Builds every version of the service and the cutover function, and deploys nothing.
pub async fn build(context: &Context) -> Result<()> {
    let workspace = Workspace::find(context.settings.app.cargo.as_str())?;
    for version in workspace.versions()? {
        app(context, &workspace, &version).await?;
    }
    function(context, &workspace).await?;
    Ok(())
}

/// What is to be deployed, and where.
struct Wanted<'a> {
    template: &'a str,
    function: FunctionZip,
    app: Option<Built>,
    environments: Vec<Color>,
    request: &'a Request,
}

/// Whether the first deployment did not come to its second step.
fn lacks_images(stack: &DeployedStack) -> bool {
    Color::ALL.iter().any(|color| stack.parameter(parameter::image(*color)).is_empty())
}

/// The environments that the built version goes to.
async fn environments(cloud: &Cloud, stack: &DeployedStack, request: &Request) -> Result<Vec<Color>> {
    let Some(version) = &request.version else {
        let empty = |color: &Color| stack.parameter(parameter::image(*color)).is_empty();
        return Ok(Color::ALL.into_iter().filter(empty).collect());
    };
    let live = cloud.traffic(&stack.outputs()?).await?.live()?;
    let color = request.color.unwrap_or(live.other());
    if color == live && !request.force {
        return Err(Error::refused(format!("{color} is live: users of prod would get version {version} at once"))
            .hint(format!("deploy to the idle environment and cut over: make deploy VERSION={version}, make cutover"))
            .hint("where that is meant (a fix that cannot wait): add --force"));
    }
    Ok(vec![color])
}

/// The stack in a state in which it can be updated, or `None` where it must be made.
async fn usable_stack(context: &Context, cloud: &Cloud) -> Result<Option<DeployedStack>> {
    let Some(stack) = DeployedStack::find(cloud, &context.stack).await? else { return Ok(None) };
    let Some(stack) = settle(cloud, stack, &*context.listener).await? else { return Ok(None) };
    match stack.status.as_str() {
        // A stack in review has never been more than a change set, maybe one that somebody else is about to execute:
        // it can be created like one that does not exist.
        "DELETE_COMPLETE" | "REVIEW_IN_PROGRESS" => Ok(None),
        // Nothing of these stacks runs, and CloudFormation lets them only be deleted.
        status @ ("ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED") => {
            context.listener.note(format!("stack {} is in {status}: removing it and starting again", stack.name));
            super::destroy::delete(context, cloud, &stack).await?;
            Ok(None)
        }
        "DELETE_FAILED" => Err(Error::refused(format!("stack {} is half deleted", stack.name))
            .because(stack.reason.unwrap_or(stack.status))
            .hint("finish its deletion first: make destroy")),
        "UPDATE_ROLLBACK_FAILED" => Err(Error::refused(format!("stack {} is stuck in a failed rollback", stack.name))
            .because(stack.reason.unwrap_or(stack.status))
            .hint(format!(
                "repair what it names, then: aws cloudformation continue-update-rollback --stack-name {}",
                stack.name
            ))),
        _ => Ok(Some(stack)),
    }
}

/// Makes the stack without what needs an image or a zip.
async fn create(context: &Context, cloud: &Cloud, template: &str) -> Result<()> {
    let timer = context.listener.start(format!("create stack {}", context.stack));
    let empty = parameter::ALL.iter().filter(|name| **name != parameter::PROD_COLOR);
    let mut parameters: Parameters = empty.map(|name| (*name, Some(String::new()))).collect();
    parameters.insert(parameter::PROD_COLOR, Some(Color::Green.to_string()));
    let (change, stack) = match prepare_creation(context, cloud, template, &parameters).await {
        Ok(prepared) => prepared,
        Err(error) => return Err(explain_creation(context, cloud, error).await),
    };
    let begin = async {
        match change.execute(cloud, &stack.name).await {
            Err(error) => Err(explain_creation(context, cloud, error).await),
            begun => begun,
        }
    };
    follow_operation(cloud, &stack, &change.resources(), &*context.listener, begin).await?;
    timer.finish(&*context.listener, format!("{} resources", change.changes.len()));
    Ok(())
}

async fn prepare_creation(
    context: &Context,
    cloud: &Cloud,
    template: &str,
    parameters: &Parameters,
) -> Result<(ChangeSet, DeployedStack)> {
    let change = ChangeSet::prepare(cloud, &context.stack, true, Source::Body(template), parameters).await?;
    let Some(change) = change else {
        return Err(Error::failed("CloudFormation sees nothing to create in the template"));
    };
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    if stack.status != "REVIEW_IN_PROGRESS" {
        return Err(Error::failed(format!("stack {} is in {}", stack.name, stack.status)));
    }
    Ok((change, stack))
}

/// A creation that could not begin because another command's had.
async fn explain_creation(context: &Context, cloud: &Cloud, error: Error) -> Error {
    match DeployedStack::find(cloud, &context.stack).await {
        Ok(Some(stack)) if stack.status != "REVIEW_IN_PROGRESS" => {
            let explained = Error::refused(format!("another command is making stack {}", context.stack));
            let explained = explained.because(format!("it is in {}", stack.status)).because(&error);
            explained.hint("run the command again: it follows what goes on and then does the rest")
        }
        _ => error,
    }
}

async fn execute(context: &Context, cloud: &Cloud, stack: &DeployedStack, change: &ChangeSet) -> Result<()> {
    let begin = change.execute(cloud, &stack.name);
    follow_operation(cloud, stack, &change.resources(), &*context.listener, begin).await
}

/// Brings the stack up to date under the lock.
async fn update(context: &Context, cloud: &Cloud, wanted: &Wanted<'_>) -> Result<Deployed> {
    let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
    context.lock(cloud, &outputs).await?;
    let result = Box::pin(update_locked(context, cloud, wanted)).await;
    // The first error is the one that matters.
    let unlocked = context.unlock().await;
    let deployed = result?;
    unlocked?;
    Ok(deployed)
}

async fn update_locked(context: &Context, cloud: &Cloud, wanted: &Wanted<'_>) -> Result<Deployed> {
    let request = wanted.request;
    // Read again under the lock: a cutover may have ended since.
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let live = cloud.traffic(&outputs).await?.live()?;
    if request.version.is_some() && wanted.environments.contains(&live) && !request.force {
        return Err(Error::refused(format!("{live} became live while this deployment was being built"))
            .hint("run the command again"));
    }
    pin_prod(context, cloud, &stack, live).await?;
    upload(context, cloud, &outputs, &wanted.function).await?;
    let pushed = match &wanted.app {
        Some(app) => Some(push_image(context, cloud, &outputs, app).await?),
        None => None,
    };
    let before = Both::make(|color| current(&stack, color));
    let after = Both::make(|color| match &pushed {
        Some(release) if wanted.environments.contains(&color) => Some(release.clone()),
        _ => before.of(color).clone(),
    });
    let timer = context.listener.start(format!("update stack {}", context.stack));
    let parameters = parameters(live, &wanted.function.hash, &after);
    let change = ChangeSet::prepare(cloud, &stack.name, false, Source::Body(wanted.template), &parameters).await?;
    match change {
        Some(change) => {
            if !request.allow_live_changes
                && let Err(refusal) = refuse_live_changes(&change.changes, live)
            {
                ChangeSet::discard(cloud, &stack.name, &change.id).await?;
                return Err(refusal);
            }
            execute(context, cloud, &stack, &change).await?;
            timer.finish(&*context.listener, format!("{} resources changed", change.changes.len()));
        }
        None => timer.finish(&*context.listener, "nothing to change"),
    }
    let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
    if let Err(error) = all_steady(context, cloud, &outputs, &after).await {
        if before.blue == after.blue && before.green == after.green {
            return Err(
                error.hint("bluegreen status shows the environments; make deploy puts a version on the idle one")
            );
        }
        return Err(take_back(context, cloud, wanted, live, &before, error).await);
    }
    let traffic = cloud.traffic(&outputs).await?;
    let versions = Both::make(|color| after.of(color).as_ref().map_or_else(String::new, |it| it.version.clone()));
    let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
    let dev_url = cloud.connect_to.display_url(&outputs.dev_url);
    Ok(Deployed { prod_url, dev_url, traffic, versions })
}

/// What the stack says an environment runs.
fn current(stack: &DeployedStack, color: Color) -> Option<Release> {
    let image = stack.parameter(parameter::image(color));
    (!image.is_empty())
        .then(|| Release { image: image.to_owned(), version: stack.parameter(parameter::version(color)).to_owned() })
}

fn parameters(live: Color, code: &str, releases: &Both<Option<Release>>) -> Parameters {
    let mut parameters = Parameters::from([
        (parameter::PROD_COLOR, Some(live.to_string())),
        (parameter::CUTOVER_CODE, Some(code.to_owned())),
    ]);
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

/// Sets the template's idea of prod to what is live, where a cutover has changed it since.
///
/// A separate update with the template as it was: the listeners are set to what they already do, so it moves nobody,
/// and neither can the rollback of the update that follows.
async fn pin_prod(context: &Context, cloud: &Cloud, stack: &DeployedStack, live: Color) -> Result<()> {
    if stack.parameter(parameter::PROD_COLOR) == live.as_str() {
        return Ok(());
    }
    let timer = context.listener.start(format!("tell the stack that {live} is prod"));
    let mut parameters: Parameters = stack
        .parameters
        .keys()
        .filter_map(|name| parameter::ALL.iter().find(|known| *known == name).map(|known| (*known, None)))
        .collect();
    parameters.insert(parameter::PROD_COLOR, Some(live.to_string()));
    if let Some(change) = ChangeSet::prepare(cloud, &stack.name, false, Source::Previous, &parameters).await? {
        execute(context, cloud, stack, &change).await?;
    }
    timer.finish(&*context.listener, "traffic stays where it is");
    Ok(())
}

/// Waits until every environment runs what it should.
async fn all_steady(
    context: &Context,
    cloud: &Cloud,
    outputs: &Outputs,
    releases: &Both<Option<Release>>,
) -> Result<()> {
    let wait = |color: Color| async move {
        let Some(release) = releases.of(color) else { return Ok(()) };
        let timer = context.listener.start(format!("wait for {color}"));
        let expected = Expected { color, image: release.image.clone() };
        wait_until_steady(cloud, outputs, &expected, STEADY_LIMIT, &*context.listener).await?;
        timer.finish(&*context.listener, format!("runs version {}, healthy", release.version));
        Ok(())
    };
    tokio::try_join!(wait(Color::Blue), wait(Color::Green)).map(|_| ())
}

/// After a deployment that did not come up: makes the stack say again what was there before, and returns the error
/// that tells it.
async fn take_back(
    context: &Context,
    cloud: &Cloud,
    wanted: &Wanted<'_>,
    live: Color,
    before: &Both<Option<Release>>,
    error: Error,
) -> Error {
    let restore = async {
        let timer = context.listener.start("take the deployment back");
        let stack = DeployedStack::require(cloud, &context.stack).await?;
        let parameters = parameters(live, &wanted.function.hash, before);
        let change = ChangeSet::prepare(cloud, &stack.name, false, Source::Body(wanted.template), &parameters).await?;
        if let Some(change) = change {
            execute(context, cloud, &stack, &change).await?;
        }
        let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
        all_steady(context, cloud, &outputs, before).await?;
        timer.finish(&*context.listener, "as it was before");
        Ok::<_, Error>(())
    };
    match restore.await {
        Ok(()) => error
            .of_kind(Kind::RolledBack)
            .hint("the deployment was taken back: every environment runs what it ran before; prod was not touched")
            .hint("fix the cause and run the same command again"),
        Err(second) => error
            .because(format!("and taking it back failed: {second}"))
            .hint("make status shows what runs; run the same command again to try once more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_name_what_each_environment_runs() {
        let releases =
            Both { blue: Some(Release { image: "app@sha256:2".to_owned(), version: "2".to_owned() }), green: None };
        let parameters = parameters(Color::Green, "abc", &releases);
        assert_eq!(parameters.len(), parameter::ALL.len());
        assert_eq!(parameters["BlueImage"].as_deref(), Some("app@sha256:2"));
        assert_eq!(parameters["GreenImage"].as_deref(), Some(""));
        assert_eq!(parameters["ProdColor"].as_deref(), Some("green"));
    }
}
