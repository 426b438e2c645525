//! `bluegreen deploy`: creates or updates the stack, or deploys a release to the idle environment.
//!
//! A release changes one environment's half of the template and nothing else; a deployment without a version changes the
//! rest of the stack and neither half. Things are built before the lease is taken, so a long build never keeps a cutover
//! waiting. What users get is moved by a cutover and by nothing else.

mod already;
mod create;
mod observe;
mod preview;
mod states;
mod update;
mod wanted;

use std::sync::Arc;

use model::color::Color;

use super::publish::{Kept, app, function};
use super::{Agreed, Context, status, synth};
use crate::args;
use crate::build::Workspace;
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::plan::Plan;
use crate::deploy::{ChangeSet, Control, OnFailure, Poll, Source};
use crate::error::{Doing, Error, Result};
use crate::requests::Meter;
use crate::session::{Session, print_json, print_text};
use crate::ui::{Keyboard, Style};
use crate::zones;
use stack::outputs::Outputs;
use stack::values::{ImageName, VersionLabel};
use stack::{Both, parameter};

use observe::Observed;
use wanted::{Releases, Wanted};

/// What is deployed where.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Version to deploy.
    #[arg(long, value_parser = args::version)]
    version: Option<VersionLabel>,
    /// Image to deploy as that version, from a registry or an archive file [default: `image` of bluegreen.toml].
    #[arg(long, value_parser = args::image, requires = "version")]
    image: Option<ImageName>,
    /// Environment to deploy to [default: the idle one].
    #[arg(long, requires = "version")]
    color: Option<Color>,
    /// Allow deploying to the live environment.
    #[arg(long)]
    force: bool,
    /// Refuse with exit code 3 if anything would change.
    #[arg(long)]
    expect_no_changes: bool,
}

impl Target {
    /// Applies the arguments to the settings.
    pub fn prepare(&self, session: &mut Session) {
        if let Some(image) = &self.image {
            session.context.settings.app.image = Some(image.clone());
        }
    }

    /// What is asked for.
    pub fn request(&self) -> Request {
        Request {
            version: self.version.clone().map(String::from),
            color: self.color,
            allowed: Allowed { live_version: self.force, live_changes: false },
            expect_no_changes: self.expect_no_changes,
            ..Request::default()
        }
    }
}

/// The arguments of `deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Do not ask for confirmation before changes that replace, remove, or open something.
    #[arg(long)]
    yes: bool,
    /// Wait for a deployment or run in progress instead of refusing.
    #[arg(long)]
    wait: bool,
    /// What to do if the update cannot succeed [default: ask on a terminal, else cancel].
    #[arg(long, value_enum)]
    on_failure: Option<OnFailure>,
    /// Allow changes to resources that serve users of prod.
    #[arg(long)]
    allow_live_changes: bool,
    /// Resource (logical id) to skip if the rollback of the last update failed; can be repeated.
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
}

impl Args {
    /// Applies the arguments to the settings, and selects who is asked for confirmation.
    pub fn prepare(&self, session: &mut Session) {
        self.target.prepare(session);
        let on_failure = if Keyboard::is_there() { OnFailure::Ask } else { OnFailure::Cancel };
        session.context.control = Control::new(self.on_failure.unwrap_or(on_failure));
        if self.yes {
            session.context.confirmation = Arc::new(Agreed);
        } else if Keyboard::is_there() {
            session.context.confirmation = Arc::new(session.prompt.clone());
        }
    }

    /// Deploys, and prints what runs where.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let request = Request {
            allowed: Allowed { live_version: self.target.force, live_changes: self.allow_live_changes },
            wait: self.wait,
            skip: self.skip.clone(),
            ..self.target.request()
        };
        let deployed = Box::pin(deploy(context, &request)).await?;
        if session.json {
            return print_json(&Box::pin(status::look(context, &mut Meter::default())).await?);
        }
        print_text(&deployed.text(Style::of_stdout()))
    }
}

/// What to deploy.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The version to deploy; without one only the stack itself is brought up to date.
    pub version: Option<String>,
    /// The environment to deploy to; by default the idle one.
    pub color: Option<Color>,
    /// What users of prod may notice.
    pub allowed: Allowed,
    /// Refuses if anything would change.
    pub expect_no_changes: bool,
    /// Waits for a cutover in progress instead of refusing.
    pub wait: bool,
    /// Logical ids of the resources to skip if the rollback of the last update failed.
    pub skip: Vec<String>,
}

/// What users of prod may notice of a deployment: nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Another version, immediately.
    pub live_version: bool,
    /// Changes that touch what they go through: listeners, and whatever of it is replaced.
    pub live_changes: bool,
}

/// What runs where after a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The URL of prod, as it can be opened from this machine.
    pub prod_url: String,
    /// The URL of dev, as it can be opened from this machine.
    pub dev_url: String,
    /// Which environment each listener forwards to.
    pub traffic: Traffic,
    /// Version labels by environment.
    pub versions: Both<String>,
}

