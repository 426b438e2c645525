//! The loop of a run: the executor answers the question of the machine, and the answer, or a signal, gives the next state.
//! Must not know how a question is answered.

use super::executor::Executor;
use super::{Stack, budget};
use crate::balancer::Balancer;
use crate::machine::{Alarm, Asked, Interrupt, Next, Question, Reason, Signal, State};
use crate::probe::{Clients, Progress};
use ledger::ObjectStore;
use model::steering::{Command, Given};
use model::{Record, Request};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Runs the machine to its end.
pub(super) async fn run<B: Balancer, S: ObjectStore, C: Clients>(
    stack: Arc<Stack<B, S, C>>,
    request: Request,
    asked: Asked,
    deadline: Instant,
) -> Record {
    let mut signals = Signals::new(&request, deadline);
    let mut executor = Executor::new(stack, request, deadline);
    let mut state = State::new(asked);
    loop {
        executor.note(&state).await;
        let question = match state.next() {
            Next::Ask(question) => question,
            Next::Finish(_) => return executor.finish(&state).await,
        };
        signals.watch(&executor);
        tracing::info!(phase = %state.phase(), ?question, "begins");
        state = ask(&mut executor, &mut signals, state, question).await;
    }
}

/// Has one question answered. Returns the state after the answer, or after a signal that called the question off.
async fn ask<B: Balancer, S: ObjectStore, C: Clients>(
    executor: &mut Executor<B, S, C>,
    signals: &mut Signals,
    mut state: State,
    question: Question,
) -> State {
    // Boxed because there are many questions, and the future of some is large.
    let mut answering = Box::pin(executor.perform(question));
    loop {
        let answer = tokio::select! {
            biased;
            signal = signals.next() => {
                tracing::warn!(?signal, ?question, "signal");
                match state.interrupt(signal) {
                    Interrupt::Remembered(next) => state = next,
                    Interrupt::CalledOff(next) => return next,
                }
                continue;
            }
            answer = &mut answering => answer,
        };
        tracing::info!(phase = %state.phase(), ?answer, "ended");
        let next = state.answer(answer);
        if next.reason() == Some(Reason::WrongAnswer) && state.reason() != next.reason() {
            tracing::error!(?state, ?answer, "the answer does not belong to the question");
        }
        return next;
    }
}

/// The sources of signals. Each alarm is raised once.
struct Signals {
    near: Option<Instant>,
    probes: Option<watch::Receiver<Progress>>,
    lease: Option<watch::Receiver<Option<Instant>>>,
    max_failures: u32,
    probes_raised: bool,
    lease_raised: bool,
    steering: Option<watch::Receiver<Option<Given>>>,
}

impl Signals {
    fn new(request: &Request, deadline: Instant) -> Self {
        Self {
            near: deadline.checked_sub(budget::reserve(request)),
            probes: None,
            lease: None,
            max_failures: request.probe.max_failures,
            probes_raised: false,
            lease_raised: false,
            steering: None,
        }
    }

    fn watch<B: Balancer, S: ObjectStore, C: Clients>(&mut self, executor: &Executor<B, S, C>) {
        if !self.probes_raised {
            self.probes = executor.progress();
        }
        if !self.lease_raised {
            self.lease = executor.lease_watch();
        }
        if self.steering.is_none() {
            self.steering = executor.steering_watch();
        }
    }

    async fn next(&mut self) -> Signal {
        let near = self.near;
        let deadline = async {
            match near {
                Some(near) => sleep_until(near).await,
                None => std::future::pending().await,
            }
        };
        let most = self.max_failures;
        tokio::select! {
            biased;
            () = until(&mut self.lease, Option::is_none) => {
                self.lease = None;
                self.lease_raised = true;
                Signal::Alarm(Alarm::LeaseLost)
            }
            command = next_command(&mut self.steering) => match command {
                Command::Abort => Signal::Alarm(Alarm::Aborted),
                Command::Pause => Signal::Paused,
                Command::Promote => Signal::Promoted,
            },
            () = until(&mut self.probes, |progress| progress.counted_failures > most) => {
                self.probes = None;
                self.probes_raised = true;
                Signal::Alarm(Alarm::ProbesFailed)
            }
            () = deadline => {
                self.near = None;
                Signal::Alarm(Alarm::DeadlineNear)
            }
        }
    }
}

/// Waits for the next command; for ever if there is no source of commands.
async fn next_command(steering: &mut Option<watch::Receiver<Option<Given>>>) -> Command {
    if let Some(steering) = steering {
        while steering.changed().await.is_ok() {
            if let Some(given) = &*steering.borrow_and_update() {
                tracing::warn!(command = ?given.command, by = given.by, "a person steers the run");
                return given.command;
            }
        }
    }
    std::future::pending().await
}

/// Waits until the watched value satisfies the condition; for ever if nothing is watched, or if the value cannot change any more.
async fn until<T>(watched: &mut Option<watch::Receiver<T>>, is_so: impl FnMut(&T) -> bool) {
    if let Some(watched) = watched
        && watched.wait_for(is_so).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
