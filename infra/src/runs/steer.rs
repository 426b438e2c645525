//! `bluegreen abort`, `pause` and `promote`: send requests to a run in progress. Must not know how the run handles
//! them.

use std::time::Duration;

use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::primitives::Blob;
use model::request::{Op, Request};
use model::steering::SteeringAnswer;
use model::{Outcome, Record};
use tokio::time::Instant;

use super::{caller, event, follow, function_of};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::{Session, print_json, print_text};
use aws::Calling as _;
use deploy::{Cloud, DeployedStack, Listener, Poll};
use stack::outputs::Outputs;

/// For how long an abort is tried where AWS is out of reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// The run that a command is for.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Id of the run [default: the run in progress].
    #[arg(long, value_name = "RUN")]
    pub id: Option<String>,
}

/// Sends a request to the run in progress, or to this one, and prints the response of the function.
pub async fn run(session: &Session, op: Op, id: Option<String>) -> Result<()> {
    let answer = tell(&session.context, op, id).await?;
    match (session.json, refusal(&answer)) {
        (true, _) => print_json(&answer)?,
        (false, None) => print_text(&format!("{}\n", answer.message))?,
        (false, Some(_)) => {}
    }
    refusal(&answer).map_or(Ok(()), Err)
}

/// Sends a request to the run in progress, or to the one of this id; returns the response of the function.
pub async fn tell(context: &Context, op: Op, id: Option<String>) -> Result<SteeringAnswer> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    tell_function(&cloud, &outputs, op, id).await
}

/// Aborts a run, and follows it to its end. If the run no longer accepts requests, only the answer is returned.
pub async fn abort(
    context: &Context,
    id: Option<String>,
    listener: &dyn Listener,
) -> Result<(SteeringAnswer, Option<Record>)> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    let answer = tell_function(&cloud, &outputs, Op::Abort, id).await?;
    let Some(run) = answer.run.clone().filter(|_| answer.accepted) else { return Ok((answer, None)) };
    let ledger = cloud.ledger(&outputs.bucket);
    let record = follow::follow(&run, async || ledger.load(&run).await, listener).await?;
    Ok((answer, Some(record)))
}

async fn tell_function(cloud: &Cloud, outputs: &Outputs, op: Op, id: Option<String>) -> Result<SteeringAnswer> {
    let request = Request { op, id, by: Some(caller(cloud).await), ..Request::default() };
    request.check().map_err(|error| Error::usage(format!("invalid arguments of {op}")).because(error))?;
    // Abort and pause are idempotent; a repeated promote would skip a step.
    let repeatable = op != Op::Promote;
    let began = Instant::now();
    let mut poll = Poll::default();
    loop {
        match invoke(cloud, outputs, &request, repeatable).await {
            Err(error) if repeatable && error.is_transient() && began.elapsed() < PATIENCE => poll.wait().await,
            Err(error) if error.is_transient() => {
                return Err(error.hint("check whether the run received the request: bluegreen status"));
            }
            other => return other,
        }
    }
}

async fn invoke(cloud: &Cloud, outputs: &Outputs, request: &Request, repeatable: bool) -> Result<SteeringAnswer> {
    let function = function_of(outputs)?;
    let call = cloud.lambda.invoke().function_name(function).payload(Blob::new(event(request)?)).customize();
    let once = Builder::default().retry_config(RetryConfig::disabled());
    let call = if repeatable { call } else { call.config_override(once) };
    let answer = call.send().await.calling(|| format!("invoke {function}"))?;
    let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
    read(request.op, answer.function_error.as_deref(), &payload)
}

/// The answer that the function gave.
fn read(op: Op, failure: Option<&str>, payload: &[u8]) -> Result<SteeringAnswer> {
    if let Some(failure) = failure {
        return Err(Error::failed(format!("the cutover function failed on {op}"))
            .because(failure)
            .hint("check its log: bluegreen logs cutover"));
    }
    // A function that does not support the operation returns the record of a refused run.
    serde_json::from_slice(payload).map_err(|_| {
        Error::refused(format!("the cutover function of the stack does not support {op}"))
            .because("it is older than this command")
            .hint("update the stack: bluegreen deploy")
    })
}

