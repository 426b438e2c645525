//! Answers the questions of the machine, one at a time. Must not decide what follows.

mod ledger;
mod probes;
mod steering;
mod traffic;

use steering::Steering;

use super::live::Live;
use super::{Stack, budget, messages};
use crate::balancer::Balancer;
use crate::machine::{Answer, Ask as _, Finish, Question, Route, State, Subject};
use crate::probe::{Clients, Control, Expect, Progress, Session};
use ::ledger::{Lease, ObjectStore, RecordWriter};
use model::record::{Outcome, Phase};
use model::request::new_id;
use model::steering::Given;
use model::{Record, Request};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// The runtime resources of a run.
pub(super) struct Executor<B, S: ObjectStore, C> {
    stack: Arc<Stack<B, S, C>>,
    request: Request,
    id: String,
    began: Instant,
    deadline: Instant,
    live: Live<S>,
    lease: Option<Lease<S>>,
    session: Option<Session>,
    /// The interrupted run that has to be recovered.
    interrupted: Option<Interrupted<S>>,
    /// The record that the id had before this run.
    stored: Option<Record>,
    /// The version that must answer after the load balancer has settled.
    expected: Option<String>,
    /// What probes that are due now may answer.
    expect: Expect,
    /// The last write of prod.
    last_prod_write: Option<ProdWrite>,
    /// The addresses that did not follow a write of prod in time.
    late: Option<LateAddresses>,
    /// The release that runs in the target of a rollback, if that release was never live.
    replaced: Option<String>,
    /// Why the environment that prod had to go to could not take traffic, the last time.
    unhealthy: Option<String>,
    /// The commands that people give this run.
    steering: Option<Steering>,
    /// When the last write with an unknown result ended.
    unknown_write_at: Option<Instant>,
    /// The latest error.
    last_error: Option<String>,
    /// Why prod cannot be probed at all.
    cannot_probe: Option<String>,
    /// The state of the machine, as last noted.
    state: Option<State>,
    /// The error that was the latest when the machine last gave a reason.
    cause: Option<String>,
    /// Other runs that have ended, for which no notification may have been sent.
    ended: Vec<Record>,
    /// Whether the notification of this run is sent.
    notified: bool,
}

/// A write of prod that the load balancer has to follow.
#[derive(Clone, Copy)]
struct ProdWrite {
    /// Whether it is on the way back.
    back: bool,
    /// When it was done.
    at: Instant,
}

/// Addresses of the load balancer that did not follow a write of prod in time.
pub(super) struct LateAddresses {
    /// Whether the write was on the way back.
    pub(super) back: bool,
    /// The addresses.
    pub(super) addresses: Vec<String>,
}

/// An interrupted run. It has no writer if its record is final: then the run failed, and the record stays as it is.
struct Interrupted<S> {
    record: Record,
    writer: Option<RecordWriter<S>>,
}

impl<S> Interrupted<S> {
    fn subject(&self) -> Option<Subject> {
        Some(Subject { from: self.record.from?, to: self.record.to?, verified: self.record.verified })
    }
}

impl<B: Balancer, S: ObjectStore, C: Clients> Executor<B, S, C> {
    pub(super) fn new(stack: Arc<Stack<B, S, C>>, mut request: Request, deadline: Instant) -> Self {
        let id = request.id_or_new();
        request.id = Some(id.clone());
        let record = Record::begin(id.clone(), request.clone(), stack.clock.now(), new_id());
        let live = Live::new(&stack.ledger, stack.clock, record);
        Self {
            stack,
            request,
            id,
            began: Instant::now(),
            deadline,
            live,
            lease: None,
            session: None,
            interrupted: None,
            stored: None,
            expected: None,
            expect: Expect::default(),
            last_prod_write: None,
            late: None,
            replaced: None,
            unhealthy: None,
            steering: None,
            unknown_write_at: None,
            last_error: None,
            cannot_probe: None,
            state: None,
            cause: None,
            ended: Vec::new(),
            notified: false,
        }
    }

    /// The progress of the probes, if there are any.
    pub(super) fn progress(&self) -> Option<watch::Receiver<Progress>> {
        self.session.as_ref().map(Session::progress)
    }

    /// Until when the lease is valid, if there is one.
    pub(super) fn lease_watch(&self) -> Option<watch::Receiver<Option<Instant>>> {
        self.lease.as_ref().map(Lease::watch)
    }

    /// The commands that people give this run, after it has a record.
    pub(super) fn steering_watch(&self) -> Option<watch::Receiver<Option<Given>>> {
        self.steering.as_ref().map(Steering::watch)
    }

    /// Brings the record and the probes to this state of the machine.
    pub(super) async fn note(&mut self, state: &State) {
        if self.state.and_then(|before| before.reason()) != state.reason() {
            self.cause.clone_from(&self.last_error);
        }
        let was_probing = self.state.is_some_and(|before| before.is_probing());
        self.note_in_record(state);
        self.expect = self.expected_of_probes(state.phase());
        if state.is_probing() && !was_probing {
            self.start_probes().await;
        }
        if let Some(session) = &self.session {
            session.steer(Control {
                phase: state.phase(),
                counting: state.counts_probes(),
                verifying: state.phase() == Phase::Verify,
                expect: self.expect.clone(),
                stop: false,
            });
        }
        if !state.is_probing() {
            self.stop_probes().await;
        }
    }

