//! The status of a stack: who is prod, who is dev, what runs there and how well, and the last runs.

mod unresolved;

use model::color::Color;
use model::lease::LeaseInfo;
use model::listener::ListenerState;
use model::route::Listener;
use model::stack_state::StackState;
use model::{Outcome, Record};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

pub use unresolved::Unresolved;

use crate::context::Context;
use crate::error::Result;
use crate::requests::{Meter, Requests};
use crate::runs;
use deploy::{Cloud, DeployedStack, Expected, Role, Traffic, observe};
use stack::outputs::Outputs;
use stack::{IDLE_SCHEDULE, parameter};

/// Runs shown.
const RUNS: usize = 5;

/// Version of the format, in [`Status::schema`].
pub const SCHEMA: u32 = 2;

/// Everything that status shows. Stable: fields are added, never changed.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of this format.
    pub schema: u32,
    /// The stack's name.
    pub stack: String,
    /// The region.
    pub region: String,
    /// The stack's state.
    pub state: StackState,
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
    pub lease: Option<LeaseInfo>,
    /// The last runs, the newest first.
    pub runs: Vec<Record>,
}

/// One environment.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Which.
    pub color: Color,
    /// `prod`, `dev`, `prod+dev` or `no traffic`; `prod 10 %` while prod is split. And `prod_percent`, the percentage of
    /// the requests of prod that it gets.
    #[serde(flatten)]
    pub role: Role,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which.
    pub listener: Listener,
    /// How it differs.
    pub kind: DriftKind,
}

/// How a listener differs from what the last cutover left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// It has no rule.
    NoRule,
    /// It does something that is not understood.
    NotUnderstood(String),
    /// It forwards to another environment.
    Moved {
        /// The environment that it forwards to.
        to: Color,
        /// The environment that it forwarded to after the last cutover.
        from: Color,
    },
}

impl DriftKind {
    /// A name for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::NotUnderstood(_) => "not_understood",
            Self::Moved { .. } => "moved",
        }
    }

    /// What is wrong.
    pub fn problem(&self) -> String {
        match self {
            Self::NoRule => "it has no rule that forwards to an environment".to_owned(),
            Self::NotUnderstood(problem) => problem.clone(),
            Self::Moved { to, from } => {
                format!("it forwards to {to}; after the last cutover it forwarded to {from}")
            }
        }
    }

    /// What to do about it.
    pub const fn todo(&self) -> &'static str {
        match self {
            Self::NoRule => "create the rule again from the ledger: bluegreen reconcile",
            Self::NotUnderstood(_) => "delete the unexpected rule, and run bluegreen reconcile",
            Self::Moved { .. } => {
                "find out who changed the rule; restore it with bluegreen reconcile, or keep the change with bluegreen \
                 reconcile --to COLOR"
            }
        }
    }
}

impl Serialize for Drift {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Drift", 4)?;
        fields.serialize_field("listener", self.listener.as_str())?;
        fields.serialize_field("kind", self.kind.as_str())?;
        fields.serialize_field("problem", &self.kind.problem())?;
        fields.serialize_field("todo", self.kind.todo())?;
        fields.end()
    }
}

/// Reads the status. A caller that reads it repeatedly keeps the meter.
pub async fn look(context: &Context, meter: &mut Meter) -> Result<Status> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let traffic = cloud.traffic(&stack.name, &outputs).await?;
    let (mut blue, mut green, runs, lease, reading) = tokio::try_join!(
        environment(&cloud, &stack, &outputs, &traffic, Color::Blue),
        environment(&cloud, &stack, &outputs, &traffic, Color::Green),
        runs::last(&cloud, &outputs, RUNS),
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
    // A lease that cannot be read keeps nobody from seeing the rest.
    let unread = lease.as_ref().err().map(|error| format!("cannot read the lease: {error}"));
    let lease = lease.unwrap_or_default().map(|holder| holder.info);
    let quiet = lease.is_none() && unread.is_none();
    let mut warnings = warnings(&stack, &traffic, &runs, quiet);
    warnings.extend(unread);
    let environments = vec![blue, green];
    let bad = unresolved::find(&cloud, &outputs, &runs).await?;
    Ok(Status {
        schema: SCHEMA,
        unresolved: bad.map(|run| Unresolved::of(&run, &environments)),
        prod_url: cloud.connect_to.display_url(&outputs.prod_url),
        dev_url: cloud.connect_to.display_url(&outputs.dev_url),
        region: cloud.region().to_owned(),
        state: stack.state.clone(),
        drift: drift(&stack, &traffic, &runs, quiet),
        warnings,
        environments,
        requests_unknown,
        lease,
        runs,
        stack: stack.name,
    })
}