impl Deployed {
    fn of(cloud: &Cloud, outputs: &Outputs, traffic: Traffic, releases: &Releases) -> Self {
        let versions = preview::versions(&releases.after);
        let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
        let dev_url = cloud.connect_to.display_url(&outputs.dev_url);
        Self { prod_url, dev_url, traffic, versions }
    }

    /// What runs where, a line for each listener.
    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for (name, color, url) in
            [("prod", self.traffic.prod_color(), &self.prod_url), ("dev", self.traffic.dev_color(), &self.dev_url)]
        {
            let what = color.map_or_else(
                || format!("{:<12}", "?"),
                |color| style.environment(color, &format!("{:<12}", format!("{color} v{}", self.versions.of(color)))),
            );
            text.push_str(&format!("{name:<5} {what}{url}\n"));
        }
        text
    }
}

/// Deploys.
async fn deploy(context: &Context, request: &Request) -> Result<Deployed> {
    let look = Box::pin(async {
        let cloud = Cloud::connect(&context.settings).await?;
        if request.wait {
            until_prod_is_whole(context, &cloud).await?;
        }
        let found = Box::pin(already::look(context, &cloud, request)).await?;
        Ok::<_, Error>((cloud, found))
    });
    // An invalid request fails first, without waiting for AWS.
    let (project, looked) =
        tokio::try_join!(Project::find(context, request), async { Ok::<Result<_>, Error>(look.await) })?;
    let (cloud, found) = looked?;
    let stack = match &found {
        Some(found) => Some(found.observed.stack.clone()),
        None => states::usable_stack(context, &cloud, request).await?,
    };
    let (begun, stack) = match stack {
        Some(stack) if stack.begun().is_some() => (Some(stack), None),
        stack => (None, stack),
    };
    let Some(stack) = stack else {
        return Box::pin(make(context, &cloud, project, begun, request)).await;
    };
    // After a build, what was found before is old.
    let found = found.filter(|_| project.kept.is_enough(request.version.is_some()));
    let observed = match &found {
        Some(found) => found.observed.clone(),
        None => Observed::look(&cloud, stack).await?,
    };
    let wanted = build_wanted(context, &cloud, project, &observed, request).await?;
    if let Some(found) = found
        && let Some(deployed) = Box::pin(found.unchanged(context, &cloud, &wanted)).await?
    {
        return Ok(deployed);
    }
    // Ask before taking the lease, so that no cutover waits for the answer.
    let plan = preview::of_update(context, &cloud, &observed, &wanted)?;
    if request.expect_no_changes && !plan.is_empty() {
        return Err(changes_found(&plan));
    }
    let confirmed = plan.concerns();
    context.confirm(&plan, confirmed.clone()).await?;
    Box::pin(update::update(context, &cloud, wanted, Some(&confirmed))).await
}

/// Waits while a cutover splits prod: until it ends, no environment is idle.
async fn until_prod_is_whole(context: &Context, cloud: &Cloud) -> Result<()> {
    let mut poll = Poll::default();
    let mut told = false;
    loop {
        let Some(stack) = DeployedStack::find(cloud, &context.stack).await? else { return Ok(()) };
        let Ok(outputs) = stack.outputs() else { return Ok(()) };
        let traffic = cloud.traffic(&stack.name, &outputs).await?;
        let Some(split) = traffic.prod.route().filter(|route| route.whole().is_none()) else { return Ok(()) };
        // A split without a lease holder does not end by itself.
        let holder = cloud.ledger(&outputs.bucket).holder().await;
        if holder.map_err(|error| Error::failed("cannot read the lease").because(error))?.is_none() {
            return Ok(());
        }
        if !std::mem::replace(&mut told, true) {
            context.listener.note(format!("waiting for the cutover in progress: prod is split into {split}"));
        }
        poll.wait().await;
    }
}

/// The project, and the artifacts that were built before.
struct Project {
    workspace: Workspace,
    kept: Kept,
}

impl Project {
    /// Finds it, and refuses a version that it does not have.
    async fn find(context: &Context, request: &Request) -> Result<Self> {
        let app = context.settings.app.clone();
        let workspace = tokio::task::spawn_blocking(move || Workspace::find(&app)).await;
        let workspace = workspace.doing(|| "find the project".to_owned())??;
        if let Some(version) = &request.version {
            workspace.check_version(version)?;
        }
        let kept = Kept::find(&context.settings, &workspace, request.version.as_deref()).await?;
        Ok(Self { workspace, kept })
    }
}

