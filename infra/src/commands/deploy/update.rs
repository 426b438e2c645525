//! Brings the stack up to date under the lease, waits until what was deployed runs, and rolls it back if it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use ::cutover::probe::Site;
use model::color::Color;
use model::request::Op;
use model::route::Listener;
use serde_json::Value;

use super::super::Context;
use super::super::cutover::{self, Order, caller};
use super::super::destroy;
use super::super::publish::{Release, push_image, upload};
use super::observe::Observed;
use super::wanted::{self, Releases, Wanted};
use super::{Deployed, Request, preview};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::plan::{Plan, Values};
use crate::deploy::{
    Answer, ChangeSet, Event, Expected, Rules, Sites, Source, follow_operation, refuse_live_changes, sleeps,
    until_answered, wait_until_steady, wake,
};
use crate::error::{Error, Kind, Result};
use crate::releases::{NewRelease, ReleaseLedger, ReleaseOutcome, ReleaseRecord};
use stack::outputs::Outputs;
use stack::{Both, FIRST_PROD};

/// Tries of making the rules of a stack that has none.
const TRIES: u32 = 3;

/// The number of runs that are searched for a cutover.
const RUNS: usize = 20;

/// How long an environment may take to run what was deployed to it.
const STEADY_LIMIT: Duration = Duration::from_mins(15);

/// Brings the stack up to date under the lease. Of its changes, those in `confirmed` were agreed to; all of them if that is
/// absent, because the stack is being created and nothing of it is in use.
pub(super) async fn update(
    context: &Context,
    cloud: &Cloud,
    mut wanted: Wanted<'_>,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<Deployed> {
    let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
    // The content of a stack that was just created is already known.
    let early = async {
        match confirmed {
            None => put(context, cloud, &outputs, &wanted).await,
            Some(_) => Ok(None),
        }
    };
    let (locked, early) = tokio::join!(take_lock(context, cloud, &outputs.bucket, wanted.request), early);
    locked?;
    let result = match early {
        Ok(early) => Box::pin(update_locked(context, cloud, &mut wanted, early, confirmed)).await,
        Err(error) => Err(error),
    };
    // The first error is the one that matters.
    let unlocked = context.unlock().await;
    let deployed = result?;
    unlocked?;
    if deployed.traffic.live()?.is_some() {
        return Ok(deployed);
    }
    first_release(context, cloud, deployed, &outputs).await
}

/// Invokes the cutover function to create the rules of prod and dev when both environments run: nobody was served
/// before, so only their health is checked. If a rule was deleted by hand, its target is read from the ledger.
async fn first_release(context: &Context, cloud: &Cloud, deployed: Deployed, outputs: &Outputs) -> Result<Deployed> {
    let timer = context.listener.start(format!("point prod at {FIRST_PROD}"));
    let mut order = Order::new(Op::Reconcile);
    order.request.to = Some(FIRST_PROD);
    let record = Box::pin(cutover::run(context, &order, &mut cutover::Nobody)).await?;
    if let Some(error) = cutover::verdict(&record) {
        return Err(error.hint("run the same command again"));
    }
    let traffic = traffic_now(context, cloud, outputs).await?;
    until_served(context, cloud, outputs, &deployed).await?;
    timer.finish(&*context.listener, record.message);
    Ok(Deployed { traffic, ..deployed })
}

/// Waits until every address of the load balancer sends prod and dev where they belong.
async fn until_served(context: &Context, cloud: &Cloud, outputs: &Outputs, deployed: &Deployed) -> Result<()> {
    let sites = Sites::of(cloud, outputs, &context.settings).await?;
    let both = [(Site::Prod, "prod", FIRST_PROD), (Site::Dev, "dev", FIRST_PROD.other())];
    for (site, name, color) in both {
        if let Some(behind) = sites.behind(site, deployed.versions.of(color)).await {
            context.listener.warn(format!("cannot check whether {name} responds: {behind}"));
        }
    }
    Ok(())
}

/// Takes the lease that deployments and cutovers share, or waits for it if that is requested.
pub(super) async fn take_lock(context: &Context, cloud: &Cloud, bucket: &str, request: &Request) -> Result<()> {
    if request.wait { context.wait_for_lock(cloud, bucket).await } else { context.lock(cloud, bucket).await }
}

/// Uploads image and function, unless they are already uploaded.
async fn put(context: &Context, cloud: &Cloud, outputs: &Outputs, wanted: &Wanted<'_>) -> Result<Option<Release>> {
    let push = async {
        match &wanted.app {
            Some(app) => push_image(context, cloud, outputs, app).await.map(Some),
            None => Ok(None),
        }
    };
    let upload = async {
        match &wanted.function {
            Some(function) => upload(context, cloud, outputs, function).await,
            None => Ok(()),
        }
    };
    let ((), pushed) = tokio::try_join!(upload, push)?;
    Ok(pushed)
}

