//! Effects on the load balancer and its services.

use super::Hands;
use crate::Color;
use crate::balancer::{Balancer, BalancerError, LANDING, Pointing, unfitness};
use crate::ledger::ObjectStore;
use crate::machine::{Event, Listener};
use crate::probe::Clients;
use crate::report::{ListenerWrite, WriteResult};
use crate::run::budget::{READ_TIMEOUT, WRITE_GUARD};
use tokio::time::{Instant, sleep_until, timeout};

impl<B: Balancer, S: ObjectStore, C: Clients> Hands<B, S, C> {
    /// Reads, but not for ever; what went wrong is remembered.
    async fn look<T>(&mut self, reading: impl Future<Output = Result<T, BalancerError>>) -> Option<T> {
        self.trouble = Some(match timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer from AWS within {} s", READ_TIMEOUT.as_secs()),
        });
        None
    }

    pub(super) async fn read_listeners(&mut self) -> Event {
        let stack = self.stack.clone();
        let Some(listeners) = self.look(stack.balancer.listeners()).await else {
            return Event::Unreadable;
        };
        for (name, pointing) in [("prod", &listeners.prod), ("dev", &listeners.dev)] {
            if let Pointing::NotUnderstood(problem) = pointing {
                self.trouble = Some(format!("the {name} listener: {problem}"));
            }
        }
        Event::Listeners(listeners.prod.color(), listeners.dev.color())
    }

    pub(super) async fn inspect(&mut self, color: Color) -> Event {
        let stack = self.stack.clone();
        let balancer = &stack.balancer;
        let reading = async {
            let (service, health, sticky, other_sticky) = tokio::try_join!(
                balancer.service(color),
                balancer.health(color),
                balancer.is_sticky(color),
                balancer.is_sticky(color.other()),
            )?;
            let other = color.other();
            Ok(unfitness(color, &service, &health, sticky).or_else(|| {
                other_sticky.then(|| format!("{other}'s target group has stickiness, which would keep clients on it"))
            }))
        };
        match self.look(reading).await {
            Some(None) => Event::Fit,
            Some(problem) => {
                self.trouble = problem;
                Event::Unfit
            }
            None => Event::Unfit,
        }
    }

    pub(super) async fn check_health(&mut self, color: Color) -> Event {
        let stack = self.stack.clone();
        match self.look(stack.balancer.health(color)).await {
            Some(health) if health.healthy() > 0 => Event::Healthy,
            Some(health) => {
                self.trouble = Some(format!("{color}: {health}"));
                Event::Unhealthy
            }
            None => Event::Unreadable,
        }
    }

    /// Writes a listener, if the lease certainly outlives the write and its landing.
    pub(super) async fn write(&mut self, listener: Listener, color: Color) -> Event {
        let Some(lease) = &self.lease else {
            return Event::LeaseLost;
        };
        if lease.remaining() < WRITE_GUARD
            && let Err(error) = lease.renew().await
        {
            self.trouble = Some(error.to_string());
        }
        if lease.remaining() < WRITE_GUARD {
            return Event::LeaseLost;
        }
        let number = self.live.writing(ListenerWrite {
            listener,
            to: color,
            weight: 100,
            phase: self.state.map(|state| state.phase()).unwrap_or_default(),
            start_us: self.elapsed_us(),
            end_us: None,
            result: WriteResult::Pending,
        });
        let written = self.stack.balancer.write(listener, color).await;
        let (event, result) = match &written {
            Ok(()) => (Event::WriteDone, WriteResult::Done),
            Err(error) if error.rejected => (Event::WriteRejected, WriteResult::Rejected),
            Err(_) => {
                self.doubt = Some(Instant::now());
                (Event::WriteUnknown, WriteResult::Unknown)
            }
        };
        self.trouble = written.err().map(|error| error.to_string());
        self.live.wrote(number, self.elapsed_us(), result);
        event
    }

    /// Microseconds since the run's begin.
    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) async fn await_quiet(&mut self) -> Event {
        if let Some(doubt) = self.doubt.take() {
            sleep_until(doubt + LANDING).await;
        }
        Event::QuietElapsed
    }
}
