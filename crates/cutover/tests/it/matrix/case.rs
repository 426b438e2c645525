//! One case: a cutover with one fault in one call, and the guarantees of the engine. Must not know how many cases there
//! are.

use super::aws::{Aws, Fault};
use super::call::Point;
use crate::world::addresses;
use aws::clock::Clock;
use cutover::balancer::AwsBalancer;
use cutover::config::Config;
use cutover::events::EventBus;
use cutover::notifier::{Notification, Notifier};
use cutover::probe::{Client, Clients, Reply, Site};
use cutover::run::Stack;
use ledger::{Ledger, S3Store};
use model::keys;
use model::record::{Connection, Outcome};
use model::route::Listener;
use model::variables as names;
use model::{Answer, Color, Record};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const ID: &str = "the-cutover";
/// Timeout of the function.
const FUNCTION_TIMEOUT: Duration = Duration::from_mins(2);
/// Time in which late writes take effect and leases expire.
const PAUSE: Duration = Duration::from_mins(2);
/// Outcomes that need a notification.
const TOLD: [Outcome; 4] = [Outcome::Done, Outcome::RolledBack, Outcome::Held, Outcome::Failed];

/// The result of one case.
pub struct Came {
    pub outcome: Outcome,
    pub recorded: bool,
    pub took: Duration,
    /// Violations.
    pub problems: Vec<String>,
    /// The points that calls were made at.
    pub seen: BTreeSet<Point>,
}

/// Probes are answered by the environment that AWS in memory routes them to.
#[derive(Clone)]
struct Probes(Aws);

struct Probing(Aws, Site);

impl Clients for Probes {
    type Client = Probing;

    async fn open(&self, site: Site, _: &str, _: Option<&str>) -> Result<Probing, String> {
        Ok(Probing(self.0.clone(), site))
    }
}

impl Client for Probing {
    fn addresses(&self) -> Arc<[SocketAddr]> {
        addresses(&["192.0.2.1:80"])
    }

    async fn refresh(&self) -> Result<(), String> {
        Ok(())
    }

    async fn send(&self, _: SocketAddr, _: Connection) -> Reply {
        sleep(Duration::from_millis(5)).await;
        let color = match self.1 {
            Site::Environment(color) => color,
            Site::Dev => self.0.state().at(Listener::Dev),
            Site::Prod => self.0.route(),
        };
        let version = if color == Color::Blue { "2" } else { "1" };
        let (status, version) = (Some(200), Some(version.to_owned()));
        Reply { first_byte: Some(Instant::now()), status, version, bytes: 10, failure: None }
    }
}

/// The event bus.
#[derive(Debug)]
struct Bus(EventBus);

impl Notifier for Bus {
    fn notify<'a>(&'a self, record: &'a Record) -> Notification<'a> {
        Box::pin(self.0.notify(record))
    }
}

