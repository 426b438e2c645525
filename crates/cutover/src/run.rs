//! Executes a request: connects the pure machine with the load balancer, the probes and the ledger. Must not decide
//! what the machine decides, nor know AWS or HTTP.

mod budget;
mod engine;
mod executor;
mod hook;
mod idle;
mod live;
mod messages;
mod status;
mod steer;

pub use budget::{LEASE_TTL, ROLLBACK_BUDGET};

use crate::balancer::Balancer;
use crate::idle::Idle;
use crate::machine::{Asked, Kind, Shift};
use crate::notifier::{self, Notifier};
use crate::probe::Clients;
use aws::clock::Clock;
use ledger::{Ledger, ObjectStore, RecordError};
use model::hook::{HookAnswer, HookEvent, HookStatus};
use model::record::{Outcome, Phase};
use model::request::{Op, ProbeOptions, StatusSet, VersionExpectation, new_id};
use model::{Answer, Record, Request};
use serde_json::Value;
use std::sync::Arc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

/// A stack, as a run sees it.
#[derive(Debug)]
pub struct Stack<B, S, C> {
    /// Its load balancer and services.
    pub balancer: B,
    /// Its ledger.
    pub ledger: Ledger<S>,
    /// Creates clients that probe it.
    pub clients: C,
    /// The clock of this invocation.
    pub clock: Clock,
    /// Response header with the version, if the request names none. Without a header, versions are ignored.
    pub version_header: Option<String>,
    /// Path to probe, if the request names none.
    pub probe_path: String,
    /// Status codes that are a success, if the request names none.
    pub success_codes: StatusSet,
    /// How the idle environment sleeps, if it may.
    pub idle: Option<Idle>,
    /// Receives a notification of every run that has ended.
    pub notifier: Option<Arc<dyn Notifier>>,
}

impl<B: Balancer, S: ObjectStore, C: Clients> Stack<B, S, C> {
    /// The header with the version. An error if a version is expected and there is no header.
    fn version_header<'a>(&'a self, asked: &'a VersionExpectation) -> Result<Option<&'a str>, String> {
        match (asked.header.as_ref().or(self.version_header.as_ref()), &asked.value) {
            (None, Some(value)) => {
                Err(format!("version {value} is expected, and the service has no header that tells one"))
            }
            (header, _) => Ok(header.map(String::as_str)),
        }
    }

    /// The status codes that are a success.
    fn success_codes(&self, asked: &ProbeOptions) -> StatusSet {
        asked.ok.as_ref().unwrap_or(&self.success_codes).clone()
    }

    /// Answers an event. Must finish before `deadline`, because then the process may be killed without notice. Errors
    /// are part of the answer.
    pub async fn handle(self: &Arc<Self>, event: &Value, deadline: Instant) -> Answer {
        match HookEvent::recognise(event) {
            None => {}
            Some(Ok(hook)) => {
                let span = tracing::info_span!("hook", deployment = hook.deployment, stage = hook.stage);
                return Answer::Hook(Box::pin(hook::probe(self, &hook, deadline)).instrument(span).await);
            }
            Some(Err(problem)) => {
                tracing::error!(problem, "the hook cannot be carried out");
                return Answer::Hook(HookAnswer::ended(HookStatus::Failed));
            }
        }
        match Request::parse(event) {
            Ok(request) => self.carry_out(request, deadline).await,
            Err(error) => {
                let message = format!("Refused: {error}; nothing was written.");
                let hint = Some("Correct that field of the event.".to_owned());
                let request = Request { id: id_of(event), ..Request::default() };
                Answer::Run(Box::new(self.refuse(request, message, hint, deadline).await))
            }
        }
    }

    /// Executes a request.
    pub async fn carry_out(self: &Arc<Self>, request: Request, deadline: Instant) -> Answer {
        match request.op {
            Op::Status => Answer::Status(Box::new(status::look(self).await)),
            Op::Sleep => {
                let answer = self.put_to_sleep().await;
                tracing::info!(asleep = ?answer.asleep, "{}", answer.message);
                Answer::Idle(answer)
            }
            Op::Abort | Op::Pause | Op::Promote => Answer::Steering(self.steer(&request).await),
            _ => Answer::Run(Box::new(self.run(request, deadline).await)),
        }
    }