/// The error of a rejected request; `None` if the run accepted it.
pub fn refusal(answer: &SteeringAnswer) -> Option<Error> {
    (!answer.accepted).then(|| {
        let error = Error::refused(answer.message.clone());
        match &answer.hint {
            Some(hint) => error.hint(hint.clone()),
            None => error,
        }
    })
}

/// What the end of a run that was to be aborted means for the exit code; `None` where traffic is on the old side.
pub fn verdict(record: &Record) -> Option<Error> {
    match record.outcome? {
        Outcome::RolledBack | Outcome::Refused => None,
        Outcome::Done | Outcome::Noop | Outcome::Planned => Some(
            Error::failed(format!("run {} ended before it could be aborted", record.id))
                .because(&record.message)
                .hint("roll back: bluegreen rollback"),
        ),
        Outcome::Held | Outcome::Failed => follow::verdict(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcome: Outcome) -> Record {
        let request = Request::default();
        let mut record = Record::begin("x".to_owned(), request, jiff::Timestamp::UNIX_EPOCH, String::new());
        (record.outcome, record.message) = (Some(outcome), "blue is prod.".to_owned());
        record
    }

    #[test]
    fn an_abort_succeeds_where_traffic_is_on_the_old_side() {
        for (outcome, code) in [
            (Outcome::RolledBack, None),
            (Outcome::Refused, None),
            (Outcome::Done, Some(1)),
            (Outcome::Held, Some(1)),
            (Outcome::Failed, Some(1)),
        ] {
            assert_eq!(verdict(&record(outcome)).map(|error| error.kind().exit_code()), code, "{outcome:?}");
        }
        let late = verdict(&record(Outcome::Done)).unwrap();
        assert!(late.message().contains("ended before it could be aborted"), "{late}");
        assert_eq!(
            (late.causes(), late.hints()),
            (&["blue is prod.".to_owned()][..], &["roll back: bluegreen rollback".to_owned()][..])
        );
    }

    #[test]
    fn what_the_function_answers_is_understood() {
        let said = br#"{"run":"r","accepted":true,"message":"Run r will abort."}"#;
        let answer = read(Op::Abort, None, said).unwrap();
        assert_eq!((answer.run.as_deref(), answer.accepted), (Some("r"), true));
        assert!(refusal(&answer).is_none());
        let said = br#"{"run":null,"accepted":false,"message":"Refused: no cutover is under way.","hint":"Look."}"#;
        let error = refusal(&read(Op::Pause, None, said).unwrap()).unwrap();
        assert_eq!((error.kind().exit_code(), error.message()), (3, "Refused: no cutover is under way."));
        assert_eq!(error.hints(), ["Look."]);
    }

    #[test]
    fn a_function_that_fails_or_is_older_is_distinguished_from_one_that_refuses() {
        let failed = read(Op::Abort, Some("Unhandled"), b"{}").unwrap_err();
        assert_eq!((failed.kind().exit_code(), failed.causes()), (1, &["Unhandled".to_owned()][..]));
        let older = serde_json::to_vec(&record(Outcome::Refused)).unwrap();
        let older = read(Op::Abort, None, &older).unwrap_err();
        assert!(older.kind().exit_code() == 3 && older.causes()[0].contains("older than this command"), "{older}");
    }

    #[test]
    fn the_event_says_which_run_and_who_asks() {
        let by = Some("ada".to_owned());
        let request = Request { op: Op::Abort, id: Some("r".to_owned()), by, ..Request::default() };
        let said: serde_json::Value = serde_json::from_slice(&event(&request).unwrap()).unwrap();
        assert_eq!(said, serde_json::json!({ "op": "abort", "id": "r", "by": "ada" }));
    }
}
