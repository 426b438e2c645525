//! `bluegreen status`: who is prod, who is dev, what runs there and how well, and the last runs.

mod unresolved;

use model::color::Color;
use model::lease::LeaseInfo;
use model::listener::ListenerState;
use model::{Outcome, Record};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::time::Duration;

pub use unresolved::Unresolved;

use super::{Context, history, releases};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{Expected, observe};
use crate::error::Result;
use crate::requests::{Meter, Requests};
use crate::session::{Session, json_line, print_text};
use crate::ui::{Style, render_error, render_status};
use stack::outputs::Outputs;
use stack::{IDLE_SCHEDULE, parameter};

/// The pause between two reads of `status --watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// Runs shown.
const RUNS: usize = 5;

/// Everything that status shows. Stable: fields are added, never changed.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The stack's name.
    pub stack: String,
    /// The region.
    pub region: String,
    /// The stack's status in CloudFormation's words.
    pub state: String,
    /// What users see, as it can be opened from here.
    pub prod_url: String,
    /// The URL of dev, as it can be opened from this machine.
    pub dev_url: String,
    /// The environments, blue first.
    pub environments: Vec<Environment>,
    /// Differences between the listeners and the last cutover.
    pub drift: Vec<Drift>,
    /// Why the requests are not known; null where they are.
    pub requests_unknown: Option<String>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
    /// The last failed run that no later run has resolved; null if there is none.
    pub unresolved: Option<Unresolved>,
    /// Who changes the stack or its traffic at the moment.
    pub lock: Option<LeaseInfo>,
    /// The last runs, the newest first.
    pub runs: Vec<Record>,
}

/// One environment.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Which.
    pub color: Color,
    /// `prod`, `dev`, `prod+dev` or `no traffic`; `prod 10 %` while prod is split.
    pub role: String,
    /// The percentage of prod's requests that it gets.
    pub prod_percent: u8,
    /// The version label; empty if nothing is deployed.
    pub version: String,
    /// The number of the release that it runs; null if an older version of this command deployed it.
    pub release: Option<u64>,
    /// The settings in which that release differs from the one before it, by name; null if there is nothing to compare.
    pub changed: Option<Vec<String>>,
    /// The image by digest; empty if nothing is deployed.
    pub image: String,
    /// Tasks that run.
    pub running: i32,
    /// Tasks that should.
    pub desired: i32,
    /// Targets that the load balancer finds healthy.
    pub healthy: usize,
    /// Whether its tasks were ended because nobody needs them: a deployment, a cutover or a rollback starts them again.
    pub asleep: bool,
    /// The difference from the stack, for people.
    pub fault: Option<String>,
    /// Its requests in the last minutes; null where they are not known.
    pub requests: Option<Requests>,
}

/// A listener that does something else than the last cutover left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `prod` or `dev`.
    pub listener: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub todo: &'static str,
}

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Refresh every two seconds until interrupted.
    #[arg(long)]
    watch: bool,
}

impl Args {
    /// Prints the status: once, or each time that it changes.
    pub async fn run(&self, session: &Session) -> Result<()> {
        if self.watch {
            return watch(session).await;
        }
        let status = Box::pin(look(&session.context, &mut Meter::default())).await?;
        session.show(&status, render_status)
    }
}

