//! Runs of the cutover function: invokes it, follows its record, and sends requests to a run in progress.
//!
//! The function is invoked asynchronously under an id, and the record is read from the ledger: a lost connection, or a
//! closed terminal, never repeats or stops a cutover.

mod args;
pub mod attend;
mod follow;
pub mod steer;

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use ledger::{Holder, S3Ledger};
use model::record::StepKind;
use model::request::{Op, Request, limits};
use model::{Outcome, Record};
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use args::{CutoverArgs, RunArgs};
pub use follow::{BEGIN_LIMIT, verdict};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::report::Run;
use aws::Calling as _;
use deploy::{Cloud, DeployedStack, EventKind, Listener, Poll, Silent};
use stack::outputs::Outputs;

/// The function rejects an event older than this. Lambda itself drops it at the same age.
const EVENT_AGE: Duration = Duration::from_mins(1);

/// How many runs may be refused because of a held lease that this command does not see, before it gives up.
const LOST_RACES: u32 = 3;

/// A request to the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The request, without its id and caller, which are added later.
    pub request: Request,
    /// Maximum time for the load balancer to follow the swap; if absent, the value of the settings.
    pub settle_limit: Option<Duration>,
    /// Whether to wait for a deployment or run in progress.
    pub wait: bool,
}

impl Order {
    /// The plain operation.
    pub fn new(op: Op) -> Self {
        Self { request: Request { op, ..Request::default() }, settle_limit: None, wait: false }
    }
}

