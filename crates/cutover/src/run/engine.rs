//! The loop of a run: an effect is done, its answer or an alarm goes to the machine, and what follows is done next.
//! Must not know how an effect is done.

use super::executor::Executor;
use super::{Stack, budget};
use crate::balancer::Balancer;
use crate::machine::{Asked, Effect, Event, State};
use crate::probe::{Clients, Progress};
use ledger::ObjectStore;
use model::steering::{Command, Given};
use model::{Record, Request};
use std::collections::VecDeque;
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
    let mut alarms = Alarms::new(&request, deadline);
    let mut executor = Executor::new(stack, request, deadline);
    let (mut state, effects) = State::new(asked).step(Event::Start);
    let mut todo = VecDeque::from(effects);
    loop {
        executor.note(&state);
        let Some(effect) = todo.pop_front() else {
            // The machine always asks for something until it finishes.
            tracing::error!(?state, "the machine waits for nothing");
            return executor.finish(&state).await;
        };
        if let Effect::Finish(_) = effect {
            return executor.finish(&state).await;
        }
        alarms.watch(&executor);
        if !effect.answers() {
            executor.perform(effect).await;
            continue;
        }
        tracing::info!(phase = %state.phase(), ?effect, "begins");
        let (next, effects) = answer(&mut executor, &mut alarms, state, effect).await;
        state = next;
        todo = effects.into();
    }
}

/// Does one effect and tells the machine; alarms meanwhile too. Returns what follows: from the answer, or from an alarm
/// that called the effect off.
async fn answer<B: Balancer, S: ObjectStore, C: Clients>(
    executor: &mut Executor<B, S, C>,
    alarms: &mut Alarms,
    mut state: State,
    effect: Effect,
) -> (State, Vec<Effect>) {
    // Boxed: there are many effects, and some are large.
    let mut doing = Box::pin(executor.perform(effect));
    loop {
        let event = tokio::select! {
            biased;
            alarm = alarms.next() => {
                tracing::warn!(?alarm, ?effect, "alarm");
                let (next, effects) = state.step(alarm);
                state = next;
                if effects.is_empty() {
                    continue;
                }
                return (state, effects);
            }
            event = &mut doing => event,
        };
        tracing::info!(phase = %state.phase(), ?effect, ?event, "ended");
        return state.step(event);
    }
}

/// What may happen without being asked for; each is told once.
struct Alarms {
    near: Option<Instant>,
    probes: Option<watch::Receiver<Progress>>,
    lease: Option<watch::Receiver<Option<Instant>>>,
    max_failures: u32,
    probes_told: bool,
    lease_told: bool,
    steering: Option<watch::Receiver<Option<Given>>>,
}

impl Alarms {
    fn new(request: &Request, deadline: Instant) -> Self {
        Self {
            near: deadline.checked_sub(budget::reserve(request)),
            probes: None,
            lease: None,
            max_failures: request.probe.max_failures,
            probes_told: false,
            lease_told: false,
            steering: None,
        }
    }

    fn watch<B: Balancer, S: ObjectStore, C: Clients>(&mut self, executor: &Executor<B, S, C>) {
        if !self.probes_told {
            self.probes = executor.progress();
        }
        if !self.lease_told {
            self.lease = executor.lease_watch();
        }
        if self.steering.is_none() {
            self.steering = executor.steering_watch();
        }
    }

    async fn next(&mut self) -> Event {
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
                self.lease_told = true;
                Event::LeaseLost
            }
            given = told(&mut self.steering) => match given {
                Command::Abort => Event::Aborted,
                Command::Pause => Event::Paused,
                Command::Promote => Event::Promoted,
            },
            () = until(&mut self.probes, |progress| progress.counted_failures > most) => {
                self.probes = None;
                self.probes_told = true;
                Event::ProbesFailed
            }
            () = deadline => {
                self.near = None;
                Event::DeadlineNear
            }
        }
    }
}

/// Waits for the next command; for ever where nobody can give one.
async fn told(steering: &mut Option<watch::Receiver<Option<Given>>>) -> Command {
    if let Some(steering) = steering {
        while steering.changed().await.is_ok() {
            if let Some(given) = &*steering.borrow_and_update() {
                tracing::warn!(command = ?given.command, by = given.by, "told");
                return given.command;
            }
        }
    }
    std::future::pending().await
}

/// Waits until the watched value is so; for ever where nothing is watched, or nothing will change any more.
async fn until<T>(watched: &mut Option<watch::Receiver<T>>, is_so: impl FnMut(&T) -> bool) {
    if let Some(watched) = watched
        && watched.wait_for(is_so).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