/// Prints the status each time that it changes.
async fn watch(session: &Session) -> Result<()> {
    let style = Style::of_stdout();
    let (mut before, mut meter) = (String::new(), Meter::default());
    loop {
        let text = match Box::pin(look(&session.context, &mut meter)).await {
            Ok(status) if session.json => json_line(&status)?,
            Ok(status) => render_status(&status, style),
            // The reader sees that AWS is unreachable, and when it is there again.
            Err(error) if error.is_transient() => render_error(&error, style),
            Err(error) => return Err(error),
        };
        if text != before {
            // On a terminal it stays in its place; elsewhere each change is printed.
            let clear = if std::io::stdout().is_terminal() && !session.json { "\x1b[H\x1b[2J" } else { "" };
            print_text(&format!("{clear}{text}"))?;
            before = text;
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Reads the status. A caller that reads it repeatedly keeps the meter.
pub async fn look(context: &Context, meter: &mut Meter) -> Result<Status> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let traffic = cloud.traffic(&stack.name, &outputs).await?;
    let (mut blue, mut green, runs, lock, reading) = tokio::try_join!(
        environment(&cloud, &stack, &outputs, &traffic, Color::Blue),
        environment(&cloud, &stack, &outputs, &traffic, Color::Green),
        history::read(&cloud, &outputs, RUNS),
        async { Ok(cloud.ledger(&outputs.bucket).holder().await) },
        async { Ok(meter.read(&cloud, &outputs).await) },
    )?;
    let requests_unknown = match reading {
        Ok(requests) => {
            (blue.requests, green.requests) = (Some(requests.blue), Some(requests.green));
            None
        }
        Err(why) => Some(why),
    };
    // A lock that cannot be read keeps nobody from seeing the rest.
    let unread = lock.as_ref().err().map(|error| format!("cannot read the lease: {error}"));
    let lock = lock.unwrap_or_default().map(|holder| holder.info);
    let quiet = lock.is_none() && unread.is_none();
    let mut warnings = warnings(&stack, &traffic, &runs, quiet);
    warnings.extend(unread);
    let environments = vec![blue, green];
    let bad = unresolved::find(&cloud, &outputs, &runs).await?;
    Ok(Status {
        unresolved: bad.map(|run| Unresolved::of(&run, &environments)),
        prod_url: cloud.connect_to.display_url(&outputs.prod_url),
        dev_url: cloud.connect_to.display_url(&outputs.dev_url),
        region: cloud.region().to_owned(),
        state: stack.status.clone(),
        drift: drift(&stack, &traffic, &runs, quiet),
        warnings,
        environments,
        requests_unknown,
        lock,
        runs,
        stack: stack.name,
    })
}

/// The last failed run that no later run has resolved, without the rest of the status.
pub(super) async fn unresolved(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs) -> Result<Option<Unresolved>> {
    let runs = history::read(cloud, outputs, RUNS).await?;
    let Some(run) = unresolved::find(cloud, outputs, &runs).await? else { return Ok(None) };
    let traffic = cloud.traffic(&stack.name, outputs).await?;
    let environment = |color| environment(cloud, stack, outputs, &traffic, color);
    let (blue, green) = tokio::try_join!(environment(Color::Blue), environment(Color::Green))?;
    Ok(Some(Unresolved::of(&run, &[blue, green])))
}

async fn environment(
    cloud: &Cloud,
    stack: &DeployedStack,
    outputs: &Outputs,
    traffic: &Traffic,
    color: Color,
) -> Result<Environment> {
    let image = stack.parameter(parameter::image(color)).to_owned();
    let number = releases::number_of(stack, color);
    let expected = Expected { color, image: image.clone() };
    let (observed, changed) =
        tokio::try_join!(observe(cloud, outputs, &expected), releases::changed(cloud, &outputs.bucket, number))?;
    // Read from the stack, not from the settings, which may describe the next release.
    let asleep = observed.asleep && traffic.share(color) == 0 && may_sleep(cloud, stack).await?;
    Ok(Environment {
        color,
        asleep,
        role: traffic.role(color),
        prod_percent: traffic.share(color),
        version: stack.parameter(parameter::version(color)).to_owned(),
        release: number,
        changed,
        image,
        running: observed.running,
        desired: observed.desired,
        healthy: observed.healthy,
        fault: observed.fault.filter(|_| !asleep),
        requests: None,
    })
}

async fn may_sleep(cloud: &Cloud, stack: &DeployedStack) -> Result<bool> {
    Ok(stack.template(cloud).await?["Resources"][IDLE_SCHEDULE].is_object())
}

/// Problems of the listener rules: a rule is missing, forwards elsewhere, or to another environment than after the
/// last run. Empty while somebody holds the lease (`quiet` is false).
fn drift(stack: &DeployedStack, traffic: &Traffic, runs: &[Record], quiet: bool) -> Vec<Drift> {
    const RECONCILE: &str = "create the rule again from the ledger: bluegreen reconcile";
    if !quiet || !Color::ALL.iter().any(|color| is_released(stack, *color)) {
        return Vec::new();
    }
    let mut drift = Vec::new();
    for (listener, state) in [("prod", &traffic.prod), ("dev", &traffic.dev)] {
        let todo = match state {
            ListenerState::Absent => RECONCILE,
            _ => "delete the unexpected rule, and run bluegreen reconcile",
        };
        drift.extend(state.problem().map(|problem| Drift { listener, problem: problem.to_owned(), todo }));
    }
    if let (Some(left), Some(prod)) = (left_at(runs), traffic.prod_color())
        && left != prod
    {
        let problem = format!("it forwards to {prod}; after the last cutover it forwarded to {left}");
        let todo = "find out who changed the rule; restore it with bluegreen reconcile, or keep the change with bluegreen \
                    reconcile --to COLOR";
        drift.push(Drift { listener: "prod", problem, todo });
    }
    drift
}

fn is_released(stack: &DeployedStack, color: Color) -> bool {
    !stack.parameter(parameter::image(color)).is_empty()
}

/// The environment that the newest run that decided it left prod at.
fn left_at(runs: &[Record]) -> Option<Color> {
    let decided = |run: &&Record| matches!(run.outcome, Some(Outcome::Done | Outcome::RolledBack | Outcome::Held));
    runs.iter().find(decided)?.prod
}

fn warnings(stack: &DeployedStack, traffic: &Traffic, runs: &[Record], quiet: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if let (Some(prod), Some(dev)) = (traffic.prod_color(), traffic.dev_color())
        && prod == dev
        && quiet
    {
        warnings.push(format!("prod and dev both forward to {prod}: repair them with bluegreen reconcile"));
    }
    if let Some(split) = traffic.prod.route().filter(|route| quiet && route.whole().is_none()) {
        let todo = "point prod at one side with bluegreen reconcile";
        warnings.push(format!("prod is split, and no cutover is in progress: {split}; {todo}"));
    }
    if !traffic.by_rules && traffic.prod_color().is_some() {
        warnings.push(
            "the stack was created by an older version of bluegreen: update it with bluegreen deploy, which moves no traffic"
                .to_owned(),
        );
    }
    if !stack.status.ends_with("_COMPLETE") {
        let reason = stack.reason.as_deref().unwrap_or("no reason given");
        warnings.push(format!("stack {} is in {}: {reason}", stack.name, stack.status));
    }
    if runs.first().is_some_and(|run| run.interrupted || (quiet && !run.is_final())) {
        warnings.push("the last run was interrupted: repair the listeners with bluegreen reconcile".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use model::request::Request;
    use model::route::Route;

    use super::*;

    fn at(color: Color) -> ListenerState {
        ListenerState::At(Route::All(color))
    }

    fn run(outcome: Outcome, prod: Color) -> Record {
        let mut run = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::UNIX_EPOCH, String::new());
        (run.outcome, run.prod) = (Some(outcome), Some(prod));
        run
    }

    fn found(prod: ListenerState, dev: ListenerState, runs: &[Record]) -> Vec<(&'static str, String)> {
        let mut stack = DeployedStack::with_status("s", "UPDATE_COMPLETE");
        stack.parameters.insert("GreenImage".to_owned(), "app@1".to_owned());
        let traffic = Traffic { prod, dev, by_rules: true };
        drift(&stack, &traffic, runs, true).into_iter().map(|it| (it.listener, it.problem)).collect()
    }

    #[test]
    fn rules_as_the_runs_left_them_have_not_drifted() {
        assert_eq!(found(at(Color::Green), at(Color::Blue), &[]), []);
        assert_eq!(found(at(Color::Blue), at(Color::Green), &[run(Outcome::Done, Color::Blue)]), []);
        let refused = [run(Outcome::Refused, Color::Green), run(Outcome::Done, Color::Blue)];
        assert_eq!(found(at(Color::Blue), at(Color::Green), &refused), [], "a refused run decides nothing");
    }

    #[test]
    fn a_rule_that_is_gone_or_was_changed_by_hand_is_seen() {
        assert_eq!(found(ListenerState::Absent, at(Color::Blue), &[])[0].0, "prod");
        let strange = found(at(Color::Green), ListenerState::NotUnderstood("it redirects".to_owned()), &[]);
        assert_eq!(strange, [("dev", "it redirects".to_owned())]);
        let moved = found(at(Color::Green), at(Color::Blue), &[run(Outcome::Done, Color::Blue)]);
        assert!(moved[0].1.contains("forwards to green; after the last cutover it forwarded to blue"), "{moved:?}");
    }

    #[test]
    fn before_the_first_release_nothing_has_drifted() {
        let stack = DeployedStack::with_status("s", "CREATE_COMPLETE");
        let traffic = Traffic { prod: ListenerState::Absent, dev: ListenerState::Absent, by_rules: false };
        assert_eq!(drift(&stack, &traffic, &[], true), []);
    }
}
