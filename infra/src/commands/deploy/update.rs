//! Brings the stack up to date under the lock, waits until what was deployed runs, and takes it back where it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use cutover_lambda::color::Color;
use cutover_lambda::probe::Site;
use cutover_lambda::request::Op;
use cutover_lambda::route::Listener;

use super::super::Context;
use super::super::cutover::{self, Order};
use super::super::publish::{Release, push_image, upload};
use super::preview::{self, Releases};
use super::{Deployed, Request, Wanted};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::plan::Plan;
use crate::deploy::{
    Answer, ChangeSet, Event, Expected, Parameters, Sites, Source, follow_operation, refuse_live_changes, sleeps,
    wait_until_steady, wake,
};
use crate::error::{Error, Kind, Result};
use crate::stack::outputs::Outputs;
use crate::stack::{Both, FIRST_PROD};

/// Tries of making the rules of a stack that has none.
const TRIES: u32 = 3;

/// How long an environment may take to run what was deployed to it.
const STEADY_LIMIT: Duration = Duration::from_mins(15);

/// Brings the stack up to date under the lock. Of its changes, those in `confirmed` were agreed to; all of them where that
/// is absent, as the stack is being made and nothing of it is in use.
pub(super) async fn update(
    context: &Context,
    cloud: &Cloud,
    mut wanted: Wanted<'_>,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<Deployed> {
    let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
    // Of a stack that was just made it is clear already what will be in it.
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

/// Has the cutover function make the rules of prod and dev, now that both environments run something: nobody was served
/// before, so there is nothing to probe but their health. If a rule was deleted by hand, the ledger says where it goes.
async fn first_release(context: &Context, cloud: &Cloud, deployed: Deployed, outputs: &Outputs) -> Result<Deployed> {
    let timer = context.listener.start(format!("make {FIRST_PROD} prod"));
    let mut order = Order::new(Op::Reconcile);
    order.request.to = Some(FIRST_PROD);
    let record = cutover::run(context, &order, &mut cutover::Nobody).await?;
    if let Some(error) = cutover::verdict(&record) {
        return Err(error.hint("run the same command again"));
    }
    let traffic = cloud.traffic(&context.stack, outputs).await?;
    timer.finish(&*context.listener, record.message);
    Ok(Deployed { traffic, ..deployed })
}

/// Takes the lock that deployments and cutovers share, or waits for it where that is asked for.
pub(super) async fn take_lock(context: &Context, cloud: &Cloud, bucket: &str, request: &Request) -> Result<()> {
    if request.wait { context.wait_for_lock(cloud, bucket).await } else { context.lock(cloud, bucket).await }
}

/// Puts image and function where the stack takes them from; what is there is not sent again.
async fn put(context: &Context, cloud: &Cloud, outputs: &Outputs, wanted: &Wanted<'_>) -> Result<Option<Release>> {
    let push = async {
        match &wanted.app {
            Some(app) => push_image(context, cloud, outputs, app).await.map(Some),
            None => Ok(None),
        }
    };
    let ((), pushed) = tokio::try_join!(upload(context, cloud, outputs, &wanted.function), push)?;
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
    let request = wanted.request;
    // Read again under the lock: a cutover may have ended since.
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let traffic = cloud.traffic(&stack.name, &outputs).await?;
    let traffic = make_rules(context, cloud, &outputs, traffic).await?;
    let live = traffic.live()?.unwrap_or(FIRST_PROD);
    let idle = live.other();
    if let (Some(version), None, true) = (&request.version, request.color, request.wait)
        && wanted.environments != [idle]
    {
        // Whoever waits for a cutover means what is idle after it.
        context.listener.note(format!("{idle} is idle now: it gets version {version}"));
        wanted.environments = vec![idle];
    }
    if request.version.is_some() && wanted.environments.contains(&live) && !request.allowed.live_version {
        return Err(Error::refused(format!("{live} became live while this deployment was being built"))
            .hint("run the command again"));
    }
    let put = async {
        match early {
            Some(pushed) => Ok(Some(pushed)),
            None => put(context, cloud, &outputs, wanted).await,
        }
    };
    let (pushed, template) = tokio::try_join!(put, preview::deployed_template(cloud, &stack))?;
    let releases = Releases::new(&stack, wanted, pushed.as_ref());
    let deployed = preview::Deployed { stack: &stack, template: &template, live };
    wake_what_is_deployed_to(context, cloud, &outputs, wanted).await?;
    let outputs = Box::pin(apply(context, cloud, deployed, wanted, &releases, confirmed)).await?;
    let sites = Sites::of(cloud, &outputs, &context.settings).await;
    let mut steady = all_steady(context, cloud, &outputs, &releases.after, Some((&sites, live))).await;
    if steady.is_ok() && context.control.is_cancelled() && releases.differ() {
        // Whoever cancels wants what was there before, even if everything was done by then.
        steady = Err(Error::failed("the deployment was cancelled").because("it was done already, and is taken back"));
    }
    if let Err(error) = steady {
        context.control.done();
        if !releases.differ() {
            return Err(nothing_to_take_back(error));
        }
        return Err(take_back(context, cloud, wanted, &releases.before, error).await);
    }
    let traffic = cloud.traffic(&stack.name, &outputs).await?;
    Ok(Deployed::of(cloud, &outputs, traffic, &releases))
}

/// An error about environments that got nothing new.
pub(super) fn nothing_to_take_back(error: Error) -> Error {
    error.hint("bluegreen status shows the environments; bluegreen deploy --version puts one on the idle one")
}

/// Makes the stack what is wanted, and returns its outputs then.
async fn apply(
    context: &Context,
    cloud: &Cloud,
    deployed: preview::Deployed<'_>,
    wanted: &Wanted<'_>,
    releases: &Releases,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<Outputs> {
    let stack = deployed.stack;
    let timer = context.listener.start(format!("update stack {}", context.stack));
    let parameters = preview::parameters(&wanted.function.hash, &releases.after);
    if deployed.is(wanted.template, &parameters) {
        timer.finish(&*context.listener, "nothing to change");
        return stack.outputs();
    }
    let source = Source::Text { text: wanted.template, bucket: stack.bucket()? };
    let change = ChangeSet::prepare(cloud, &stack.name, false, source, &parameters).await?;
    let Some(change) = change else {
        timer.finish(&*context.listener, "nothing to change");
        return stack.outputs();
    };
    let plan = preview::of_update(context, cloud, &deployed, wanted, releases)?.with_change_set(&change.changes);
    if let Err(refusal) = permit(context, &plan, &change, wanted, confirmed).await {
        ChangeSet::discard(cloud, &stack.name, &change.id).await?;
        return Err(refusal);
    }
    let expected: Vec<Expected> = Color::ALL.iter().filter_map(|color| changed(*color, releases)).collect();
    execute(context, cloud, stack, &change, &expected).await?;
    timer.finish(&*context.listener, format!("{} resources changed", change.changes.len()));
    DeployedStack::require(cloud, &context.stack).await?.outputs()
}

/// What an environment will run that it does not run now.
fn changed(color: Color, releases: &Releases) -> Option<Expected> {
    let release = releases.after.of(color).as_ref()?;
    (releases.before.of(color).as_ref() != Some(release)).then(|| Expected { color, image: release.image.clone() })
}

/// Whether the change may be executed: by the rules about live traffic, by what was asked for, and by whoever has to
/// agree to more than was shown before.
async fn permit(
    context: &Context,
    plan: &Plan,
    change: &ChangeSet,
    wanted: &Wanted<'_>,
    confirmed: Option<&BTreeSet<String>>,
) -> Result<()> {
    if wanted.request.expect_no_changes {
        return Err(super::changes_found(plan));
    }
    if !wanted.request.allowed.live_changes {
        refuse_live_changes(&change.changes, plan.traffic.prod)?;
    }
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
    follow_operation(operation, begin).await
}

/// Makes the rules that carry traffic, equal to what the listeners of a stack do that an older version made: after that
/// no update of the stack can move users. A rule wins over the default action that says the same, so nobody notices.
async fn make_rules(context: &Context, cloud: &Cloud, outputs: &Outputs, traffic: Traffic) -> Result<Traffic> {
    let (Some(prod), Some(dev)) = (traffic.prod.route(), traffic.dev.route()) else { return Ok(traffic) };
    if traffic.by_rules {
        return Ok(traffic);
    }
    let timer = context.listener.start("move prod and dev from the template into rules");
    let rules = cloud.rules(&context.stack, outputs);
    let mut tries = 0;
    loop {
        let mut written = Ok(());
        for (listener, route) in [(Listener::Prod, prod), (Listener::Dev, dev)] {
            written = written.and(rules.write(listener, route).await);
        }
        let found = cloud.traffic(&context.stack, outputs).await?;
        if found.by_rules && (found.prod.route(), found.dev.route()) == (Some(prod), Some(dev)) {
            timer.finish(&*context.listener, "traffic stays where it is");
            return Ok(found);
        }
        tries += 1;
        if tries == TRIES {
            let error = Error::failed("the listeners' rules could not be made: nothing was changed for users");
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
            timer.finish(&*context.listener, "its tasks start");
        }
    }
    Ok(())
}

/// Waits until every environment that does not sleep runs what it should, and, where the sites are given with what is
/// live, answers so.
async fn all_steady(
    context: &Context,
    cloud: &Cloud,
    outputs: &Outputs,
    releases: &Both<Option<Release>>,
    sites: Option<(&Result<Sites>, Color)>,
) -> Result<()> {
    let wait = |color: Color| async move {
        let Some(release) = releases.of(color) else { return Ok(()) };
        if context.settings.idle_sleeps() && sleeps(cloud, outputs, color).await? {
            context.listener.note(format!("{color} sleeps, with version {}", release.version));
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
/// words; an error where another version answers.
pub(super) async fn answer(
    context: &Context,
    sites: &Result<Sites>,
    live: Color,
    color: Color,
    release: Option<&Release>,
) -> Result<Option<String>> {
    let Some(release) = release else { return Ok(None) };
    let site = if color == live { Site::Prod } else { Site::Environment(color) };
    let answer = match sites {
        Ok(sites) => sites.require(site, &release.version).await,
        Err(error) => Ok(Answer::Unknown(error.to_string())),
    };
    let wrong =
        |error: Error| error.while_doing(format!("the {color} environment does not run what was deployed to it"));
    match answer.map_err(wrong)? {
        Answer::Expected => return Ok(Some(format!("answers as version {}, healthy", release.version))),
        Answer::Untold => {}
        Answer::Unknown(why) => {
            context.listener.note(format!("which version {color} answers with could not be checked from here: {why}"));
        }
    }
    Ok(Some(runs(release)))
}

/// After a deployment that did not come up: makes the stack say again what was there before, and returns the error
/// that tells it.
async fn take_back(
    context: &Context,
    cloud: &Cloud,
    wanted: &Wanted<'_>,
    before: &Both<Option<Release>>,
    error: Error,
) -> Error {
    let restore = async {
        let timer = context.listener.start("take the deployment back");
        let stack = DeployedStack::require(cloud, &context.stack).await?;
        let parameters = preview::parameters(&wanted.function.hash, before);
        let source = Source::Text { text: wanted.template, bucket: stack.bucket()? };
        let change = ChangeSet::prepare(cloud, &stack.name, false, source, &parameters).await?;
        if let Some(change) = change {
            execute(context, cloud, &stack, &change, &[]).await?;
        }
        let outputs = DeployedStack::require(cloud, &context.stack).await?.outputs()?;
        all_steady(context, cloud, &outputs, before, None).await?;
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
            .hint("bluegreen status shows what runs; run the same command again to try once more"),
    }
}
