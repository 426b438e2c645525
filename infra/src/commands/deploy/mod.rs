//! `bluegreen deploy`: makes the stack and brings it up to date, and puts a version on the idle environment.
//!
//! Order matters here: things are built before the lock is taken, so a long build never keeps a cutover waiting; and
//! what users get is moved by a cutover and by nothing else.

mod already;
mod create;
mod preview;
mod states;
mod update;

use cutover_lambda::color::Color;

use super::publish::{Built, Kept, Release, app, function};
use super::{Context, synth};
use crate::build::{FunctionZip, Workspace};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::plan::Plan;
use crate::deploy::{ChangeSet, Source};
use crate::error::{Doing, Error, Result};
use crate::stack::outputs::Outputs;
use crate::stack::{Both, FIRST_PROD, parameter};

use preview::Releases;
pub(super) use preview::deployed_template;

/// What to deploy.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The version to deploy; without one only the stack itself is brought up to date.
    pub version: Option<String>,
    /// The environment to deploy it to; the idle one where none is named.
    pub color: Option<Color>,
    /// What users of prod may notice.
    pub allowed: Allowed,
    /// Refuses where anything would change.
    pub expect_no_changes: bool,
    /// Waits for a cutover that is under way, instead of refusing.
    pub wait: bool,
    /// What to leave as it is where the last update could not be taken back: logical ids.
    pub skip: Vec<String>,
}

/// What users of prod may notice of a deployment: nothing, unless somebody says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Another version, at once.
    pub live_version: bool,
    /// Changes that touch what they go through: listeners, and whatever of it is replaced.
    pub live_changes: bool,
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

impl Deployed {
    fn of(cloud: &Cloud, outputs: &Outputs, traffic: Traffic, releases: &Releases) -> Self {
        let label = |release: &Option<Release>| release.as_ref().map_or_else(String::new, |it| it.version.clone());
        let versions = Both::make(|color| label(releases.after.of(color)));
        let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
        let dev_url = cloud.connect_to.display_url(&outputs.dev_url);
        Self { prod_url, dev_url, traffic, versions }
    }
}

/// Deploys.
pub async fn run(context: &Context, request: &Request) -> Result<Deployed> {
    let look = Box::pin(async {
        let cloud = Cloud::connect(&context.settings).await?;
        let found = Box::pin(already::look(context, &cloud, request)).await?;
        Ok((cloud, found))
    });
    // What is wrong with the request is said first, and without waiting for AWS.
    let (project, looked) = tokio::try_join!(Project::find(context, request), async { Ok(look.await) })?;
    let (cloud, found) = looked?;
    let template = synth::compact(&context.settings)?;
    let stack = match &found {
        Some(found) => Some(found.stack.clone()),
        None => states::usable_stack(context, &cloud, request).await?,
    };
    let (begun, stack) = match stack {
        Some(stack) if stack.begun().is_some() => (Some(stack), None),
        stack => (None, stack),
    };
    let Some(stack) = stack else {
        return Box::pin(make(context, &cloud, project, (&template, begun), request)).await;
    };
    // After a build, what was found before is old.
    let found = found.filter(|_| project.kept.is_enough(request.version.is_some()));
    let live = match (&request.version, &found) {
        (None, _) => None,
        (_, Some(found)) => Some(found.traffic.require_live()?),
        _ => Some(cloud.traffic(&stack.name, &stack.outputs()?).await?.require_live()?),
    };
    let wanted = build_wanted(context, project, (&stack, &template), request, live).await?;
    if let Some(found) = found
        && let Some(deployed) = Box::pin(found.unchanged(context, &cloud, &wanted)).await?
    {
        return Ok(deployed);
    }
    // Asked before the lock is taken: whoever thinks it over keeps no cutover waiting.
    let plan = local_plan(context, &cloud, &stack, &wanted).await?;
    if request.expect_no_changes && !plan.is_empty() {
        return Err(changes_found(&plan));
    }
    let confirmed = plan.concerns();
    context.confirm(&plan, confirmed.clone()).await?;
    Box::pin(update::update(context, &cloud, wanted, Some(&confirmed))).await
}

