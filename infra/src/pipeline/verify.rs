//! Last stage: waits until the environments run what was deployed and respond with it, and rolls the stack back if they do
//! not. The first release is pointed at by the cutover function, which alone moves users.

use std::time::Duration;

use ::cutover::probe::Site;
use deploy::{Answer, ChangeSet, DeployedStack, EventKind, Expected, Silent, Sites, Source, sleeps, wait_until_steady};
use model::color::Color;
use model::request::Op;
use stack::outputs::Outputs;
use stack::{Both, FIRST_PROD};

use super::apply::{Applied, execute, outputs_now, traffic_now};
use super::observe::Observed;
use super::spec::{self, Releases};
use super::{Deployed, Job};
use crate::artifacts::Release;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::runs::{self, Order};

/// The number of runs that are searched for a cutover.
const RUNS: usize = 20;

/// How long an environment may take to run what was deployed to it.
const STEADY_LIMIT: Duration = Duration::from_mins(15);

/// The load balancer, if it is known how to reach it.
type Asked = deploy::Result<Sites>;

impl Applied {
    /// Waits until what was deployed runs, rolls it back if it does not, and ends the records of its releases.
    pub(super) async fn verify(self, job: Job<'_>) -> Result<Deployed> {
        let Self { spec, observed, outcome, records, result } = self;
        let Job { context, cloud, request } = job;
        let result = match result {
            Ok(outputs) => Box::pin(verified(job, &observed, &outcome.releases, &outputs)).await.map(|()| outputs),
            Err(error) => Err(error),
        };
        records.end(context, result.as_ref().err()).await;
        let outputs = result?;
        if request.version.is_none() {
            protect(job, &observed).await?;
        }
        if let Some(waiting) = spec::waiting(context, &observed, &spec) {
            context.listener.note(waiting.to_string());
        }
        let traffic = traffic_now(context, cloud, &outputs).await?;
        Ok(Deployed::of(cloud, &outputs, traffic, &outcome.releases))
    }
}

/// Waits until what was deployed runs, and rolls it back if it does not.
async fn verified(job: Job<'_>, observed: &Observed, releases: &Releases, outputs: &Outputs) -> Result<()> {
    let Job { context, cloud, .. } = job;
    let live = observed.traffic.live()?;
    let sites = Sites::of(cloud, outputs, &context.settings).await;
    let mut steady = all_steady(job, outputs, &releases.after, Some((&sites, live))).await;
    if steady.is_ok() && context.control.is_cancelled() && releases.differ() {
        // A cancelled deployment is rolled back, even if it was already complete.
        steady =
            Err(Error::failed("the deployment was cancelled").because("it was already complete and was rolled back"));
    }
    let Err(error) = steady else { return Ok(()) };
    context.control.done();
    if !releases.differ() {
        return Err(nothing_to_roll_back(error));
    }
    Err(roll_back(job, observed, &releases.before, error).await)
}

/// An error about environments that got nothing new.
pub(super) fn nothing_to_roll_back(error: impl Into<Error>) -> Error {
    error.into().hint(
        "check the environments with bluegreen status, and deploy to the idle one with bluegreen deploy --version",
    )
}

/// Switches termination protection on if prod had a cutover whose caller was not allowed to do it.
pub(super) async fn protect(job: Job<'_>, observed: &Observed) -> Result<()> {
    if observed.stack.protected {
        return Ok(());
    }
    let ledger = job.cloud.ledger(&observed.outputs.bucket);
    let runs = ledger.list(RUNS).await.map_err(|error| Error::failed("cannot read the ledger").because(error))?;
    if runs.iter().any(runs::moved_prod) {
        observed.stack.protect(job.cloud).await?;
    }
    Ok(())
}

/// Invokes the cutover function to create the rules of prod and dev when both environments run: nobody was served
/// before, so only their health is checked. If a rule was deleted by hand, its target is read from the ledger.
pub(super) async fn first_release(job: Job<'_>, deployed: Deployed, outputs: &Outputs) -> Result<Deployed> {
    let Job { context, cloud, .. } = job;
    let timer = context.listener.start(format!("point prod at {FIRST_PROD}"));
    let mut order = Order::new(Op::Reconcile);
    order.request.to = Some(FIRST_PROD);
    let record = Box::pin(runs::run(context, &order, &Silent)).await?;
    if let Some(error) = runs::verdict(&record) {
        return Err(error.hint("run the same command again"));
    }
    let traffic = traffic_now(context, cloud, outputs).await?;
    until_served(job, outputs, &deployed).await?;
    timer.finish(&*context.listener, record.message);
    Ok(Deployed { traffic, ..deployed })
}