/// Sends the request to the function and follows the run to its end.
pub async fn run(context: &Context, order: &Order, listener: &dyn Listener) -> Result<Record> {
    let cloud = Cloud::connect(&context.settings).await?;
    let mut lost = 0;
    let record = loop {
        let (ledger, id) = ask(context, &cloud, order, listener).await?;
        let record = follow::follow(&id, async || ledger.load(&id).await, listener).await?;
        if !(order.wait && found_the_lease_held(&record)) {
            break record;
        }
        if order.request.id.is_some() {
            context
                .listener
                .warn("--wait does not repeat a run with an id: run the command again with a new id or without --id");
            break record;
        }
        // Another command took the lease before the function could. The next try has a new id.
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

/// Whether a run was refused because another command held the lease: acquiring it was its last step, and it never
/// succeeded.
fn found_the_lease_held(record: &Record) -> bool {
    let last = record.steps.last().is_some_and(|step| step.kind() == Some(StepKind::Lease));
    record.outcome == Some(Outcome::Refused) && record.epoch == 0 && last
}

/// Whether a run moved the users of prod for good.
pub fn moved_prod(record: &Record) -> bool {
    record.outcome == Some(Outcome::Done) && matches!(record.op, Op::Cutover | Op::Rollback)
}

/// Switches termination protection on after the first cutover: from then on the stack serves production. A caller
/// without the permission gets a note.
async fn protect_from_now_on(context: &Context, cloud: &Cloud) {
    let protected = async { DeployedStack::require(cloud, &context.stack).await?.protect(cloud).await };
    if let Err(error) = protected.await {
        context
            .listener
            .note(format!("cannot enable termination protection: {error}; the next bluegreen deploy tries again"));
    }
}

/// Starts a run without following it; returns its id.
pub async fn begin(context: &Context, request: Request) -> Result<String> {
    let cloud = Cloud::connect(&context.settings).await?;
    Ok(ask(context, &cloud, &Order { request, settle_limit: None, wait: false }, &Silent).await?.1)
}

/// Starts a run; returns its ledger and its id. A run that already has a record under its id is not started again.
async fn ask(context: &Context, cloud: &Cloud, order: &Order, listener: &dyn Listener) -> Result<(S3Ledger, String)> {
    let op = order.request.op;
    let settings = Duration::from_secs(context.settings.cutover.settle_limit.get().into());
    let order = &Order {
        request: Request { settle_limit: order.settle_limit.unwrap_or(settings), ..order.request.clone() },
        ..order.clone()
    };
    // The function would refuse it too, but later.
    order.request.check().map_err(|error| Error::usage(format!("invalid arguments of {op}")).because(error))?;
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let ledger = cloud.ledger(&outputs.bucket);
    let id = order.request.id_or_new();
    if order.request.id.is_some() && ledger.load(&id).await.map_err(|error| unreadable(&id, error))?.is_some() {
        listener.send(EventKind::Requested { run: id.clone() });
        return Ok((ledger, id));
    }
    let (by, free) = tokio::join!(caller(cloud), until_free(context, cloud, &ledger, order, listener));
    free?;
    until_at_rest(cloud, stack, order.wait).await?;
    // By the clock of the ledger, which the function uses too: the local clock may be wrong.
    let now =
        ledger.time().await.map_err(|error| Error::failed("cannot read the time of the ledger").because(error))?;
    let not_after = now.checked_add(EVENT_AGE).ok();
    let request = Request { id: Some(id.clone()), by: Some(by), not_after, ..order.request.clone() };
    listener.send(EventKind::Requested { run: id.clone() });
    invoke(cloud, &outputs, &request, &ledger, listener).await?;
    Ok((ledger, id))
}

/// The last `limit` runs of a stack, the newest first.
pub async fn last(cloud: &Cloud, outputs: &Outputs, limit: usize) -> Result<Vec<Record>> {
    let ledger = cloud.ledger(&outputs.bucket);
    ledger.list(limit).await.map_err(|error| Error::failed("cannot read the history of cutovers").because(error))
}

/// One run with its probes.
pub async fn load_with_samples(ledger: &S3Ledger, id: &str) -> Result<Option<Run>> {
    let record = ledger.load(id).await;
    match record.map_err(|error| Error::failed(format!("cannot read run {id}")).because(error))? {
        Some(record) => with_samples(ledger, record).await.map(Some),
        None => Ok(None),
    }
}

/// A run with its probes, from its record.
pub async fn with_samples(ledger: &S3Ledger, record: Record) -> Result<Run> {
    let samples = ledger.samples(&record.id).await;
    let samples = samples
        .map_err(|error| Error::failed(format!("cannot read the probes of run {}", record.id)).because(error))?;
    Ok(Run { record, samples, changed: None })
}

fn unreadable(id: &str, error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot read the record of run {id}"))
        .because(error)
        .hint("check the run, which continues without this command: bluegreen status")
}

/// Waits until nobody holds the lease, or refuses with the holder's id. A reconcile always waits for a holder that does
/// not renew it: that holder has probably died and left the state that has to be reconciled.
async fn until_free(
    context: &Context,
    cloud: &Cloud,
    ledger: &S3Ledger,
    order: &Order,
    listener: &dyn Listener,
) -> Result<()> {
    // A plan takes no lease.
    if order.request.op == Op::Plan {
        return Ok(());
    }
    let mut first: Option<Holder> = None;
    let mut poll = Poll::default();
    loop {
        let holder = ledger.holder().await.map_err(|error| Error::failed("cannot read the lease").because(error))?;
        let Some(holder) = holder else { return Ok(()) };
        let same = first.as_ref().is_none_or(|first| first.version == holder.version);
        let patient = order.wait || (order.request.op == Op::Reconcile && same);
        // The same run again: the function returns its result.
        if order.request.id.as_ref() == Some(&holder.info.holder) {
            return Ok(());
        }
        // A caller without permission to write the lease waits until it expires.
        if Box::pin(context.expire_abandoned(cloud, ledger, &holder)).await.unwrap_or(false) {
            continue;
        }
        if !patient {
            return Err(busy(&holder));
        }
        listener.send(EventKind::Waiting { holder: holder.info.clone(), left: holder.left() });
        first.get_or_insert(holder);
        poll.wait().await;
    }
}

/// Waits until CloudFormation has finished its operation on the stack, or refuses.
async fn until_at_rest(cloud: &Cloud, mut stack: DeployedStack, wait: bool) -> Result<()> {
    let mut poll = Poll::default();
    while stack.in_progress() {
        if !wait {
            let meanwhile = format!("stack {} is in {}: traffic cannot be moved", stack.name, stack.state);
            return Err(Error::refused(meanwhile).hint("wait for the deployment to end, or pass --wait"));
        }
        poll.wait().await;
        stack = DeployedStack::require(cloud, &stack.name).await?;
    }
    Ok(())
}

fn busy(holder: &Holder) -> Error {
    Error::refused(format!("a {} is in progress", holder.info.purpose))
        .because(crate::context::held(holder))
        .hint("wait for it to end (bluegreen status), or pass --wait")
}

/// The caller, for the record: the identity in AWS, if it is returned in time, and the user and host of this machine.
pub async fn caller(cloud: &Cloud) -> String {
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

/// A text that is valid in `by`: without control characters, and not too long.
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

/// Invokes the function, and repeats that while AWS cannot be reached and the event is young enough. Because of its id,
/// several invocations start one run only.
async fn invoke(
    cloud: &Cloud,
    outputs: &Outputs,
    request: &Request,
    ledger: &S3Ledger,
    listener: &dyn Listener,
) -> Result<()> {
    let function = function_of(outputs)?;
    let id = request.id.as_deref().unwrap_or_default();
    let event = event(request)?;
    let mut poll = Poll::default();
    let began = Instant::now();
    let mut reported = false;
    loop {
        let call = cloud.lambda.invoke().function_name(function).invocation_type(InvocationType::Event);
        let invoked = call.payload(Blob::new(event.clone())).send().await.calling(|| format!("invoke {function}"));
        let Err(error) = invoked else { return Ok(()) };
        if !error.is_transient() {
            return Err(error.into());
        }
        // Only the response may have been lost.
        if ledger.load(id).await.is_ok_and(|record| record.is_some()) {
            return Ok(());
        }
        if began.elapsed() > EVENT_AGE {
            return Err(Error::from(error).hint(format!("check whether the run has started: bluegreen report {id}")));
        }
        if !std::mem::replace(&mut reported, true) {
            listener.send(EventKind::Reconnecting);
        }
        poll.wait().await;
    }
}

fn function_of(outputs: &Outputs) -> Result<&str> {
    outputs.function.as_deref().ok_or_else(|| {
        Error::refused("the stack has no cutover function yet").hint("finish the deployment: bluegreen deploy")
    })
}

/// The event of a request: only values that differ from the defaults, so that the function's own settings apply.
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

/// The part of a value that differs from another.
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
    fn a_run_that_lost_the_race_for_the_lease_is_reported_from_one_that_was_refused_for_a_reason() {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        record.outcome = Some(Outcome::Refused);
        assert!(!found_the_lease_held(&record), "its event was refused");
        let step = |name: &str| Step { kind: None, name: name.to_owned(), start_ms: 0, end_ms: Some(1), note: None };
        record.steps.push(step("take the lease"));
        assert!(found_the_lease_held(&record));
        record.epoch = 7;
        assert!(!found_the_lease_held(&record), "it held the lease");
        (record.epoch, record.outcome) = (0, Some(Outcome::Done));
        assert!(!found_the_lease_held(&record));
    }
}
