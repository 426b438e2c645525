//! `bluegreen cutover`, `rollback` and `reconcile`: invokes the function and follows its record.
//!
//! The function is invoked asynchronously under an id, and the record is read from the ledger: a lost connection, or a
//! closed terminal, never repeats or stops a cutover.

mod args;
pub mod attend;
mod follow;
pub mod steer;

use std::process::ExitCode;
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use ledger::{Holder, S3Ledger};
use model::record::StepKind;
use model::request::{Op, Request, limits};
use model::{Outcome, Record};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

pub use args::{Args, RunArgs};
pub use follow::{BEGIN_LIMIT, verdict};

use super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Calling, Error, Result};
use crate::session::Session;
use stack::outputs::Outputs;

/// An event older than this is not begun any more. Lambda itself drops it at the same age.
const EVENT_AGE: Duration = Duration::from_mins(1);

/// Between two tries to invoke the function.
const INVOKE_AGAIN: Duration = Duration::from_millis(500);

/// How often the function may find the lock held, and this command nobody who holds it, before that is believed.
const LOST_RACES: u32 = 3;

/// Between two looks at the lock that somebody else holds.
const LOOK_AT_LOCK: Duration = Duration::from_millis(500);

/// Between two looks at a stack that CloudFormation changes; its calls are throttled sooner than others.
const LOOK_AT_STACK: Duration = Duration::from_secs(2);

impl Args {
    /// Has the function swap prod and dev, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        attend::run(session, self.order()).await
    }
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the function is asked for. An id and who asks are added.
    pub request: Request,
    /// Longest time that the load balancer may take to follow; if absent, what the settings say.
    pub settle_limit: Option<Duration>,
    /// Whether to wait while a deployment or another cutover is under way.
    pub wait: bool,
}

impl Order {
    /// The plain operation.
    pub fn new(op: Op) -> Self {
        Self { request: Request { op, ..Request::default() }, settle_limit: None, wait: false }
    }
}

/// Who is told how a run goes on.
pub trait Follower {
    /// Somebody else holds the lock, and it is waited for. Called again and again.
    fn waiting(&mut self, holder: &Holder);

    /// The function is about to be asked for the run of this id.
    fn asked(&mut self, _id: &str) {}

    /// AWS is out of reach, and the run goes on meanwhile. Called once each time.
    fn reconnecting(&mut self);

    /// Takes the record as it is now.
    fn progress(&mut self, record: &Record);
}

/// Asks the function for what is ordered and follows the run to its end.
pub async fn run(context: &Context, order: &Order, follower: &mut dyn Follower) -> Result<Record> {
    let cloud = Cloud::connect(&context.settings).await?;
    let mut lost = 0;
    let record = loop {
        let (ledger, id) = ask(context, &cloud, order, follower).await?;
        let record = follow::follow(&id, async || ledger.load(&id).await, follower).await?;
        if !(order.wait && found_the_lock_held(&record)) {
            break record;
        }
        if order.request.id.is_some() {
            context
                .listener
                .warn("an id stands for one outcome: to wait, run it again with another id, or without one");
            break record;
        }
        // Somebody took the lock between the look at it and the function's. The next run has an id of its own.
        lost += u32::from(!ledger.holder().await.is_ok_and(|holder| holder.is_some()));
        if lost > LOST_RACES {
            break record;
        }
    };
    if moved_prod(&record) {
        protect_from_now_on(context, &cloud).await;
    }
    Ok(record)
}

/// Whether a run was refused because somebody else held the lock: taking it was the last thing that it did, and it never
/// had it.
fn found_the_lock_held(record: &Record) -> bool {
    let last = record.steps.last().is_some_and(|step| step.kind() == Some(StepKind::Lease));
    record.outcome == Some(Outcome::Refused) && record.epoch == 0 && last
}

/// Whether a run moved the users of prod for good.
pub(super) fn moved_prod(record: &Record) -> bool {
    record.outcome == Some(Outcome::Done) && matches!(record.op, Op::Cutover | Op::Rollback)
}

/// Switches termination protection on once prod had a cutover: from then on the stack is somebody's production. Whoever may
/// not do that is told who can.
async fn protect_from_now_on(context: &Context, cloud: &Cloud) {
    let protected =
        async { super::destroy::protect(cloud, &DeployedStack::require(cloud, &context.stack).await?).await };
    if let Err(error) = protected.await {
        context.listener.note(format!(
            "the stack is not protected against deletion yet: {error}; the next bluegreen deploy protects it"
        ));
    }
}

/// Asks the function for a run and leaves it to itself; returns its id.
pub async fn begin(context: &Context, request: Request) -> Result<String> {
    let cloud = Cloud::connect(&context.settings).await?;
    Ok(ask(context, &cloud, &Order { request, settle_limit: None, wait: false }, &mut Nobody).await?.1)
}

