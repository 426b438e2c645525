//! What a run needs from the load balancer and from ECS, as a trait. The implementation for AWS is in `client` and
//! [`aws::rules`]. Must not know why a listener's rule is written.

mod client;

pub use ::aws::rules::{BalancerError, WRITE_TIMEOUT};
pub use client::AwsBalancer;

use jiff::Timestamp;
use model::Color;
use model::listener::Listeners;
use model::route::{Listener, Route};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Time after an unanswered write until it is certain that the write does not take effect any more. AWS documents no
/// bound. This is many times what its control plane takes, and every run reads the listeners again at its end.
pub const LANDING: Duration = Duration::from_secs(7);

/// Targets of one target group by state, with the names of the load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Number of targets in each state.
    pub states: BTreeMap<String, u32>,
}

impl Health {
    /// Number of healthy targets. Only `healthy` counts, because a load balancer sends requests to unhealthy targets
    /// too if there are no others.
    pub fn healthy(&self) -> u32 {
        self.states.get("healthy").copied().unwrap_or(0)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.states.is_empty() {
            return f.write_str("no targets");
        }
        for (position, (state, count)) in self.states.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {state}")?;
        }
        Ok(())
    }
}

/// An environment's service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Whether it exists.
    pub deployed: bool,
    /// Tasks that it should have.
    pub desired: u32,
    /// Tasks that run.
    pub running: u32,
    /// Why it is not stable; `None` if it is stable.
    pub not_stable: Option<String>,
    /// When its newest deployment began.
    pub since: Option<Timestamp>,
    /// The number of its release; `None` for a release of an older version.
    pub release: Option<u64>,
    /// Tasks that its release asks for, whether it sleeps or not; `None` for a release of an older version.
    pub tasks: Option<u32>,
}

/// The load balancer and the services behind it.
pub trait Balancer: Send + Sync + 'static {
    /// Reads where both listeners send their requests.
    fn listeners(&self) -> impl Future<Output = Result<Listeners, BalancerError>> + Send;

    /// Makes a listener send its requests to a route: changes its rule, or creates one if there is none. After an error
    /// that is not [`BalancerError::rejected`], the write may have taken effect, or may do so later.
    fn write(&self, listener: Listener, route: Route) -> impl Future<Output = Result<(), BalancerError>> + Send;

    /// Reads the health of an environment's targets, now.
    fn health(&self, color: Color) -> impl Future<Output = Result<Health, BalancerError>> + Send;

    /// Reads the state of an environment's service.
    fn service(&self, color: Color) -> impl Future<Output = Result<Service, BalancerError>> + Send;

    /// Sets the number of tasks of an environment's service.
    fn scale(&self, color: Color, tasks: u32) -> impl Future<Output = Result<(), BalancerError>> + Send;

    /// Whether an environment's target group has stickiness, which keeps clients on the old side.
    fn is_sticky(&self, color: Color) -> impl Future<Output = Result<bool, BalancerError>> + Send;
}

/// Why an environment must not get traffic; `None` if it may.
pub fn ineligible_reason(color: Color, service: &Service, health: &Health, sticky: bool) -> Option<String> {
    if !service.deployed {
        return Some(format!("nothing is deployed to {color}"));
    }
    if service.desired == 0 {
        return Some(format!("{color}'s service is scaled to 0 tasks"));
    }
    if let Some(problem) = &service.not_stable {
        return Some(format!("{color}'s service is not stable: {problem}"));
    }
    if health.healthy() < service.desired {
        let desired = service.desired;
        return Some(format!("{color} has too few healthy targets: {desired} wanted, {health}"));
    }
    if sticky {
        return Some(format!("{color}'s target group has stickiness, which would keep clients on the old side"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> (Service, Health) {
        let service = Service {
            deployed: true,
            desired: 2,
            running: 2,
            not_stable: None,
            since: None,
            release: None,
            tasks: None,
        };
        let health = Health { states: BTreeMap::from([("healthy".to_owned(), 2), ("draining".to_owned(), 1)]) };
        (service, health)
    }

    #[test]
    fn a_steady_service_with_healthy_targets_is_fit() {
        let (service, health) = fit();
        assert_eq!(ineligible_reason(Color::Blue, &service, &health, false), None);
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let (service, health) = fit();
        let reason = |service: &Service, health: &Health, sticky| {
            ineligible_reason(Color::Blue, service, health, sticky).unwrap_or_default()
        };
        assert!(reason(&Service::default(), &health, false).contains("nothing is deployed to blue"));
        let none_wanted = Service { desired: 0, ..service.clone() };
        assert!(reason(&none_wanted, &health, false).contains("scaled to 0"));
        let rolling = Service { not_stable: Some("a deployment is under way".to_owned()), ..service.clone() };
        assert!(reason(&rolling, &health, false).contains("a deployment is under way"));
        let sick = Health { states: BTreeMap::from([("healthy".to_owned(), 1), ("unhealthy".to_owned(), 1)]) };
        assert!(reason(&service, &sick, false).contains("2 wanted, 1 healthy, 1 unhealthy"));
        assert!(reason(&service, &Health::default(), false).contains("no targets"));
        assert!(reason(&service, &health, true).contains("stickiness"));
    }
}