    fn note_in_record(&mut self, state: &State) {
        let paused = self.state.is_some_and(|before| before.is_paused()) != state.is_paused();
        self.state = Some(*state);
        let (prod, dev) = state.listeners();
        let (from, to) = state.swap();
        let phase = state.phase();
        let changed = self.live.edit(|record| {
            let before = (record.phase, record.prod, record.dev, record.weight);
            record.phase = phase;
            record.from = from.or(record.from);
            record.to = to.or(record.to);
            record.prod = prod.and_then(Route::whole).or(record.prod);
            record.weight =
                prod.filter(|prod| prod.whole().is_none()).zip(record.to).map(|(prod, to)| prod.percent(to));
            record.dev = dev.or(record.dev);
            record.wrote = state.wrote();
            record.verified = state.verified();
            if phase != before.0 || paused {
                record.message = messages::progress(state);
            }
            paused || before != (record.phase, record.prod, record.dev, record.weight)
        });
        if changed {
            self.live.transition();
        }
    }

    /// Answers a question of the machine, and records the step.
    pub(super) async fn perform(&mut self, question: Question) -> Answer {
        let step = question.step().map(|(kind, name)| self.live.began(kind, name));
        if step.is_some() {
            self.last_error = None;
        }
        let answer = self.answer(question).await;
        if let Some(number) = step {
            self.live.ended(number, self.last_error.clone());
        }
        answer
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::LoadRun(it) => it.answer(self.load_run().await),
            Question::AcquireLease(it) => it.answer(self.acquire_lease().await),
            Question::Claim(it) => it.answer(self.claim().await),
            Question::FindWayBack(it) => it.answer(self.find_way_back(it.0).await),
            Question::FindLastProd(it) => it.answer(self.find_last_prod().await),
            Question::ReadListeners(it) => it.answer(self.read_listeners().await),
            Question::Inspect(it) => it.answer(self.inspect(it.0).await),
            Question::Gate(it) => it.answer(self.gate(it.0).await),
            Question::AwaitBaseline(it) => it.answer(self.await_baseline().await),
            Question::SaveIntent(it) => it.answer(self.save_intent().await),
            Question::CheckHealth(it) => it.answer(self.check_health(it.0).await),
            Question::Write(it) => it.answer(self.write(it.0, it.1).await),
            Question::AwaitHold(it) => it.answer(self.await_hold(it.0).await),
            Question::AwaitPromotion(it) => it.answer(std::future::pending().await),
            Question::AwaitSettle(it) => {
                self.await_settle().await;
                it.answer(())
            }
            Question::AwaitHealthy(it) => it.answer(self.await_healthy(it.0).await),
            Question::AwaitProbes(it) => it.answer(self.await_probes().await),
            Question::SaveVerified(it) => it.answer(self.save_verified().await),
            Question::AwaitQuiet(it) => {
                self.await_quiet().await;
                it.answer(())
            }
            Question::SaveRecovered(it) => it.answer(self.save_recovered(it.0).await),
            Question::SaveOutcome(it) => it.answer(self.save_outcome(it.0).await),
            Question::Release(it) => {
                self.release().await;
                it.answer(())
            }
        }
    }

    /// The answer of a run that has ended.
    pub(super) async fn finish(mut self, state: &State) -> Record {
        self.live.stop().await;
        if let Some(session) = self.session.take() {
            session.end().await;
        }
        match state.finish() {
            Some(Finish::Recorded(_)) => {
                self.notify().await;
                self.live.snapshot()
            }
            Some(Finish::Stored) => self.stored_answer(state).await,
            Some(Finish::Abandoned) | None => match self.read(self.stack.ledger.load(&self.id)).await {
                Some(Some(record)) if record.is_final() => record,
                _ => self.unrecorded(state),
            },
        }
    }

    /// Sends the notification of every run that this run has ended, once. Does so while the lease is held, so that the
    /// next run knows whether it was sent.
    async fn notify(&mut self) {
        let mut ended = std::mem::take(&mut self.ended);
        let own = self.live.snapshot();
        if own.outcome.is_some() && !std::mem::replace(&mut self.notified, true) {
            ended.push(own);
        }
        self.stack.notify(&ended, self.deadline).await;
    }

    async fn stored_answer(&mut self, state: &State) -> Record {
        let loaded = self.read(self.stack.ledger.load(&self.id)).await.flatten();
        loaded.or_else(|| self.stored.take()).unwrap_or_else(|| self.unrecorded(state))
    }

    /// The answer if no outcome could be recorded.
    fn unrecorded(&self, state: &State) -> Record {
        let outcome = if state.wrote() { Outcome::Failed } else { Outcome::Refused };
        self.conclude(outcome);
        self.live.edit(|record| record.recorded = false);
        self.live.snapshot()
    }

    /// Puts an outcome into the record in memory.
    fn conclude(&self, outcome: Outcome) {
        let Some(state) = &self.state else { return };
        let now = self.stack.clock.now();
        let snapshot = self.live.snapshot();
        let seen = messages::Seen {
            cause: self.cause.as_deref(),
            replaced: self.replaced.as_deref(),
            late: self.late.as_ref(),
            unhealthy: self.unhealthy.as_deref(),
            now: self.live.newest_probe(),
        };
        let (message, hint) = messages::verdict(state, outcome, &seen, &snapshot);
        self.live.edit(|record| {
            record.outcome = Some(outcome);
            record.finished = Some(now);
            record.message = message;
            record.hint = hint;
        });
    }

    /// Waits for a read, up to a time limit. Returns `None` if it failed.
    async fn read<T, E: std::fmt::Display>(&self, reading: impl Future<Output = Result<T, E>>) -> Option<T> {
        match tokio::time::timeout(budget::READ_TIMEOUT, reading).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a read failed");
                None
            }
            Err(_) => None,
        }
    }
}
