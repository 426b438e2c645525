//! A registered target: its health, its requests in progress, and its connections.

use super::pool::Pool;
use crate::engine::probe::{HealthCheck, Protocol, Sick};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// The state of a target, as `DescribeTargetHealth` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthState {
    /// Registered and not checked yet.
    Initial,
    Healthy,
    Unhealthy,
    /// No listener uses its group, so there are no checks.
    Unused,
    /// Its group has no health check.
    Unavailable,
    /// Deregistered, with requests in progress.
    Draining,
}

/// The reported health of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) state: HealthState,
    /// The reason code of AWS, if any.
    pub(crate) reason: Option<&'static str>,
    pub(crate) description: Option<String>,
}

impl Health {
    fn new(state: HealthState, reason: Option<&'static str>, description: Option<&str>) -> Self {
        Self { state, reason, description: description.map(str::to_owned) }
    }

    pub(super) fn initial() -> Self {
        let description = "Initial health checks in progress";
        Self::new(HealthState::Initial, Some("Elb.InitialHealthChecking"), Some(description))
    }

    pub(super) fn healthy() -> Self {
        Self::new(HealthState::Healthy, None, None)
    }

    pub(super) fn unused() -> Self {
        let description = "Target group is not configured to receive traffic from the load balancer";
        Self::new(HealthState::Unused, Some("Target.NotInUse"), Some(description))
    }

    pub(super) fn unavailable() -> Self {
        let description = "Health checks are disabled for this target group";
        Self::new(HealthState::Unavailable, Some("Target.HealthCheckDisabled"), Some(description))
    }

    fn draining() -> Self {
        let description = "Target deregistration is in progress";
        Self::new(HealthState::Draining, Some("Target.DeregistrationInProgress"), Some(description))
    }

    fn unhealthy(sick: &Sick) -> Self {
        let (reason, description) = match sick {
            Sick::Answered(status) => {
                ("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{status}]"))
            }
            Sick::Late(_) => ("Target.Timeout", "Request timed out".to_owned()),
            Sick::Silent(_) => ("Target.FailedHealthChecks", "Health checks failed".to_owned()),
        };
        Self::new(HealthState::Unhealthy, Some(reason), Some(&description))
    }
}

/// A target in one group.
#[derive(Debug)]
pub(crate) struct Target {
    /// The id of the registration: the address.
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) pool: Pool,
    health: Mutex<Checked>,
    draining: AtomicBool,
    under_way: AtomicUsize,
    idle: Notify,
    /// Whether its deregistration delay is over.
    cut_off: watch::Sender<bool>,
}

#[derive(Debug)]
struct Checked {
    health: Health,
    /// Since when it has this health.
    since: Instant,
    /// Consecutive checks that contradict the current state.
    against: u32,
}

impl Checked {
    fn new(health: Health) -> Self {
        Self { health, since: Instant::now(), against: 0 }
    }
}

/// A request in progress to a target; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Flight(pub(super) Arc<Target>);