/// Creates a stack that does not exist yet or is incomplete.
async fn make(
    context: &Context,
    cloud: &Cloud,
    project: Project,
    begun: Option<DeployedStack>,
    request: &Request,
) -> Result<Deployed> {
    require_first_version(context, cloud, request)?;
    if request.expect_no_changes {
        let lacks = if begun.is_some() { "is incomplete" } else { "does not exist yet" };
        return Err(Error::refused(format!("the deployment would make changes: stack {} {lacks}", context.stack))
            .hint("create it by running the command without --expect-no-changes"));
    }
    let Project { workspace, kept } = &project;
    let first_version = context.settings.app.first_version.as_str();
    let zones =
        if context.settings.zones_are_chosen() { Some(zones::choose(cloud, &context.settings).await?) } else { None };
    let template = synth::compact(&context.settings)?;
    let built = async {
        tokio::try_join!(
            app(context, workspace, first_version, kept),
            function(context, workspace.function_source(), kept)
        )
    };
    let create = create::create(context, cloud, &template, zones.as_ref(), begun, request);
    let ((app, function), ()) = tokio::try_join!(built, create)?;
    let environments = Color::ALL.to_vec();
    let wanted = Wanted { function: Some(function), app: Some(app), environments, zones, request };
    Box::pin(update::update(context, cloud, wanted, None)).await
}

fn require_first_version(context: &Context, cloud: &Cloud, request: &Request) -> Result<()> {
    match request.version {
        Some(_) => Err(Error::usage(format!("stack {} does not exist in {}", context.stack, cloud.region()))
            .hint("create it first: bluegreen deploy")),
        None => Ok(()),
    }
}

/// Builds what this request needs for an existing stack.
async fn build_wanted<'a>(
    context: &Context,
    cloud: &Cloud,
    Project { workspace, kept }: Project,
    observed: &Observed,
    request: &'a Request,
) -> Result<Wanted<'a>> {
    // A deployment that will be refused should not build first.
    let environments = environments(observed, request)?;
    let version = match &request.version {
        Some(version) => Some(version.as_str()),
        None => (!environments.is_empty()).then(|| context.settings.app.first_version.as_str()),
    };
    let app = async {
        match version {
            Some(version) => app(context, &workspace, version, &kept).await.map(Some),
            None => Ok(None),
        }
    };
    // A release does not touch the function.
    let function = async {
        match &request.version {
            Some(_) => Ok(None),
            None => function(context, workspace.function_source(), &kept).await.map(Some),
        }
    };
    let (app, function) = tokio::try_join!(app, function)?;
    let zones = zones_of(context, cloud, observed, request).await?;
    Ok(Wanted { function, app, environments, zones, request })
}

/// The zones of a stack whose template does not have them as parameters yet: those that its subnets are in.
async fn zones_of(
    context: &Context,
    cloud: &Cloud,
    observed: &Observed,
    request: &Request,
) -> Result<Option<[String; 2]>> {
    let known = parameter::ZONES.iter().all(|name| !observed.stack.parameter(name).is_empty());
    if known || request.version.is_some() || !context.settings.zones_are_chosen() {
        return Ok(None);
    }
    zones::of_stack(cloud, &observed.stack).await.map(Some)
}

/// What a deployment would change. Changes nothing: a change set is created to get the exact changes, and deleted. (A
/// template that is too large for a call is uploaded to the bucket of the stack and expires.)
pub async fn diff(context: &Context, request: &Request) -> Result<Plan> {
    let project = Project::find(context, request).await?;
    let cloud = Cloud::connect(&context.settings).await?;
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
                Some(begun) => begun.template(&cloud).await?,
                None => serde_json::Value::Null,
            };
            let function = Some(function(context, project.workspace.function_source(), &project.kept).await?);
            let wanted = Wanted { function, app: None, environments: Color::ALL.to_vec(), zones: None, request };
            preview::of_creation(context, &cloud, &there, &wanted)?
        }
        Some(stack) => {
            let observed = Observed::look(&cloud, stack).await?;
            let wanted = build_wanted(context, &cloud, project, &observed, request).await?;
            exact_plan(context, &cloud, &observed, &wanted).await?
        }
    };
    if request.expect_no_changes && !plan.is_empty() {
        return Err(changes_found(&plan));
    }
    Ok(plan)
}

/// The plan with the replacements from a change set.
async fn exact_plan(context: &Context, cloud: &Cloud, observed: &Observed, wanted: &Wanted<'_>) -> Result<Plan> {
    let plan = preview::of_update(context, cloud, observed, wanted)?;
    if plan.is_empty() {
        return Ok(plan);
    }
    let (template, _, parameters) = preview::outcome(context, observed, wanted)?;
    let text = wanted::text(&template)?;
    let source = Source::Text { text: &text, bucket: &observed.outputs.bucket };
    let stack = &observed.stack.name;
    let change = ChangeSet::prepare(cloud, stack, false, source, &wanted::given(&parameters)).await?;
    let Some(change) = change else { return Ok(plan.without_changes()) };
    ChangeSet::discard(cloud, stack, &change.id).await?;
    Ok(plan.with_change_set(&change.changes))
}

/// The refusal of `--expect-no-changes`.
fn changes_found(plan: &Plan) -> Error {
    let error = Error::refused(format!("the deployment would change stack {}", plan.stack));
    let words = plan.resources.iter().map(|it| format!("{} ({})", it.id, it.kind));
    words
        .fold(error, Error::because)
        .hint("review the changes with bluegreen diff, and apply them without --expect-no-changes")
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
