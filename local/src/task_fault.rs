//! Injected task faults: rules that say which requests and health checks fail, and how, for tests and rehearsals.
//! The load balancer and the health checks query these rules; the task does not know them.

use crate::engine::probe::Sick;
use crate::rule::{Turns, next_id};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How a task fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TaskEffect {
    /// Delay responses (--ms).
    Slow,
    /// Replace the status of responses with an error (--status).
    Status,
    /// Abort the task on a request.
    Crash,
    /// Kill the task on a request, as if it were out of memory: exit code 137.
    Oom,
    /// Fail health checks; requests get their responses.
    Unhealthy,
}

/// A rule and the number of its matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaskFault {
    /// Assigned when the rule is added.
    #[serde(default)]
    pub(crate) id: u64,
    pub(crate) effect: TaskEffect,
    /// Text that the service, task definition, or image name of the task must contain.
    pub(crate) of: Option<String>,
    /// Matches only requests through this listener port.
    pub(crate) listener: Option<u16>,
    /// Which requests fail.
    #[serde(flatten)]
    pub(crate) turns: Turns,
    /// Delay of the effect `slow`.
    #[serde(default)]
    pub(crate) ms: u64,
    /// Response status of the effect `status`.
    #[serde(default)]
    pub(crate) status: u16,
}

/// How a fault ends a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    Abort,
    OutOfMemory,
}

/// The effect on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Struck {
    Late(Duration),
    Status(u16),
}

/// The rules in the order in which they were added, and the tasks that they can match.
#[derive(Debug)]
pub(crate) struct TaskFaults {
    inner: Mutex<Inner>,
    deaths: UnboundedSender<(IpAddr, Death)>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<TaskFault>,
    /// The names of the task at an address.
    tasks: BTreeMap<IpAddr, Vec<String>>,
}

impl TaskFault {
    fn means(&self, names: &[String]) -> bool {
        self.of.as_ref().is_none_or(|of| names.iter().any(|name| name.contains(of)))
    }

    /// Whether health checks fail. If the rule has a listener or a number of requests to skip, they fail only after the
    /// first request that it matches; otherwise at once.
    fn sickens(&self) -> bool {
        let at_once = self.listener.is_none() && self.turns.skip == 0;
        self.effect == TaskEffect::Unhealthy && (at_once || self.turns.is_past_skip())
    }
}

impl TaskFaults {
    /// Returns an empty set of faults, and the receiver of the tasks that a fault kills.
    pub(crate) fn new() -> (Arc<Self>, UnboundedReceiver<(IpAddr, Death)>) {
        let (deaths, told) = unbounded_channel();
        (Arc::new(Self { inner: Mutex::default(), deaths }), told)
    }

    /// Adds a rule and returns it with its id.
    pub(crate) fn add(&self, fault: TaskFault) -> TaskFault {
        let fault = TaskFault { id: next_id(), turns: fault.turns.anew(), ..fault };
        self.lock().rules.push(fault.clone());
        fault
    }

    pub(crate) fn list(&self) -> Vec<TaskFault> {
        self.lock().rules.clone()
    }

    /// Removes one rule, or all. Returns the number of removed rules.
    pub(crate) fn clear(&self, id: Option<u64>) -> usize {
        let mut inner = self.lock();
        let before = inner.rules.len();
        inner.rules.retain(|rule| id.is_some_and(|id| rule.id != id));
        before - inner.rules.len()
    }

    /// Registers a task that starts at an address, with the names that rules can match.
    pub(crate) fn started(&self, address: IpAddr, names: Vec<String>) {
        self.lock().tasks.insert(address, names);
    }