    async fn run(self: &Arc<Self>, request: Request, deadline: Instant) -> Record {
        let refusal = match refusal(&request, deadline) {
            None => self.lateness(&request).await,
            refusal => refusal,
        };
        if let Some((message, hint)) = refusal {
            return self.refuse(request, message, Some(hint), deadline).await;
        }
        let kind = match request.op {
            Op::Rollback => Kind::Rollback,
            Op::Reconcile => Kind::Reconcile,
            Op::Plan => Kind::Plan,
            // The other operations are answered before.
            _ => Kind::Cutover,
        };
        let shift = Shift::new(request.shift.iter().map(|step| step.weight));
        let asked = Asked {
            kind,
            to: request.to,
            expect: request.expect,
            on_fail: request.on_fail,
            shift,
            force: request.force,
        };
        let request = Request { id: Some(request.id_or_new()), ..request };
        let span = tracing::info_span!("run", id = request.id, op = %request.op);
        Box::pin(engine::run(Arc::clone(self), request, asked, deadline)).instrument(span).await
    }

    /// Why a request is too late, and what to do about it. The caller takes the time from the store, and so does this,
    /// because the clocks of the two machines may differ. If the store does not answer, the clock of this machine is
    /// used.
    async fn lateness(&self, request: &Request) -> Option<(String, String)> {
        let not_after = request.not_after?;
        let now = timeout(budget::READ_TIMEOUT, self.ledger.time()).await;
        let now = now.ok().and_then(Result::ok).unwrap_or_else(|| self.clock.now());
        (not_after < now).then(|| {
            let message = format!(
                "Refused: it is {now:.0} by the ledger's clock, past its not_after {not_after:.0}; nothing was written."
            );
            (message, "Ask again with a later not_after, or without.".to_owned())
        })
    }

    /// Records a refusal that does not depend on the stack. If the id has a record already, that record is the answer.
    async fn refuse(&self, mut request: Request, message: String, hint: Option<String>, deadline: Instant) -> Record {
        let id = request.id.take().unwrap_or_else(new_id);
        request.id = Some(id.clone());
        let now = self.clock.now();
        let mut record = Record::begin(id, request, now, new_id());
        record.outcome = Some(Outcome::Refused);
        record.phase = Phase::Refused;
        record.finished = Some(now);
        record.message = message;
        record.hint = hint;
        match self.ledger.create().save(&record).await {
            Ok(()) => {
                self.notify([&record], deadline).await;
                record
            }
            Err(RecordError::Taken(stored)) => *stored,
            Err(error) => {
                tracing::warn!(%error, "the refusal could not be recorded");
                record.recorded = false;
                record
            }
        }
    }
}

impl<B, S, C> Stack<B, S, C> {
    /// Sends notifications of runs that have ended, each within a time limit.
    async fn notify(&self, ended: impl IntoIterator<Item = &Record>, deadline: Instant) {
        let Some(notifier) = &self.notifier else { return };
        for record in ended {
            let until = deadline.min(Instant::now() + notifier::TIMEOUT);
            if timeout_at(until, notifier.notify(record)).await.is_err() {
                tracing::warn!(id = record.id, "no time was left to send the notification");
            }
        }
    }
}

/// Why a request cannot begin, and what to do about it.
fn refusal(request: &Request, deadline: Instant) -> Option<(String, String)> {
    if let Err(error) = request.check() {
        let message = format!("Refused: {error}; nothing was written.");
        return Some((message, "Correct that field of the request.".to_owned()));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let needed = budget::needed(request);
    (needed > left).then(|| {
        let message = format!(
            "Refused: it would need up to {} s, with the time to roll back, but the function has {} s left; nothing was written.",
            needed.as_secs_f64().ceil(),
            left.as_secs()
        );
        (message, "Send fewer probes, or give the function a longer timeout.".to_owned())
    })
}

/// The id of an event that is otherwise invalid, so that its caller finds the refusal.
fn id_of(event: &Value) -> Option<String> {
    let id = event.get("id")?.as_str()?.to_owned();
    let request = Request { id: Some(id.clone()), ..Request::default() };
    request.check().is_ok().then_some(id)
}