/// Nobody is told.
pub(super) struct Nobody;

impl Follower for Nobody {
    fn waiting(&mut self, _: &Holder) {}

    fn reconnecting(&mut self) {}

    fn progress(&mut self, _: &Record) {}
}

/// Asks the function for a run; returns where its record is, and its id. One that has a record under its id already is not
/// asked for again.
async fn ask(
    context: &Context,
    cloud: &Cloud,
    order: &Order,
    follower: &mut dyn Follower,
) -> Result<(S3Ledger, String)> {
    let op = order.request.op;
    let settings = Duration::from_secs(context.settings.cutover.settle_limit.get().into());
    let order = &Order {
        request: Request { settle_limit: order.settle_limit.unwrap_or(settings), ..order.request.clone() },
        ..order.clone()
    };
    // The function would refuse it too, but only after a while.
    order.request.check().map_err(|error| Error::usage(format!("this {op} cannot be asked for")).because(error))?;
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let ledger = cloud.ledger(&outputs.bucket);
    let id = order.request.id_or_new();
    if order.request.id.is_some() && ledger.load(&id).await.map_err(|error| unreadable(&id, error))?.is_some() {
        follower.asked(&id);
        return Ok((ledger, id));
    }
    let (by, free) = tokio::join!(caller(cloud), until_free(context, cloud, &ledger, order, follower));
    free?;
    until_at_rest(cloud, stack, order.wait).await?;
    // By the ledger's clock, as the function takes it: this machine's may be off.
    let now = ledger.time().await.map_err(|error| Error::failed("cannot read the ledger's time").because(error))?;
    let not_after = now.checked_add(EVENT_AGE).ok();
    let request = Request { id: Some(id.clone()), by: Some(by), not_after, ..order.request.clone() };
    follower.asked(&id);
    invoke(cloud, &outputs, &request, &ledger, follower).await?;
    Ok((ledger, id))
}

fn unreadable(id: &str, error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot read the record of run {id}"))
        .because(error)
        .hint("a run goes on without this command: bluegreen status shows it")
}

/// Waits until nobody holds the lock, or refuses with the holder's id. A reconcile always waits for a holder that does not
/// renew it: that one is probably dead, and what it left behind is what there is to reconcile.
async fn until_free(
    context: &Context,
    cloud: &Cloud,
    ledger: &S3Ledger,
    order: &Order,
    follower: &mut dyn Follower,
) -> Result<()> {
    // A plan takes no lock.
    if order.request.op == Op::Plan {
        return Ok(());
    }
    let mut first: Option<Holder> = None;
    loop {
        let holder = ledger.holder().await.map_err(|error| Error::failed("cannot read the lock").because(error))?;
        let Some(holder) = holder else { return Ok(()) };
        let same = first.as_ref().is_none_or(|first| first.version == holder.version);
        let patient = order.wait || (order.request.op == Op::Reconcile && same);
        // The same run again: the function answers what becomes of it.
        if order.request.id.as_ref() == Some(&holder.info.holder) {
            return Ok(());
        }
        // Whoever may not write the lock waits until it expires.
        if Box::pin(context.expire_abandoned(cloud, ledger, &holder)).await.unwrap_or(false) {
            continue;
        }
        if !patient {
            return Err(busy(&holder));
        }
        follower.waiting(&holder);
        first.get_or_insert(holder);
        sleep(LOOK_AT_LOCK).await;
    }
}

/// Waits until CloudFormation has ended what it does to the stack, or refuses.
async fn until_at_rest(cloud: &Cloud, mut stack: DeployedStack, wait: bool) -> Result<()> {
    while stack.in_progress() {
        if !wait {
            let meanwhile = format!("stack {} is in {}: traffic is not moved meanwhile", stack.name, stack.status);
            return Err(Error::refused(meanwhile).hint("wait for the deployment to end, or add --wait"));
        }
        sleep(LOOK_AT_STACK).await;
        stack = DeployedStack::require(cloud, &stack.name).await?;
    }
    Ok(())
}

fn busy(holder: &Holder) -> Error {
    Error::refused(format!("a {} is under way", holder.info.purpose))
        .because(crate::context::held(holder))
        .hint("wait for it to end (bluegreen status), or add --wait")
}

/// Who asks, for the record: the caller as AWS knows it, where it says so in time, and as this machine does.
pub(super) async fn caller(cloud: &Cloud) -> String {
    let asking = aws_sdk_sts::Client::new(&cloud.config).get_caller_identity().send();
    let identity = tokio::time::timeout(Duration::from_secs(2), asking).await;
    let arn = identity.ok().and_then(std::result::Result::ok).and_then(|identity| identity.arn);
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_else(|| "somebody".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let here = host.map_or(user.clone(), |host| format!("{user}@{}", host.trim()));
    let by = arn.map_or(here.clone(), |arn| format!("{arn} ({here})"));
    bounded(&by)
}

/// A text as `by` takes it: without control characters, and not too long.
fn bounded(text: &str) -> String {
    let mut bounded = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if bounded.len() + character.len_utf8() > limits::BY {
            break;
        }
        bounded.push(character);
    }
    bounded
}