impl Target {
    pub(super) fn new(id: &str, address: SocketAddr, health: Health, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            port: address.port(),
            pool: Pool::new(address, protocol),
            health: Mutex::new(Checked::new(health)),
            draining: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            idle: Notify::new(),
            cut_off: watch::Sender::new(false),
        })
    }

    /// Its address and port, which no other target of its group has.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.id, self.port)
    }

    /// The number of requests in progress.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// How long its health has been what it is.
    pub(super) fn healthy_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.checked().since)
    }

    /// Ends the requests in progress, after the deregistration delay.
    pub(super) fn cut(&self) {
        self.cut_off.send_replace(true);
    }

    /// Returns when the deregistration delay is over.
    pub(super) async fn cut_off(&self) {
        // The sender lives as long as this.
        let _ = self.cut_off.subscribe().wait_for(|cut| *cut).await;
    }

    /// Starts a request. `None` if the target has been deregistered; the caller must then choose another target.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Flight> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let flight = Flight(Arc::clone(self));
        (!self.draining.load(Ordering::SeqCst)).then_some(flight)
    }

    /// Marks it as deregistered: it gets no new requests.
    pub(super) fn deregister(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.pool.close();
        self.idle.notify_waiters();
    }

    /// Marks it as registered again, before its drain has ended.
    pub(super) fn register(&self, health: Health) {
        *self.checked() = Checked::new(health);
        self.cut_off.send_replace(false);
        self.draining.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits until no request is in progress. Call it only after the deregistration.
    pub(super) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn health(&self) -> Health {
        if self.is_draining() { Health::draining() } else { self.checked().health.clone() }
    }

    /// Whether it gets requests while other targets of its group are healthy.
    pub(super) fn serves(&self) -> bool {
        matches!(self.checked().health.state, HealthState::Healthy | HealthState::Unavailable | HealthState::Unused)
    }

    /// Sets a state without a check.
    pub(super) fn set(&self, health: Health) {
        *self.checked() = Checked::new(health);
    }

    /// Applies the outcome of a check. The first success makes a new target healthy; after that, thresholds decide.
    /// Returns the state if it changed.
    pub(super) fn checked_by(&self, check: &HealthCheck, outcome: Result<(), &Sick>) -> Option<HealthState> {
        let mut checked = self.checked();
        let before = checked.health.state;
        let (against, threshold) = match (before, &outcome) {
            (HealthState::Unhealthy, Ok(())) => (checked.against + 1, check.healthy_threshold),
            (HealthState::Healthy, Ok(())) => (0, 1),
            (HealthState::Unhealthy, Err(sick)) => {
                checked.health = Health::unhealthy(sick);
                (0, 1)
            }
            (_, Ok(())) => (1, 1),
            // A healthy target, or a new target.
            (_, Err(_)) => (checked.against + 1, check.unhealthy_threshold),
        };
        checked.against = against;
        if against < threshold {
            return None;
        }
        *checked = Checked::new(match outcome {
            Ok(()) => Health::healthy(),
            Err(sick) => Health::unhealthy(sick),
        });
        Some(checked.health.state)
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, Checked> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::probe::Matcher;

    fn target() -> Arc<Target> {
        Target::new("127.0.0.1", SocketAddr::from(([127, 0, 0, 1], 9)), Health::initial(), Protocol::default())
    }

    fn check() -> HealthCheck {
        HealthCheck {
            target_group: "web".into(),
            port: 9,
            path: Some("/".into()),
            protocol: Protocol::default(),
            matcher: Matcher::parse("200"),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        }
    }

    #[test]
    fn the_first_good_answer_makes_a_new_target_healthy() {
        let target = target();
        assert_eq!(target.health().state, HealthState::Initial);
        target.checked_by(&check(), Err(&Sick::Answered(500)));
        assert_eq!(target.health().state, HealthState::Initial);
        target.checked_by(&check(), Ok(()));
        assert_eq!(target.health().state, HealthState::Healthy);
    }

    #[test]
    fn thresholds_decide_about_a_known_target_and_a_contrary_check_starts_over() {
        let (target, sick) = (target(), Sick::Answered(500));
        target.checked_by(&check(), Ok(()));
        for outcome in [Err(&sick), Ok(()), Err(&sick)] {
            target.checked_by(&check(), outcome);
            assert_eq!(target.health().state, HealthState::Healthy);
        }
        target.checked_by(&check(), Err(&sick));
        let health = target.health();
        assert_eq!((health.state, health.reason), (HealthState::Unhealthy, Some("Target.ResponseCodeMismatch")));
        target.checked_by(&check(), Ok(()));
        assert_eq!(target.health().state, HealthState::Unhealthy);
        target.checked_by(&check(), Ok(()));
        assert_eq!(target.health().state, HealthState::Healthy);
    }

    #[tokio::test]
    async fn a_deregistered_target_takes_no_request_and_is_idle_when_the_last_one_ends() {
        let target = target();
        let flight = target.enter().unwrap();
        target.deregister();
        assert!(target.enter().is_none());
        let waiting = tokio::spawn({
            let target = Arc::clone(&target);
            async move { target.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(flight);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}