/// `early` is what was put there already, with the function.
async fn update_locked(
    context: &Context,
    cloud: &Cloud,
    wanted: &mut Wanted<'_>,
    early: Option<Release>,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<Deployed> {
    // Read again under the lease: a cutover may have ended since.
    let mut observed = Observed::look(cloud, DeployedStack::require(cloud, &context.stack).await?).await?;
    retarget(context, wanted, &observed)?;
    if wanted.request.version.is_none() {
        observed.traffic = make_rules(context, cloud, &observed.outputs, observed.traffic).await?;
    }
    let pushed = match early {
        Some(pushed) => Some(pushed),
        None => put(context, cloud, &observed.outputs, wanted).await?,
    };
    let template = wanted.template(&context.settings, &observed)?;
    let ledger = cloud.releases(&observed.outputs.bucket);
    let mut releases = wanted.releases(&observed, pushed.as_ref(), &template, observed.highest_number() + 1);
    if releases.differ() {
        let next = ledger.next(observed.highest_number()).await?;
        releases = wanted.releases(&observed, pushed.as_ref(), &template, next);
    }
    let parameters = wanted.parameters(Some(&observed), &template, &releases.after);
    wake_what_is_deployed_to(context, cloud, &observed.outputs, wanted).await?;
    let mut begun = Begun { ledger, records: Vec::new() };
    let change = Change { observed: &observed, wanted, template: &template, releases: &releases, parameters };
    let applied = Box::pin(apply(context, cloud, &change, &mut begun, confirmed)).await;
    let result = match applied {
        Ok(outputs) => Box::pin(verify(context, cloud, &change, &outputs)).await.map(|()| outputs),
        Err(error) => Err(error),
    };
    begun.end(context, result.as_ref().err()).await;
    let outputs = result?;
    if wanted.request.version.is_none() {
        protect(cloud, &observed).await?;
    }
    if let Some(waiting) = wanted::waiting(context, &observed, wanted) {
        context.listener.note(waiting.to_string());
    }
    let traffic = traffic_now(context, cloud, &outputs).await?;
    Ok(Deployed::of(cloud, &outputs, traffic, &releases))
}

/// Switches termination protection on if prod had a cutover whose caller was not allowed to do it.
pub(super) async fn protect(cloud: &Cloud, observed: &Observed) -> Result<()> {
    if observed.stack.protected {
        return Ok(());
    }
    let ledger = cloud.ledger(&observed.outputs.bucket);
    let runs = ledger.list(RUNS).await.map_err(|error| Error::failed("cannot read the ledger").because(error))?;
    if runs.iter().any(cutover::moved_prod) { destroy::protect(cloud, &observed.stack).await } else { Ok(()) }
}

/// What is idle may have changed while a cutover was waited for.
fn retarget(context: &Context, wanted: &mut Wanted<'_>, observed: &Observed) -> Result<()> {
    let request = wanted.request;
    let Some(version) = &request.version else { return Ok(()) };
    let live = observed.traffic.require_live()?;
    let idle = live.other();
    if request.color.is_none() && request.wait && wanted.environments != [idle] {
        context.listener.note(format!("{idle} is now idle: deploying version {version} to it"));
        wanted.environments = vec![idle];
    }
    if wanted.environments.contains(&live) && !request.allowed.live_version {
        return Err(Error::refused(format!("{live} became live during the build of this deployment"))
            .hint("run the command again"));
    }
    Ok(())
}

/// A change of the stack before its execution.
struct Change<'a> {
    observed: &'a Observed,
    wanted: &'a Wanted<'a>,
    template: &'a Value,
    releases: &'a Releases,
    parameters: Values,
}

/// The records of releases whose deployment has started.
struct Begun {
    ledger: ReleaseLedger,
    records: Vec<ReleaseRecord>,
}

impl Begun {
    /// Records the start of every release of a change.
    async fn begin(&mut self, context: &Context, cloud: &Cloud, change: &Change<'_>) -> Result<()> {
        let changed = change.releases.changed();
        if changed.is_empty() {
            return Ok(());
        }
        let by = caller(cloud).await;
        for color in changed {
            let Some(release) = change.releases.after.of(color) else { continue };
            let Some(number) = release.number else { continue };
            let new = NewRelease {
                color,
                version: release.version.clone(),
                image: release.image.clone(),
                settings: context.settings.release_part(),
                by: by.clone(),
            };
            self.records.push(self.ledger.begin(number, new).await?);
        }
        Ok(())
    }