/// Waits until every address of the load balancer sends prod and dev where they belong.
async fn until_served(job: Job<'_>, outputs: &Outputs, deployed: &Deployed) -> Result<()> {
    let Job { context, cloud, .. } = job;
    let sites = Sites::of(cloud, outputs, &context.settings).await?;
    let both = [(Site::Prod, "prod", FIRST_PROD), (Site::Dev, "dev", FIRST_PROD.other())];
    for (site, name, color) in both {
        if let Some(behind) = sites.behind(site, deployed.versions.of(color)).await {
            context.listener.warn(format!("cannot check whether {name} responds: {behind}"));
        }
    }
    Ok(())
}

/// Waits until every environment that is not asleep runs what it should, and, if the sites are given with what is
/// live, responds with its version.
async fn all_steady(
    job: Job<'_>,
    outputs: &Outputs,
    releases: &Both<Option<Release>>,
    sites: Option<(&Asked, Option<Color>)>,
) -> Result<()> {
    let Job { context, cloud, .. } = job;
    let wait = |color: Color| async move {
        let Some(release) = releases.of(color) else { return Ok(()) };
        if context.settings.idle_sleeps() && sleeps(cloud, outputs, color).await? {
            context.listener.note(format!("{color} is asleep, with version {}", release.version));
            return Ok(());
        }
        let timer = context.listener.start(format!("wait for {color}"));
        let expected = Expected { color, image: release.image.clone() };
        let reported = (&context.control, &*context.listener);
        wait_until_steady(cloud, outputs, &expected, STEADY_LIMIT, reported).await?;
        let detail = match sites {
            Some((sites, live)) => {
                let answer = answer(context, sites, live, color, Some(release)).await;
                answer.inspect_err(|error| {
                    let reason = error.causes().first().map_or(error.message(), String::as_str).to_owned();
                    context.listener.send(EventKind::RolloutFailed { color, reason });
                })?
            }
            None => None,
        };
        timer.finish(&*context.listener, detail.unwrap_or_else(|| runs(release)));
        Ok(())
    };
    tokio::try_join!(wait(Color::Blue), wait(Color::Green)).map(|_| ())
}

fn runs(release: &Release) -> String {
    format!("runs version {}, healthy", release.version)
}

/// Asks an environment for its version: the live one as users do, the other as people who try it. Says how it is, in
/// words; an error if another version responds.
pub(super) async fn answer(
    context: &Context,
    sites: &Asked,
    live: Option<Color>,
    color: Color,
    release: Option<&Release>,
) -> Result<Option<String>> {
    let Some(release) = release else { return Ok(None) };
    let site = if live == Some(color) { Site::Prod } else { Site::Environment(color) };
    let answer = match sites {
        Ok(sites) => sites.require(site, &release.version).await,
        Err(error) => Ok(Answer::Unknown(error.to_string())),
    };
    let wrong = |error| Error::from(error).while_doing(format!("the deployment to {color} failed"));
    match answer.map_err(wrong)? {
        Answer::Expected => return Ok(Some(format!("responds with version {}, healthy", release.version))),
        Answer::Untold => {}
        Answer::Unknown(why) => {
            context.listener.note(format!("cannot check which version {color} responds with: {why}"));
        }
    }
    Ok(Some(runs(release)))
}

/// After a deployment that did not come up: gives the stack the template and the parameters from before again, to the
/// letter, and returns the error that says so.
async fn roll_back(job: Job<'_>, before: &Observed, releases: &Both<Option<Release>>, error: Error) -> Error {
    let Job { context, cloud, .. } = job;
    let restore = async {
        let timer = context.listener.start("roll the deployment back");
        let stack = DeployedStack::require(cloud, &context.stack).await?;
        let parameters = spec::given(&before.stack.parameters);
        let source = Source::Text { text: &before.text, bucket: stack.bucket()? };
        let change = ChangeSet::prepare(cloud, &stack.name, false, source, &parameters).await?;
        if let Some(change) = change {
            execute(context, cloud, &stack, &change, &[]).await?;
        }
        let outputs = outputs_now(context, cloud).await?;
        all_steady(job, &outputs, releases, None).await?;
        timer.finish(&*context.listener, "previous state restored");
        Ok::<_, Error>(())
    };
    match restore.await {
        Ok(()) => error
            .of_kind(Kind::RolledBack)
            .hint("check the stack, which was rolled back to its previous template and parameters: bluegreen status")
            .hint("fix the cause, and run the command again"),
        Err(second) => error
            .because(format!("its rollback failed too: {second}"))
            .hint("check what runs with bluegreen status, and run the command again"),
    }
}
