//! The pipeline of a deployment. Each stage is a type that only the stage before it makes:
//!
//! 1. **observe** what there is (`observe::Start`),
//! 2. **specify** what is to be deployed, and build it (`spec::Spec`),
//! 3. **plan** what changes (`plan::Planned`; `diff` ends here),
//! 4. **confirm** (`confirm::Confirmed`),
//! 5. **lock**: take the lease that deployments and cutovers share, and **observe again** (`lock::Locked`),
//! 6. **apply** (`apply::Applied`),
//! 7. **verify** that the environments run what was deployed, and roll back if they do not (`verify`).
//!
//! A release changes one environment's half of the template and nothing else; a deployment without a version changes the
//! rest of the stack and neither half. Things are built before the lease is taken, so a long build never keeps a cutover
//! waiting. What users get is moved by a cutover and by nothing else.

mod apply;
mod confirm;
mod create;
mod lock;
mod observe;
mod plan;
mod project;
mod records;
mod recover;
mod request;
mod rules;
mod spec;
mod up_to_date;
mod verify;

use deploy::{Cloud, DeployedStack, Plan, Poll, Traffic};
use stack::Both;
use stack::outputs::Outputs;

pub use request::{Allowed, Request, Target};

use crate::context::Context;
use crate::error::{Error, Result};
use observe::{Observed, Start};
use plan::Planned;
use project::Project;
use spec::{Releases, Spec};

/// What every stage works with.
#[derive(Clone, Copy)]
struct Job<'a> {
    context: &'a Context,
    cloud: &'a Cloud,
    request: &'a Request,
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
        let versions = plan::versions(&releases.after);
        let prod_url = cloud.connect_to.display_url(&outputs.prod_url);
        let dev_url = cloud.connect_to.display_url(&outputs.dev_url);
        Self { prod_url, dev_url, traffic, versions }
    }
}

/// Deploys.
pub async fn deploy(context: &Context, request: &Request) -> Result<Deployed> {
    let look = Box::pin(async {
        let cloud = Cloud::connect(&context.settings).await?;
        let job = Job { context, cloud: &cloud, request };
        if request.wait {
            until_prod_is_whole(job).await?;
        }
        let found = Box::pin(up_to_date::look(job)).await?;
        Ok::<_, Error>((cloud, found))
    });
    // An invalid request fails first, without waiting for AWS.
    let (project, found) =
        tokio::try_join!(Project::find(context, request), async { Ok::<Result<_>, Error>(look.await) })?;
    let (cloud, found) = found?;
    let job = Job { context, cloud: &cloud, request };
    let stack = match &found {
        Some(found) => Some(found.observed.stack.clone()),
        None => recover::usable_stack(job).await?,
    };
    let confirmed = match Start::of(stack) {
        Start::Nothing => Box::pin(create::create(job, project, None)).await?,
        Start::Begun(stack) => Box::pin(create::create(job, project, Some(stack))).await?,
        Start::Stands(stack) => {
            // After a build, what was found before is old.
            let found = found.filter(|_| project.cached.is_enough(request.version.is_some()));
            let observed = match &found {
                Some(found) => found.observed.clone(),
                None => Observed::look(&cloud, stack).await?,
            };
            let spec = Spec::build(job, project, &observed).await?;
            if let Some(found) = found
                && let Some(deployed) = Box::pin(found.unchanged(job, &spec)).await?
            {
                return Ok(deployed);
            }
            // Ask before taking the lease, so that no cutover waits for the answer.
            Planned::new(job, observed, spec)?.confirm(job).await?
        }
    };
    let locked = Box::pin(confirmed.lock(job)).await?;
    let outputs = locked.outputs.clone();
    let deployed = Box::pin(locked.complete(job)).await?;
    if deployed.traffic.live()?.is_some() {
        return Ok(deployed);
    }
    verify::first_release(job, deployed, &outputs).await
}

/// What a deployment would change. Changes nothing: a change set is created to get the exact changes, and deleted. (A
/// template that is too large for a call is uploaded to the bucket of the stack and expires.)
pub async fn diff(context: &Context, request: &Request) -> Result<Plan> {
    let project = Project::find(context, request).await?;
    let cloud = &Cloud::connect(&context.settings).await?;
    let job = Job { context, cloud, request };
    let found = DeployedStack::find(cloud, &context.stack).await?.filter(|stack| !stack.state.must_be_created());
    if let Some(stack) = found.as_ref().filter(|stack| stack.in_progress()) {
        return Err(Error::refused(format!("stack {} is in {}", stack.name, stack.state))
            .hint("wait for it to end (bluegreen status), then run the command again"));
    }
    let plan = match Start::of(found) {
        Start::Nothing => plan::of_creation(job, &project, &serde_json::Value::Null).await?,
        Start::Begun(stack) => plan::of_creation(job, &project, &stack.template(cloud).await?).await?,
        Start::Stands(stack) => {
            let observed = Observed::look(cloud, stack).await?;
            let spec = Spec::build(job, project, &observed).await?;
            Box::pin(Planned::new(job, observed, spec)?.exact(job)).await?
        }
    };
    if request.expect_no_changes && !plan.is_empty() {
        return Err(changes_found(&plan));
    }
    Ok(plan)
}

/// Waits while a cutover splits prod: until it ends, no environment is idle.
async fn until_prod_is_whole(job: Job<'_>) -> Result<()> {
    let Job { context, cloud, .. } = job;
    let mut poll = Poll::default();
    let mut reported = false;
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
        if !std::mem::replace(&mut reported, true) {
            context.listener.note(format!("waiting for the cutover in progress: prod is split into {split}"));
        }
        poll.wait().await;
    }
}

/// The refusal of `--expect-no-changes`.
fn changes_found(plan: &Plan) -> Error {
    let error = Error::refused(format!("the deployment would change stack {}", plan.stack));
    let resources = plan.resources.iter().map(|it| format!("{} ({})", it.id, it.kind));
    resources
        .fold(error, Error::because)
        .hint("review the changes with bluegreen diff, and apply them without --expect-no-changes")
}

/// An error if a version is asked for and there is no stack: the first deployment creates both environments.
fn require_first_version(job: Job<'_>) -> Result<()> {
    match job.request.version {
        Some(_) => {
            let (stack, region) = (&job.context.stack, job.cloud.region());
            Err(Error::usage(format!("stack {stack} does not exist in {region}"))
                .hint("create it first: bluegreen deploy"))
        }
        None => Ok(()),
    }
}