    /// Records their results. The deployment itself is over: a failure to record is a warning.
    async fn end(self, context: &Context, error: Option<&Error>) {
        let outcome = match error.map(Error::kind) {
            None => ReleaseOutcome::Deployed,
            Some(Kind::RolledBack | Kind::Refused) => ReleaseOutcome::RolledBack,
            Some(_) => ReleaseOutcome::Failed,
        };
        let reason = error.map(|error| error.causes().first().map_or(error.message(), String::as_str).to_owned());
        for record in self.records {
            if let Err(error) = self.ledger.end(record, outcome, reason.clone()).await {
                context.listener.warn(format!("{error}"));
            }
        }
    }
}

/// Waits until what was deployed runs, and takes it back if it does not.
async fn verify(context: &Context, cloud: &Cloud, change: &Change<'_>, outputs: &Outputs) -> Result<()> {
    let Change { observed, releases, .. } = change;
    let live = observed.traffic.live()?;
    let sites = Sites::of(cloud, outputs, &context.settings).await;
    let mut steady = all_steady(context, cloud, outputs, &releases.after, Some((&sites, live))).await;
    if steady.is_ok() && context.control.is_cancelled() && releases.differ() {
        // A cancelled deployment is rolled back, even if it was already complete.
        steady =
            Err(Error::failed("the deployment was cancelled").because("it was already complete and was rolled back"));
    }
    let Err(error) = steady else { return Ok(()) };
    context.control.done();
    if !releases.differ() {
        return Err(nothing_to_take_back(error));
    }
    Err(take_back(context, cloud, observed, &releases.before, error).await)
}

/// An error about environments that got nothing new.
pub(super) fn nothing_to_take_back(error: Error) -> Error {
    error.hint(
        "check the environments with bluegreen status, and deploy to the idle one with bluegreen deploy --version",
    )
}