/// What is deployed from, and what of it was built before.
struct Project {
    workspace: Workspace,
    kept: Kept,
}

impl Project {
    /// Finds it, and refuses a version that it does not have.
    async fn find(context: &Context, request: &Request) -> Result<Self> {
        let app = context.settings.app.clone();
        let workspace = tokio::task::spawn_blocking(move || Workspace::find(&app)).await;
        let workspace = workspace.doing(|| "look for the project".to_owned())??;
        if let Some(version) = &request.version {
            workspace.check_version(version)?;
        }
        let kept = Kept::find(&context.settings, &workspace, request.version.as_deref()).await?;
        Ok(Self { workspace, kept })
    }
}

/// Makes a stack that does not exist yet, or of which only the beginning does.
async fn make(
    context: &Context,
    cloud: &Cloud,
    project: Project,
    (template, begun): (&str, Option<DeployedStack>),
    request: &Request,
) -> Result<Deployed> {
    require_first_version(context, cloud, request)?;
    if request.expect_no_changes {
        let lacks = if begun.is_some() { "is only begun" } else { "does not exist yet" };
        return Err(Error::refused(format!("there would be changes: stack {} {lacks}", context.stack))
            .hint("without --expect-no-changes it is made"));
    }
    let Project { workspace, kept } = &project;
    let first_version = context.settings.app.first_version.as_str();
    let built = async {
        tokio::try_join!(
            app(context, workspace, first_version, kept),
            function(context, workspace.function_source(), kept)
        )
    };
    let ((app, function), ()) = tokio::try_join!(built, create::create(context, cloud, template, begun, request))?;
    let wanted = Wanted { template, function, app: Some(app), environments: Color::ALL.to_vec(), request };
    Box::pin(update::update(context, cloud, wanted, None)).await
}

fn require_first_version(context: &Context, cloud: &Cloud, request: &Request) -> Result<()> {
    match request.version {
        Some(_) => Err(Error::usage(format!("there is no stack {} in {} yet", context.stack, cloud.region()))
            .hint("make it first: bluegreen deploy")),
        None => Ok(()),
    }
}

/// Builds what a stack that is there needs for this request. `live` is needed where a version is to be deployed.
async fn build_wanted<'a>(
    context: &Context,
    Project { workspace, kept }: Project,
    (stack, template): (&DeployedStack, &'a str),
    request: &'a Request,
    live: Option<Color>,
) -> Result<Wanted<'a>> {
    // A deployment that will be refused should not build first.
    let environments = environments(stack, request, live)?;
    let app = async {
        match &request.version {
            Some(version) => app(context, &workspace, version, &kept).await.map(Some),
            None if lacks_images(stack) => {
                app(context, &workspace, context.settings.app.first_version.as_str(), &kept).await.map(Some)
            }
            None => Ok(None),
        }
    };
    let (app, function) = tokio::try_join!(app, function(context, workspace.function_source(), &kept))?;
    Ok(Wanted { template, function, app, environments, request })
}

/// What would change, by the deployed template and the new one alone.
async fn local_plan(context: &Context, cloud: &Cloud, stack: &DeployedStack, wanted: &Wanted<'_>) -> Result<Plan> {
    let outputs = stack.outputs()?;
    let (traffic, template) = tokio::try_join!(cloud.traffic(&stack.name, &outputs), deployed_template(cloud, stack))?;
    let release = wanted.app.as_ref().map(|app| app.release(&outputs.registry_uri));
    let releases = Releases::new(stack, wanted, release.as_ref());
    let deployed = preview::Deployed { stack, template: &template, live: traffic.live()?.unwrap_or(FIRST_PROD) };
    preview::of_update(context, cloud, &deployed, wanted, &releases)
}