/// The last failed run that no later run has resolved, without the rest of the status.
pub async fn unresolved(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs) -> Result<Option<Unresolved>> {
    let runs = runs::last(cloud, outputs, RUNS).await?;
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
    let number = stack.release_number(color);
    let expected = Expected { color, image: image.clone() };
    let releases = cloud.releases(&outputs.bucket);
    let (observed, changed) = tokio::try_join!(observe(cloud, outputs, &expected), releases.changed_by(number))?;
    // Read from the stack, not from the settings, which may describe the next release.
    let asleep = observed.asleep && traffic.share(color) == 0 && may_sleep(cloud, stack).await?;
    Ok(Environment {
        color,
        asleep,
        role: traffic.role(color),
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
    if !quiet || !Color::ALL.iter().any(|color| is_released(stack, *color)) {
        return Vec::new();
    }
    let listeners = [(Listener::Prod, &traffic.prod), (Listener::Dev, &traffic.dev)].into_iter();
    let mut drift: Vec<Drift> = listeners
        .filter_map(|(listener, state)| {
            let kind = match state {
                ListenerState::At(_) => return None,
                ListenerState::Absent => DriftKind::NoRule,
                ListenerState::NotUnderstood(problem) => DriftKind::NotUnderstood(problem.clone()),
            };
            Some(Drift { listener, kind })
        })
        .collect();
    if let (Some(from), Some(to)) = (left_at(runs), traffic.prod_color())
        && from != to
    {
        drift.push(Drift { listener: Listener::Prod, kind: DriftKind::Moved { to, from } });
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
    if !stack.is_complete() {
        let reason = stack.reason.as_deref().unwrap_or("no reason given");
        warnings.push(format!("stack {} is in {}: {reason}", stack.name, stack.state));
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

    fn found(prod: ListenerState, dev: ListenerState, runs: &[Record]) -> Vec<(Listener, DriftKind)> {
        let mut stack = DeployedStack::in_state("s", StackState::UpdateComplete);
        stack.parameters.insert("GreenImage".to_owned(), "app@1".to_owned());
        let traffic = Traffic { prod, dev, by_rules: true };
        drift(&stack, &traffic, runs, true).into_iter().map(|it| (it.listener, it.kind)).collect()
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
        let absent = found(ListenerState::Absent, at(Color::Blue), &[]);
        assert_eq!(absent, [(Listener::Prod, DriftKind::NoRule)]);
        let strange = found(at(Color::Green), ListenerState::NotUnderstood("it redirects".to_owned()), &[]);
        assert_eq!(strange, [(Listener::Dev, DriftKind::NotUnderstood("it redirects".to_owned()))]);
        let moved = found(at(Color::Green), at(Color::Blue), &[run(Outcome::Done, Color::Blue)]);
        let expected = DriftKind::Moved { to: Color::Green, from: Color::Blue };
        assert_eq!(moved, [(Listener::Prod, expected)]);
    }

    #[test]
    fn before_the_first_release_nothing_has_drifted() {
        let stack = DeployedStack::in_state("s", StackState::CreateComplete);
        let traffic = Traffic { prod: ListenerState::Absent, dev: ListenerState::Absent, by_rules: false };
        assert_eq!(drift(&stack, &traffic, &[], true), []);
    }
}