fn config() -> Config {
    let environment = |name: &str| {
        let value = match name {
            names::STACK => "shop",
            names::PROD_LISTENER => "listener/prod",
            names::DEV_LISTENER => "listener/dev",
            names::BLUE_TARGET_GROUP => "group/blue",
            names::GREEN_TARGET_GROUP => "group/green",
            names::CLUSTER => "cluster",
            names::BLUE_SERVICE => "service/blue",
            names::GREEN_SERVICE => "service/green",
            names::BUCKET => "bucket",
            names::PROD_URL | names::DEV_URL => "http://shop.example",
            names::EVENT_BUS => "default",
            names::VERSION_HEADER => "x-app-version",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::from_lookup(environment).unwrap()
}

/// Invokes a process that has just started.
async fn invoke(aws: &Aws, event: &Value) -> Record {
    static REGIONS: AtomicUsize = AtomicUsize::new(0);
    let sdk = aws.config(format!("test-{}", REGIONS.fetch_add(1, Ordering::Relaxed)));
    event["id"].as_str().unwrap().clone_into(&mut aws.state().running);
    let config = config();
    let stack = Arc::new(Stack {
        ledger: Ledger::new(Arc::new(S3Store::new(&sdk, &config.bucket, None)), aws.clock),
        clients: Probes(aws.clone()),
        clock: aws.clock,
        version_header: config.version_header.clone(),
        probe_path: config.probe_path.clone(),
        success_codes: config.success_codes.clone(),
        idle: None,
        notifier: Some(Arc::new(Bus(EventBus::new(&sdk, "default", &config.stack)))),
        balancer: AwsBalancer::new(&sdk, config),
    });
    match Box::pin(stack.handle(event, Instant::now() + FUNCTION_TIMEOUT)).await {
        Answer::Run(record) => *record,
        other => panic!("not a record: {other:?}"),
    }
}

/// The outcome that is recorded for an id.
fn recorded(aws: &Aws, id: &str) -> Option<String> {
    let state = aws.state();
    state.object(&keys::run(id))?["outcome"].as_str().map(str::to_owned)
}

/// Runs a case, and checks the guarantees.
async fn play(fault: Option<Fault>) -> Came {
    let aws = Aws::new(Clock::starting_at("2026-01-31T12:00:00Z".parse().unwrap()));
    aws.state().fault = fault;
    // A series is as short as possible if no renewal of the lease must occur.
    let interval = if fault.is_none_or(|fault| fault.point == Point::RenewLock) { 250 } else { 20 };
    let probe = json!({"count": 20, "baseline": 5, "interval_ms": interval});
    let event = json!({"op": "cutover", "id": ID, "probe": probe});
    let begun = Instant::now();
    let run = invoke(&aws, &event).await;
    let (ended, outcome) = (Instant::now(), run.outcome.unwrap());
    let seen = std::mem::take(&mut aws.state().seen);
    aws.state().fault = None;
    let mut problems = ended_well(&aws, fault, &run, ended - begun);
    let stored = recorded(&aws, ID);
    // A verified side is not rolled back.
    let verified = aws.state().object(&keys::run(ID)).is_some_and(|record| record["verified"] == true);
    // Late writes take effect, and leases expire.
    sleep(PAUSE).await;
    let late = aws
        .state()
        .changes
        .iter()
        .filter(|change| change.at > ended)
        .map(|late| format!("{late:?} is late"))
        .collect::<Vec<_>>();
    problems.extend(late);
    let silenced = fault.is_some_and(|fault| fault.point == Point::Events);
    let reported = aws.state().events.iter().any(|detail| detail["id"] == ID && detail["outcome"] == outcome.as_str());
    if run.recorded && TOLD.contains(&outcome) && !reported && !silenced {
        problems.push("no notification was sent".to_owned());
    }
    let before = recorded(&aws, ID);
    if run.recorded && before != stored {
        problems.push(format!("the recorded outcome changed: {stored:?}, {before:?}"));
    }
    let again = invoke(&aws, &event).await.outcome.map(|outcome| outcome.to_string());
    if before.is_some() && again != before {
        problems.push(format!("a second request answered {again:?} and not {before:?}"));
    }
    let reconciled = invoke(&aws, &json!({"op": "reconcile", "id": "the-reconciliation"})).await;
    if !reconciled.outcome.is_some_and(Outcome::is_success) {
        problems.push(format!("reconcile: {:?}, {}", reconciled.outcome, reconciled.message));
    }
    sleep(PAUSE).await;
    let lasting = if run.recorded { Some(outcome) } else { verified.then_some(Outcome::Done) };
    problems.extend(lasting.and_then(|outcome| untruth(&aws, outcome)));
    let after = recorded(&aws, ID);
    if before.is_some() && after != before {
        problems.push(format!("its recorded outcome {before:?} became {after:?}"));
    }
    problems.extend(disorder(&aws));
    Came { outcome, recorded: run.recorded, took: ended - begun, problems, seen }
}

/// The violations when the run has just answered.
fn ended_well(aws: &Aws, fault: Option<Fault>, run: &Record, took: Duration) -> Vec<String> {
    let mut problems = Vec::new();
    if fault.is_some() && aws.state().hits == 0 {
        problems.push("the fault affected no call".to_owned());
    }
    if took > FUNCTION_TIMEOUT {
        problems.push("it took longer than the timeout of the function".to_owned());
    }
    let outcome = run.outcome.unwrap();
    problems.extend(untruth(aws, outcome));
    if run.probes.as_ref().is_some_and(|probes| probes.counts.failed > 0) {
        problems.push("a probe failed".to_owned());
    }
    let stored = recorded(aws, ID);
    if run.recorded && stored.as_deref() != Some(outcome.as_str()) {
        problems.push(format!("it answered {outcome}, and {stored:?} is recorded"));
    }
    problems
}

/// The violations at the end of the case.
fn disorder(aws: &Aws) -> Vec<String> {
    let state = aws.state();
    let mut problems = state.violations.clone();
    let prod = state.at(Listener::Prod);
    if prod == state.at(Listener::Dev) {
        problems.push(format!("prod and dev are both {prod}"));
    }
    let open = state.records().filter(|record| record["outcome"].is_null());
    problems.extend(open.map(|record| format!("{} never ended", record["id"])));
    problems
}

/// The contradiction between an outcome and the places of prod and dev, if any.
fn untruth(aws: &Aws, outcome: Outcome) -> Option<String> {
    let state = aws.state();
    let at = (state.at(Listener::Prod), state.at(Listener::Dev));
    let should = match outcome {
        Outcome::Done => (Color::Blue, Color::Green),
        Outcome::RolledBack | Outcome::Refused => (Color::Green, Color::Blue),
        _ => return None,
    };
    (at != should).then(|| format!("the outcome is {outcome}, with prod and dev at {at:?}"))
}

/// Runs a case in a separate runtime with paused time. The SDK's pauses between retries are random, but the same in
/// every test.
pub fn case(fault: Option<Fault>) -> Came {
    fastrand::seed(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(fault))
}