/// What a deployment would do. Changes nothing: a change set is prepared for its exact word, and thrown away. (A template
/// that fits into no call is put into the stack's bucket for that, where it expires.)
pub async fn diff(context: &Context, request: &Request) -> Result<Plan> {
    let project = Project::find(context, request).await?;
    let cloud = Cloud::connect(&context.settings).await?;
    let template = synth::compact(&context.settings)?;
    let found = DeployedStack::find(&cloud, &context.stack).await?;
    let gone = ["DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"];
    let found = found.filter(|stack| !gone.contains(&stack.status.as_str()));
    if let Some(stack) = found.as_ref().filter(|stack| stack.in_progress()) {
        return Err(Error::refused(format!("stack {} is in {}", stack.name, stack.status))
            .hint("wait for it to end (bluegreen status), then run the command again"));
    }
    let (begun, found) = match found {
        Some(stack) if stack.begun().is_some() => (Some(stack), None),
        found => (None, found),
    };
    let plan = match found {
        None => {
            require_first_version(context, &cloud, request)?;
            let there = match &begun {
                Some(begun) => deployed_template(&cloud, begun).await?,
                None => serde_json::Value::Null,
            };
            let function = function(context, project.workspace.function_source(), &project.kept).await?;
            let environments = Color::ALL.to_vec();
            let wanted = Wanted { template: &template, function, app: None, environments, request };
            preview::of_creation(context, &cloud, &there, &wanted, context.settings.app.first_version.as_str())?
        }
        Some(stack) => {
            let live = match request.version {
                Some(_) => Some(cloud.traffic(&stack.name, &stack.outputs()?).await?.require_live()?),
                None => None,
            };
            let wanted = build_wanted(context, project, (&stack, &template), request, live).await?;
            exact_plan(context, &cloud, &stack, &wanted).await?
        }
    };
    if request.expect_no_changes && !plan.is_empty() {
        return Err(changes_found(&plan));
    }
    Ok(plan)
}

/// The plan with a change set's word for what is replaced.
async fn exact_plan(context: &Context, cloud: &Cloud, stack: &DeployedStack, wanted: &Wanted<'_>) -> Result<Plan> {
    let plan = local_plan(context, cloud, stack, wanted).await?;
    if plan.is_empty() {
        return Ok(plan);
    }
    let outputs = stack.outputs()?;
    let release = wanted.app.as_ref().map(|app| app.release(&outputs.registry_uri));
    let releases = Releases::new(stack, wanted, release.as_ref());
    let parameters = preview::parameters(&wanted.function.hash, &releases.after);
    let source = Source::Text { text: wanted.template, bucket: &outputs.bucket };
    let change = ChangeSet::prepare(cloud, &stack.name, false, source, &parameters).await?;
    let Some(change) = change else { return Ok(plan.with_change_set(&[])) };
    ChangeSet::discard(cloud, &stack.name, &change.id).await?;
    Ok(plan.with_change_set(&change.changes))
}

/// The refusal of `--expect-no-changes`.
fn changes_found(plan: &Plan) -> Error {
    let error = Error::refused(format!("there would be changes of stack {}", plan.stack));
    let words = plan.resources.iter().map(|it| format!("{} ({})", it.id, it.kind));
    words.fold(error, Error::because).hint("bluegreen diff shows them; without --expect-no-changes they are made")
}

/// Builds every version of the service and the cutover function, and deploys nothing.
pub async fn build(context: &Context) -> Result<()> {
    let workspace = Workspace::find(&context.settings.app)?;
    for version in workspace.versions() {
        app(context, &workspace, &version, &Kept::default()).await?;
    }
    function(context, workspace.function_source(), &Kept::default()).await?;
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

/// The environments that the built version goes to. Which one is live matters only where a version is named.
fn environments(stack: &DeployedStack, request: &Request, live: Option<Color>) -> Result<Vec<Color>> {
    let (Some(version), Some(live)) = (&request.version, live) else {
        let empty = |color: &Color| stack.parameter(parameter::image(*color)).is_empty();
        return Ok(Color::ALL.into_iter().filter(empty).collect());
    };
    let color = request.color.unwrap_or(live.other());
    if color == live && !request.allowed.live_version {
        return Err(Error::refused(format!("{color} is live: users of prod would get version {version} at once"))
            .hint(format!(
                "deploy to the idle environment and cut over: bluegreen deploy --version {version}, bluegreen cutover"
            ))
            .hint("where that is meant (a fix that cannot wait): add --force"));
    }
    Ok(vec![color])
}
