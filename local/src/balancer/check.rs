//! The health checks of registered targets, with the settings of their groups.

use super::KnownTarget;
use super::model::TargetGroup;
use super::target::{Health, HealthState, Target};
use crate::engine::probe::{HealthCheck, HttpVersion, Matcher, Protocol, Sick};
use crate::task_fault::TaskFaults;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The check interval of a new target: short, so that a healthy target is used at once.
const NEW_EVERY: Duration = Duration::from_millis(100);

/// The running checks of one target; dropping this stops them.
#[derive(Debug)]
pub(super) struct Checking(JoinHandle<()>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether two states of a group have the same health check, so that running checks can continue.
pub(super) fn same(one: &TargetGroup, other: &TargetGroup) -> bool {
    let only_check = |group: &TargetGroup| TargetGroup {
        targets: Vec::new(),
        attributes: group.attributes.clone(),
        ..group.clone()
    };
    only_check(one) == only_check(other)
}

/// Starts to check a target if its group is in use and has a health check.
pub(super) fn begin(target: Arc<Target>, group: &TargetGroup, used: bool, faults: &Arc<TaskFaults>) -> KnownTarget {
    let resting = match (used, group.health_check_enabled) {
        (false, _) => Some(Health::unused()),
        (true, false) => Some(Health::unavailable()),
        (true, true) => None,
    };
    if let Some(health) = resting {
        target.set(health);
        return KnownTarget { target, _checking: None };
    }
    // A target keeps its health from a previous check until the new check changes it.
    if matches!(target.health().state, HealthState::Unused | HealthState::Unavailable) {
        target.set(Health::initial());
    }
    let check = health_check(group, &target);
    let checking = Checking(tokio::spawn(run(Arc::clone(&target), check, Arc::clone(faults))));
    KnownTarget { target, _checking: Some(checking) }
}

async fn run(target: Arc<Target>, check: HealthCheck, faults: Arc<TaskFaults>) {
    let Ok(address) = target.id.parse() else { return };
    loop {
        let outcome = check.probe(address, &faults).await;
        if let Some(state) = target.checked_by(&check, outcome.as_ref().copied()) {
            let why = outcome.err().map(|sick: Sick| format!(": {sick}")).unwrap_or_default();
            tracing::info!("target {}:{} of {} is {state:?}{why}", target.id, target.port, check.target_group);
        }
        let new = target.health().state == HealthState::Initial;
        tokio::time::sleep(if new { NEW_EVERY.min(check.interval) } else { check.interval }).await;
    }
}

fn health_check(group: &TargetGroup, target: &Target) -> HealthCheck {
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let checked = group.health_check_protocol.as_deref().unwrap_or("HTTP");
    let protocol = Protocol::read(checked, group.protocol_version.as_deref());
    let codes = match protocol.version {
        HttpVersion::Grpc => &group.matcher.grpc_code,
        _ => &group.matcher.http_code,
    };
    HealthCheck {
        target_group: group.target_group_name.clone(),
        // "traffic-port" means the port of the registered target.
        port: group.health_check_port.as_deref().and_then(|port| port.parse().ok()).unwrap_or(target.port),
        path: matches!(checked, "HTTP" | "HTTPS")
            .then(|| group.health_check_path.clone().unwrap_or_else(|| "/".to_owned())),
        protocol,
        matcher: Matcher::parse(codes.as_deref().unwrap_or("200")),
        interval: Duration::from_secs(group.health_check_interval_seconds.max(1)),
        timeout: Duration::from_secs(group.health_check_timeout_seconds.max(1)),
        healthy_threshold: count(group.healthy_threshold_count),
        unhealthy_threshold: count(group.unhealthy_threshold_count),
    }
}