    /// Returns the effect on a request through a listener port to the task at an address: that of the first rule that
    /// applies. Every rule that matches counts the request. If the effect ends the task, its end is requested.
    pub(crate) fn meet(&self, address: IpAddr, listener: u16) -> Option<Struck> {
        let mut inner = self.lock();
        let Inner { rules, tasks, .. } = &mut *inner;
        let task = tasks.get(&address)?;
        let mut found = None;
        for rule in rules.iter_mut() {
            if rule.listener.is_none_or(|port| port == listener) && rule.means(task) && rule.turns.strikes() {
                found = found.or(Some((rule.effect, rule.ms, rule.status)));
            }
        }
        match found? {
            (TaskEffect::Slow, ms, _) => Some(Struck::Late(Duration::from_millis(ms))),
            (TaskEffect::Status, _, status) => Some(Struck::Status(status)),
            (TaskEffect::Unhealthy, ..) => None,
            (effect, ..) => {
                let death = if effect == TaskEffect::Oom { Death::OutOfMemory } else { Death::Abort };
                // The send fails only while the local cloud stops, which ends every task anyway.
                let _ = self.deaths.send((address, death));
                None
            }
        }
    }

    /// Why a health check of the task at an address fails, if a rule makes it fail.
    pub(crate) fn sick(&self, address: IpAddr) -> Option<Sick> {
        let inner = self.lock();
        let task = inner.tasks.get(&address)?;
        let sick = inner.rules.iter().any(|rule| rule.sickens() && rule.means(task));
        sick.then_some(Sick::Answered(503))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 1, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 1, 0, 2));

    fn fault(effect: TaskEffect) -> TaskFault {
        TaskFault { id: 0, effect, of: None, listener: None, turns: Turns::default(), ms: 300, status: 500 }
    }

    fn faults() -> (Arc<TaskFaults>, UnboundedReceiver<(IpAddr, Death)>) {
        let (faults, deaths) = TaskFaults::new();
        faults.started(ONE, vec!["shop-blue:1".into(), "registry/shop@sha256:aa".into()]);
        faults.started(TWO, vec!["shop-green:1".into(), "registry/shop@sha256:bb".into()]);
        (faults, deaths)
    }

    #[test]
    fn a_rule_means_tasks_by_their_names_and_requests_by_their_listener() {
        let (faults, _deaths) = faults();
        faults.add(TaskFault { of: Some("shop-blue".into()), listener: Some(80), ..fault(TaskEffect::Status) });
        assert_eq!(faults.meet(ONE, 80), Some(Struck::Status(500)));
        assert_eq!(faults.meet(ONE, 81), None);
        assert_eq!(faults.meet(TWO, 80), None);
        assert_eq!(faults.list()[0].turns.met, 1);
        faults.add(TaskFault { of: Some("sha256:bb".into()), ..fault(TaskEffect::Slow) });
        assert_eq!(faults.meet(TWO, 81), Some(Struck::Late(Duration::from_millis(300))));
        assert_eq!(faults.clear(None), 2);
        assert_eq!(faults.meet(TWO, 81), None);
    }

    #[test]
    fn health_checks_fail_at_once_where_no_request_is_named() {
        let (faults, _deaths) = faults();
        faults.add(TaskFault { of: Some("shop-blue".into()), ..fault(TaskEffect::Unhealthy) });
        assert_eq!((faults.sick(ONE), faults.sick(TWO)), (Some(Sick::Answered(503)), None));
    }

    #[test]
    fn health_checks_fail_from_the_request_on_that_a_rule_begins_with() {
        let (faults, _deaths) = faults();
        faults.add(TaskFault { listener: Some(80), ..fault(TaskEffect::Unhealthy) });
        assert_eq!(faults.meet(ONE, 81), None);
        assert_eq!(faults.sick(ONE), None);
        assert_eq!(faults.meet(ONE, 80), None);
        assert_eq!(faults.sick(ONE), Some(Sick::Answered(503)));
    }

    #[test]
    fn a_deadly_request_is_counted_and_told() {
        let (faults, mut deaths) = faults();
        faults.add(TaskFault { turns: Turns { skip: 1, times: Some(1), met: 0 }, ..fault(TaskEffect::Oom) });
        for _ in 0..3 {
            assert_eq!(faults.meet(ONE, 80), None);
        }
        assert_eq!(deaths.try_recv().unwrap(), (ONE, Death::OutOfMemory));
        assert!(deaths.try_recv().is_err());
    }
}
