//! `bluegreen cutover`, `rollback` and `reconcile`: invokes the function and follows its record.
//!
//! The function is invoked asynchronously under an id, and the record is read from the ledger: a lost connection, or a
//! closed terminal, never repeats or stops a cutover.

use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use cutover_lambda::color::Color;
use cutover_lambda::ledger::S3Ledger;
use cutover_lambda::request::{Op, Request, new_id};
use cutover_lambda::{Outcome, Record};

use super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Calling, Error, Kind, Result};
use crate::stack::outputs::Outputs;

/// An event older than this is not begun any more. Lambda itself drops it at the same age.
const EVENT_AGE: Duration = Duration::from_mins(1);

/// Longer than any cold start, queue and first write of the record take together.
const BEGIN_LIMIT: Duration = Duration::from_secs(75);

/// A living function writes its record far more often than this.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// Between two looks at the record.
const LOOK: Duration = Duration::from_millis(200);

/// Who is told how a run goes on.
pub trait Follower {
    /// Takes the record as it is now.
    fn progress(&mut self, record: &Record);
}

/// Asks the function for `op` and follows the run to its end.
pub async fn run(context: &Context, op: Op, to: Option<Color>, follower: &mut dyn Follower) -> Result<Record> {
    let cloud = Cloud::connect(&context.settings).await?;
    let (outputs, id) = ask(context, &cloud, Request { op, to, ..Request::default() }).await?;
    follow(&cloud, &outputs, &id, follower).await
}

/// Asks the function for a run and leaves it to itself; returns its id.
pub async fn begin(context: &Context, request: Request) -> Result<String> {
    let cloud = Cloud::connect(&context.settings).await?;
    Ok(ask(context, &cloud, request).await?.1)
}

async fn ask(context: &Context, cloud: &Cloud, request: Request) -> Result<(Outputs, String)> {
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    if stack.in_progress() {
        return Err(Error::refused(format!(
            "stack {} is in {}: traffic is not moved meanwhile",
            stack.name, stack.status
        ))
        .hint("wait for the deployment to end, then run the command again"));
    }
    let outputs = stack.outputs()?;
    let id = new_id();
    let not_after = jiff::Timestamp::now().checked_add(EVENT_AGE).ok();
    invoke(cloud, &outputs, &Request { id: Some(id.clone()), not_after, ..request }).await?;
    Ok((outputs, id))
}

async fn invoke(cloud: &Cloud, outputs: &Outputs, request: &Request) -> Result<()> {
    let Some(function) = &outputs.function else {
        return Err(
            Error::refused("the stack has no cutover function yet").hint("finish its deployment: make deploy-stack")
        );
    };
    let event = event(request)?;
    cloud
        .lambda
        .invoke()
        .function_name(function)
        .invocation_type(InvocationType::Event)
        .payload(Blob::new(event))
        .send()
        .await
        .calling(|| format!("invoke {function}"))?;
    Ok(())
}

/// The event of a request: only what differs from the defaults, so the function's own settings stay in force.
fn event(request: &Request) -> Result<Vec<u8>> {
    let mut event = serde_json::Map::new();
    event.insert("op".to_owned(), request.op.as_str().into());
    if let Some(to) = request.to {
        event.insert("to".to_owned(), to.as_str().into());
    }
    if let Some(expect) = request.expect {
        event.insert("expect".to_owned(), expect.as_str().into());
    }
    if let Some(id) = &request.id {
        event.insert("id".to_owned(), id.as_str().into());
    }
    if let Some(not_after) = request.not_after {
        event.insert("not_after".to_owned(), not_after.to_string().into());
    }
    serde_json::to_vec(&event).map_err(|error| Error::failed("cannot write the event").because(error))
}

async fn follow(cloud: &Cloud, outputs: &Outputs, id: &str, follower: &mut dyn Follower) -> Result<Record> {
    let ledger = S3Ledger::in_bucket(&cloud.config, &outputs.bucket);
    let began = Instant::now();
    let mut last: Option<(jiff::Timestamp, Instant)> = None;
    loop {
        let record = ledger.load(id).await.map_err(|error| {
            Error::failed(format!("cannot read the record of run {id}"))
                .because(error)
                .hint("the run goes on without this command: make status shows it")
        })?;
        if let Some(record) = record {
            follower.progress(&record);
            if record.is_final() {
                return Ok(record);
            }
            if last.is_none_or(|(updated, _)| updated != record.updated) {
                last = Some((record.updated, Instant::now()));
            }
        }
        match last {
            None if began.elapsed() > BEGIN_LIMIT => {
                return Err(Error::failed(format!("run {id} has not begun"))
                    .because("the function was invoked and has written no record")
                    .hint("nothing was changed; the log of the cutover function says why")
                    .hint("an event this old is not begun any more: run the command again"));
            }
            Some((_, seen)) if seen.elapsed() > SILENCE_LIMIT => {
                return Err(Error::failed(format!("run {id} has stopped writing its record"))
                    .because("the function was probably ended before it was done")
                    .hint("put the listeners in order: bluegreen reconcile"));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// What the end of a run means for the exit code; `None` where what was asked for is so.
pub fn verdict(record: &Record) -> Option<Error> {
    let outcome = record.outcome?;
    let kind = match outcome {
        Outcome::Done | Outcome::Noop | Outcome::Planned => return None,
        Outcome::Refused => Kind::Refused,
        Outcome::RolledBack => Kind::RolledBack,
        Outcome::Held | Outcome::Failed => Kind::Failed,
    };
    let mut error = Error::new(kind, record.message.clone());
    if let Some(probes) = &record.probes {
        for failure in probes.failures.iter().take(3) {
            let why = failure.failure.map_or_else(String::new, |failure| failure.to_string());
            let detail = failure.detail.as_deref().unwrap_or_default();
            error = error.because(format!("probe {} in {}: {why} {detail}", failure.sequence, failure.phase));
        }
    }
    Some(match &record.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_says_only_what_was_asked_for() {
        let request = Request { to: Some(Color::Blue), id: Some("x".to_owned()), ..Request::default() };
        let event: serde_json::Value = serde_json::from_slice(&event(&request).unwrap()).unwrap();
        assert_eq!(event, serde_json::json!({ "op": "cutover", "to": "blue", "id": "x" }));
    }

    #[test]
    fn outcomes_have_their_exit_codes() {
        let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::now(), String::new());
        for (outcome, code) in [
            (Outcome::Done, None),
            (Outcome::Noop, None),
            (Outcome::Refused, Some(3)),
            (Outcome::RolledBack, Some(4)),
            (Outcome::Held, Some(1)),
            (Outcome::Failed, Some(1)),
        ] {
            record.outcome = Some(outcome);
            assert_eq!(verdict(&record).map(|error| error.kind().exit_code()), code);
        }
    }
}
