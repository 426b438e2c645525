//! Answers the questions about the load balancer and its services.

use super::{Executor, ProdWrite};
use crate::balancer::{Balancer, BalancerError, LANDING, ineligible_reason};
use crate::machine::question::{Eligibility, ListenersRead, TargetHealth, Unreadable, WriteAnswer};
use crate::machine::{Listener, Place, Route};
use crate::probe::Clients;
use crate::run::budget::{READ_TIMEOUT, ROLLBACK_BUDGET, WRITE_GUARD, needed};
use crate::run::idle::WAKE_LIMIT;
use ledger::ObjectStore;
use model::Color;
use model::record::{ListenerWrite, Phase, Releases, WriteResult};
use model::request::Op;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Time between two reads of the health of an environment.
const HEALTH_PAUSE: Duration = Duration::from_secs(1);

impl<B: Balancer, S: ObjectStore, C: Clients> Executor<B, S, C> {
    /// Reads, up to a time limit, and keeps the error.
    pub(super) async fn look<T>(&mut self, reading: impl Future<Output = Result<T, BalancerError>>) -> Option<T> {
        self.last_error = Some(match timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer from AWS within {} s", READ_TIMEOUT.as_secs()),
        });
        None
    }

    pub(super) async fn read_listeners(&mut self) -> Result<ListenersRead, Unreadable> {
        let stack = self.stack.clone();
        let Some(listeners) = self.look(stack.balancer.listeners()).await else {
            return Err(Unreadable);
        };
        for (name, state) in [("prod", &listeners.prod), ("dev", &listeners.dev)] {
            if let Some(problem) = state.problem() {
                self.last_error = Some(format!("the {name} listener: {problem}"));
            }
        }
        for (name, split) in [("prod", listeners.prod.route()), ("dev", listeners.dev.route())] {
            if let Some(split @ Route::Split { .. }) = split {
                self.last_error = Some(format!("the {name} listener sends {split}"));
            }
        }
        // Dev is never split.
        let dev = match listeners.dev.place() {
            Place::At(route) => route.whole().into(),
            Place::Absent => Place::Absent,
            Place::Unknown => Place::Unknown,
        };
        Ok(ListenersRead { prod: listeners.prod.place(), dev })
    }

    /// Wakes the environment if it sleeps, and checks whether it may get traffic.
    pub(super) async fn inspect(&mut self, color: Color) -> Eligibility {
        let stack = self.stack.clone();
        let balancer = &stack.balancer;
        // A plan changes nothing.
        if self.request.op != Op::Plan
            && let Err(problem) = self.wake(color).await
        {
            self.last_error = Some(problem);
            return Eligibility::Ineligible;
        }
        let reading = async {
            let other = color.other();
            let (service, other_service, health, sticky, other_sticky) = tokio::try_join!(
                balancer.service(color),
                balancer.service(other),
                balancer.health(color),
                balancer.is_sticky(color),
                balancer.is_sticky(other),
            )?;
            let releases = Releases { old: other_service.release, new: service.release };
            if service.deployed && service.desired == 0 && stack.idle.is_some() {
                let problem = format!("{color} sleeps; a cutover would wake it, but this changes nothing");
                return Ok((releases, Some(problem)));
            }
            let problem = ineligible_reason(color, &service, &health, sticky).or_else(|| {
                other_sticky.then(|| format!("{other}'s target group has stickiness, which would keep clients on it"))
            });
            Ok((releases, problem))
        };
        let Some((releases, problem)) = self.look(reading).await else { return Eligibility::Unreadable };
        self.live.edit(|record| record.releases = releases);
        let Some(problem) = problem else { return Eligibility::Eligible };
        self.last_error = Some(problem);
        Eligibility::Ineligible
    }

    /// Wakes the environment if it sleeps, in the time that the rest of the run leaves.
    async fn wake(&mut self, color: Color) -> Result<(), String> {
        let stack = self.stack.clone();
        let Some(tasks) = stack.asleep(color).await? else { return Ok(()) };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let spare = left.saturating_sub(needed(&self.request)).min(WAKE_LIMIT);
        self.live.edit(|record| record.message = format!("{color} sleeps: its tasks are being started."));
        self.live.transition();
        if stack.wake(color, tasks, Instant::now() + spare).await? {
            return Ok(());
        }
        Err(format!("{color} slept, and its tasks are not all healthy yet"))
    }

    /// Reads whether every environment that a route reaches has healthy targets.
    pub(super) async fn check_health(&mut self, route: Route) -> TargetHealth {
        let health = self.read_health(route).await;
        if health != TargetHealth::Healthy {
            self.unhealthy.clone_from(&self.last_error);
        }
        health
    }

    async fn read_health(&mut self, route: Route) -> TargetHealth {
        let stack = self.stack.clone();
        for color in Color::ALL.into_iter().filter(|color| route.reaches(*color)) {
            let Some(health) = self.look(stack.balancer.health(color)).await else {
                return TargetHealth::Unreadable;
            };
            if health.healthy() == 0 {
                self.last_error = Some(format!("{color}: {health}"));
                return TargetHealth::Unhealthy;
            }
        }
        TargetHealth::Healthy
    }

    /// Waits until the only environment that prod can go to has a healthy target, while there is time for the write.
    pub(super) async fn await_healthy(&mut self, route: Route) -> TargetHealth {
        let end = self.deadline.checked_sub(ROLLBACK_BUDGET).unwrap_or(self.deadline);
        let until = end.min(Instant::now() + self.request.settle_limit);
        self.live.edit(|record| {
            record.message = format!("Waiting to go back: {route} has no healthy target yet.");
        });
        self.live.transition();
        loop {
            let health = self.check_health(route).await;
            if health == TargetHealth::Healthy || Instant::now() + HEALTH_PAUSE > until {
                return health;
            }
            sleep(HEALTH_PAUSE).await;
        }
    }

    /// Writes a listener, if the lease is certainly valid until the write cannot take effect any more.
    pub(super) async fn write(&mut self, listener: Listener, route: Route) -> WriteAnswer {
        let Some(lease) = &self.lease else {
            return WriteAnswer::NoLease;
        };
        if lease.remaining() < WRITE_GUARD
            && let Err(error) = lease.renew().await
        {
            self.last_error = Some(error.to_string());
        }
        if lease.remaining() < WRITE_GUARD {
            return WriteAnswer::NoLease;
        }
        // Only the way forward splits prod, so a split goes to the new side.
        let to = route.whole().or_else(|| self.state?.swap().1).unwrap_or(Color::Blue);
        let number = self.live.writing(ListenerWrite {
            listener,
            to,
            weight: route.percent(to),
            phase: self.state.map(|state| state.phase()).unwrap_or_default(),
            start_us: self.elapsed_us(),
            end_us: None,
            result: WriteResult::Pending,
        });
        let written = self.stack.balancer.write(listener, route).await;
        let (answer, result) = match &written {
            Ok(()) => (WriteAnswer::Done, WriteResult::Done),
            Err(error) if error.rejected => (WriteAnswer::Rejected, WriteResult::Rejected),
            Err(_) => {
                self.unknown_write_at = Some(Instant::now());
                (WriteAnswer::Unknown, WriteResult::Unknown)
            }
        };
        self.last_error = written.err().map(|error| error.to_string());
        self.live.wrote(number, self.elapsed_us(), result);
        if listener == Listener::Prod && result != WriteResult::Rejected {
            let back = self.state.is_some_and(|state| state.phase() == Phase::RollBack);
            self.last_prod_write = Some(ProdWrite { back, at: Instant::now() });
        }
        answer
    }

    /// Microseconds since the beginning of the run.
    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) async fn await_quiet(&mut self) {
        if let Some(unknown_write_at) = self.unknown_write_at.take() {
            sleep_until(unknown_write_at + LANDING).await;
        }
    }
}
