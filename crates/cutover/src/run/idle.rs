//! Puts the idle environment to sleep, and wakes it. Must not decide when it may sleep.

use super::status::within;
use super::{LEASE_TTL, Stack, budget};
use crate::balancer::{Balancer, Health, Service};
use crate::idle::{Idle, idle_side, may_sleep};
use crate::probe::Clients;
use ledger::{Lease, LeaseError, ObjectStore};
use model::Color;
use model::idle::IdleAnswer;
use model::lease::Purpose;
use model::request::new_id;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pause between two reads of an environment that wakes up.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for an environment to wake up: Fargate starts a task in about a minute.
pub(super) const WAKE_LIMIT: Duration = Duration::from_mins(5);

impl<B: Balancer, S: ObjectStore, C: Clients> Stack<B, S, C> {
    /// Stops the tasks of the idle environment if it may sleep. Changes nothing without the lease, so no cutover and no
    /// deployment is in progress.
    pub(super) async fn put_to_sleep(&self) -> IdleAnswer {
        let Some(idle) = self.idle else {
            return IdleAnswer::awake("this stack's environments never sleep");
        };
        // Usually there is nothing to do. Then the lease must stay free for other runs.
        match self.who_may_sleep(idle).await {
            Ok(Some(_)) => {}
            Ok(None) => return IdleAnswer::awake("the idle environment sleeps already"),
            Err(why) => return IdleAnswer::awake(why),
        }
        let lease = match self.ledger.acquire(Purpose::Sleep, &new_id(), LEASE_TTL).await {
            Ok(lease) => lease,
            Err(LeaseError::Interrupted(_)) => {
                return IdleAnswer::awake("a cutover was interrupted and needs a reconcile");
            }
            Err(LeaseError::Held(holder)) => {
                let holder = holder.info;
                return IdleAnswer::awake(format!("a {} is under way: {}", holder.purpose, holder.holder));
            }
            Err(error) => return IdleAnswer::awake(error.to_string()),
        };
        let answer = self.sleep_under(&lease, idle).await;
        if let Err(error) = lease.release().await {
            tracing::warn!(%error, "the lease was not given back; it will expire");
        }
        answer
    }

    async fn sleep_under(&self, lease: &Lease<S>, idle: Idle) -> IdleAnswer {
        let color = match self.who_may_sleep(idle).await {
            Ok(Some(color)) => color,
            Ok(None) => return IdleAnswer::awake("the idle environment sleeps already"),
            Err(why) => return IdleAnswer::awake(why),
        };
        if lease.remaining().is_zero() {
            return IdleAnswer::awake("the lease was lost");
        }
        match within(self.balancer.scale(color, 0)).await {
            Ok(()) => IdleAnswer { asleep: Some(color), message: format!("{color} sleeps until it is needed") },
            Err(why) => IdleAnswer::awake(why),
        }
    }

    /// The idle environment if it may sleep; `None` if it sleeps already.
    async fn who_may_sleep(&self, idle: Idle) -> Result<Option<Color>, String> {
        let listeners = within(self.balancer.listeners()).await?;
        let color = idle_side(&listeners)?;
        let service = within(self.balancer.service(color)).await?;
        if service.deployed && service.desired == 0 {
            return Ok(None);
        }
        let records = within(self.ledger.list(budget::SEARCHED)).await?;
        may_sleep(color, &service, &records, self.clock.now(), idle.after)?;
        Ok(Some(color))
    }

    /// The number of tasks that a sleeping environment gets; `None` if it does not sleep.
    pub(super) async fn asleep(&self, color: Color) -> Result<Option<u32>, String> {
        if self.idle.is_none() {
            return Ok(None);
        }
        let service = within(self.balancer.service(color)).await?;
        if !service.deployed || service.desired > 0 {
            return Ok(None);
        }
        if let Some(tasks) = service.tasks {
            return Ok(Some(tasks));
        }
        // A release of an older version does not report this, so the number of the other environment is used.
        let other = within(self.balancer.service(color.other())).await?;
        Ok(Some(other.desired.max(1)))
    }

    /// Starts the tasks of an environment, and waits for them until `until`. Returns whether all are healthy then.
    pub(super) async fn wake(&self, color: Color, tasks: u32, until: Instant) -> Result<bool, String> {
        if Instant::now() >= until {
            return Ok(false);
        }
        within(self.balancer.scale(color, tasks)).await?;
        while Instant::now() < until {
            let looking = async { tokio::try_join!(self.balancer.service(color), self.balancer.health(color)) };
            match within(looking).await {
                Ok((service, health)) if is_up(&service, &health, tasks) => return Ok(true),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a look at the environment that wakes up failed"),
            }
            sleep(PAUSE).await;
        }
        Ok(false)
    }
}

fn is_up(service: &Service, health: &Health, tasks: u32) -> bool {
    service.not_stable.is_none() && service.running >= tasks && health.healthy() >= tasks
}