/// Invokes the function, again and again while AWS is out of reach and the event is young enough to be begun. Its id makes
/// one run of however many arrive.
async fn invoke(
    cloud: &Cloud,
    outputs: &Outputs,
    request: &Request,
    ledger: &S3Ledger,
    follower: &mut dyn Follower,
) -> Result<()> {
    let function = function_of(outputs)?;
    let id = request.id.as_deref().unwrap_or_default();
    let event = event(request)?;
    let began = Instant::now();
    let mut told = false;
    loop {
        let call = cloud.lambda.invoke().function_name(function).invocation_type(InvocationType::Event);
        let invoked = call.payload(Blob::new(event.clone())).send().await.calling(|| format!("invoke {function}"));
        let Err(error) = invoked else { return Ok(()) };
        if !error.is_transient() {
            return Err(error);
        }
        // Its answer alone may have been lost.
        if ledger.load(id).await.is_ok_and(|record| record.is_some()) {
            return Ok(());
        }
        if began.elapsed() > EVENT_AGE {
            return Err(error.hint(format!("whether it has begun is not known: bluegreen report {id}")));
        }
        if !std::mem::replace(&mut told, true) {
            follower.reconnecting();
        }
        sleep(INVOKE_AGAIN).await;
    }
}

fn function_of(outputs: &Outputs) -> Result<&str> {
    outputs.function.as_deref().ok_or_else(|| {
        Error::refused("the stack has no cutover function yet").hint("finish its deployment: bluegreen deploy")
    })
}

/// The event of a request: only what differs from the defaults, so the function's own settings stay in force.
fn event(request: &Request) -> Result<Vec<u8>> {
    let written = |request: &Request| serde_json::to_value(request);
    let event = written(request).and_then(|event| Ok(differing(event, &written(&Request::default())?)));
    let event = event.map(|event| event.unwrap_or_else(|| Value::Object(Map::new())));
    event
        .and_then(|mut event| {
            event["op"] = request.op.as_str().into();
            serde_json::to_vec(&event)
        })
        .map_err(|error| Error::failed("cannot write the event").because(error))
}

/// What of a value is not the same in another.
fn differing(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(fields), Value::Object(defaults)) => {
            let fields = fields.into_iter().filter_map(|(name, value)| {
                let default = defaults.get(&name).unwrap_or(&Value::Null);
                differing(value, default).map(|value| (name, value))
            });
            Some(Value::Object(fields.collect()))
        }
        (value, _) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use model::color::Color;
    use model::record::Step;
    use model::request::ShiftStep;

    use super::*;

    #[test]
    fn the_event_says_only_what_was_asked_for() {
        let said = |request: &Request| serde_json::from_slice::<Value>(&event(request).unwrap()).unwrap();
        let mut request = Request { to: Some(Color::Blue), id: Some("x".to_owned()), ..Request::default() };
        assert_eq!(said(&request), serde_json::json!({ "op": "cutover", "to": "blue", "id": "x" }));
        request.probe.count = 300;
        request.shift = vec![ShiftStep { weight: 10, hold: Duration::from_secs(30) }];
        let expected = serde_json::json!({
            "op": "cutover", "to": "blue", "id": "x", "probe": {"count": 300},
            "shift": [{"weight": 10, "hold_ms": 30000}],
        });
        assert_eq!(said(&request), expected);
        assert_eq!(Request::parse(&expected).unwrap(), request);
    }

    #[test]
    fn who_asks_fits_into_the_event() {
        let by = bounded(&format!("a\nb{}", "é".repeat(300)));
        assert!(by.starts_with("abé") && by.len() <= limits::BY, "{by}");
        assert!(Request { by: Some(by), ..Request::default() }.check().is_ok());
    }

    #[test]
    fn a_run_that_lost_the_race_for_the_lock_is_told_from_one_that_was_refused_for_a_reason() {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        record.outcome = Some(Outcome::Refused);
        assert!(!found_the_lock_held(&record), "its event was refused");
        let step = |name: &str| Step { kind: None, name: name.to_owned(), start_ms: 0, end_ms: Some(1), note: None };
        record.steps.push(step("take the lease"));
        assert!(found_the_lock_held(&record));
        record.epoch = 7;
        assert!(!found_the_lock_held(&record), "it held the lock");
        (record.epoch, record.outcome) = (0, Some(Outcome::Done));
        assert!(!found_the_lock_held(&record));
    }
}