/// Brings the stack to the desired state, and returns its new outputs.
async fn apply(
    context: &Context,
    cloud: &Cloud,
    change: &Change<'_>,
    begun: &mut Begun,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<Outputs> {
    let Change { observed, wanted, template, releases, parameters } = change;
    let stack = &observed.stack;
    let timer = context.listener.start(format!("update stack {}", context.stack));
    if observed.is(template, parameters) {
        timer.finish(&*context.listener, "nothing to change");
        return Ok(observed.outputs.clone());
    }
    let text = wanted::text(template)?;
    let source = Source::Text { text: &text, bucket: stack.bucket()? };
    let set = ChangeSet::prepare(cloud, &stack.name, false, source, &wanted::given(parameters)).await?;
    let Some(set) = set else {
        timer.finish(&*context.listener, "nothing to change");
        return Ok(observed.outputs.clone());
    };
    let plan = preview::plan(context, cloud, observed, (template, releases, parameters), wanted.zones.as_ref())?;
    let permitted = async {
        permit(context, &plan.with_change_set(&set.changes), observed, wanted, confirmed).await?;
        begun.begin(context, cloud, change).await
    };
    if let Err(refusal) = permitted.await {
        ChangeSet::discard(cloud, &stack.name, &set.id).await?;
        return Err(refusal);
    }
    let expected: Vec<Expected> = releases.changed().into_iter().filter_map(|it| expected(it, releases)).collect();
    execute(context, cloud, stack, &set, &expected).await?;
    timer.finish(&*context.listener, format!("{} resources changed", set.changes.len()));
    outputs_now(context, cloud).await
}

/// The stack's outputs after an operation of it.
async fn outputs_now(context: &Context, cloud: &Cloud) -> Result<Outputs> {
    until_answered(&*context.listener, async || DeployedStack::require(cloud, &context.stack).await?.outputs()).await
}

/// Where traffic goes after a deployment.
async fn traffic_now(context: &Context, cloud: &Cloud, outputs: &Outputs) -> Result<Traffic> {
    until_answered(&*context.listener, async || cloud.traffic(&context.stack, outputs).await).await
}

/// What an environment will run.
fn expected(color: Color, releases: &Releases) -> Option<Expected> {
    let release = releases.after.of(color).as_ref()?;
    Some(Expected { color, image: release.image.clone() })
}

/// Whether the change may be executed: by the rules about live traffic, by the request, and by the person who must
/// agree to more than was shown before.
async fn permit(
    context: &Context,
    plan: &Plan,
    observed: &Observed,
    wanted: &Wanted<'_>,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<()> {
    let request = wanted.request;
    if request.expect_no_changes {
        return Err(super::changes_found(plan));
    }
    let rules = Rules {
        live: observed.traffic.live()?,
        target: wanted.environments.first().copied(),
        force: request.allowed.live_version,
        allow_live_changes: request.allowed.live_changes,
        rules_carry_traffic: observed.traffic.by_rules,
    };
    refuse_live_changes(plan, rules)?;
    let Some(confirmed) = confirmed else { return Ok(()) };
    let news: BTreeSet<String> = plan.concerns().difference(confirmed).cloned().collect();
    context.confirm(plan, news).await
}

pub(super) async fn execute(
    context: &Context,
    cloud: &Cloud,
    stack: &DeployedStack,
    change: &ChangeSet,
    expected: &[Expected],
) -> Result<()> {
    let begin = change.execute(cloud, &stack.name);
    let resources = change.resources();
    let operation = context.operation(cloud, stack, &resources).as_update(expected);
    context.covered(cloud, Box::pin(follow_operation(operation, begin))).await
}

/// Creates the rules that carry traffic, equal to the default actions of a stack of an older version: after that
/// no update of the stack can move users. A rule precedes the equal default action, so users notice nothing.
async fn make_rules(context: &Context, cloud: &Cloud, outputs: &Outputs, traffic: Traffic) -> Result<Traffic> {
    let (Some(prod), Some(dev)) = (traffic.prod.route(), traffic.dev.route()) else { return Ok(traffic) };
    if traffic.by_rules {
        return Ok(traffic);
    }
    let timer = context.listener.start("create the listener rules of prod and dev");
    let rules = cloud.rules(&context.stack, outputs);
    let mut tries = 0;
    loop {
        let mut written = Ok(());
        for (listener, route) in [(Listener::Prod, prod), (Listener::Dev, dev)] {
            written = written.and(rules.write(listener, route).await);
        }
        let found = cloud.traffic(&context.stack, outputs).await?;
        if found.by_rules && (found.prod.route(), found.dev.route()) == (Some(prod), Some(dev)) {
            timer.finish(&*context.listener, "traffic was not moved");
            return Ok(found);
        }
        tries += 1;
        if tries == TRIES {
            let error = Error::failed("cannot create the listener rules: traffic was not moved");
            return Err(written.err().into_iter().fold(error, Error::because));
        }
    }
}

/// Starts the tasks of an environment that sleeps and gets a version now.
async fn wake_what_is_deployed_to(
    context: &Context,
    cloud: &Cloud,
    outputs: &Outputs,
    wanted: &Wanted<'_>,
) -> Result<()> {
    if !context.settings.idle_sleeps() || wanted.request.version.is_none() {
        return Ok(());
    }
    for color in &wanted.environments {
        if sleeps(cloud, outputs, *color).await? {
            let timer = context.listener.start(format!("wake {color}"));
            wake(cloud, outputs, *color, context.settings.app.count.get()).await?;
            timer.finish(&*context.listener, "its tasks are starting");
        }
    }
    Ok(())
}

/// Waits until every environment that is not asleep runs what it should, and, if the sites are given with what is
/// live, responds with its version.
async fn all_steady(
    context: &Context,
    cloud: &Cloud,
    outputs: &Outputs,
    releases: &Both<Option<Release>>,
    sites: Option<(&Result<Sites>, Option<Color>)>,
) -> Result<()> {
    let wait = |color: Color| async move {
        let Some(release) = releases.of(color) else { return Ok(()) };
        if context.settings.idle_sleeps() && sleeps(cloud, outputs, color).await? {
            context.listener.note(format!("{color} is asleep, with version {}", release.version));
            return Ok(());
        }
        let timer = context.listener.start(format!("wait for {color}"));
        let expected = Expected { color, image: release.image.clone() };
        let told = (&context.control, &*context.listener);
        wait_until_steady(cloud, outputs, &expected, STEADY_LIMIT, told).await?;
        let detail = match sites {
            Some((sites, live)) => {
                let answer = answer(context, sites, live, color, Some(release)).await;
                answer.inspect_err(|error| {
                    let reason = error.causes().first().map_or(error.message(), String::as_str).to_owned();
                    context.listener.on(Event::Hopeless { color, reason });
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
    sites: &Result<Sites>,
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
    let wrong = |error: Error| error.while_doing(format!("the deployment to {color} failed"));
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
/// letter, and returns the error that tells it.
async fn take_back(
    context: &Context,
    cloud: &Cloud,
    before: &Observed,
    releases: &Both<Option<Release>>,
    error: Error,
) -> Error {
    let restore = async {
        let timer = context.listener.start("roll the deployment back");
        let stack = DeployedStack::require(cloud, &context.stack).await?;
        let parameters = wanted::given(&before.stack.parameters);
        let source = Source::Text { text: &before.text, bucket: stack.bucket()? };
        let change = ChangeSet::prepare(cloud, &stack.name, false, source, &parameters).await?;
        if let Some(change) = change {
            execute(context, cloud, &stack, &change, &[]).await?;
        }
        let outputs = outputs_now(context, cloud).await?;
        all_steady(context, cloud, &outputs, releases, None).await?;
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
