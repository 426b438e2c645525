//! Reads the status of a stack: which environment is prod and dev, the state of both environments, and the last run.
//! Writes nothing.

use super::{Stack, budget};
use crate::balancer::{Balancer, BalancerError};
use crate::probe::{Client, Clients, Site};
use ledger::ObjectStore;
use model::Color;
use model::record::Connection;
use model::status::{EnvironmentStatus, Status};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time for an environment to report its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of the stack, as far as it can be read.
pub(super) async fn look<B: Balancer, S: ObjectStore, C: Clients>(stack: &Stack<B, S, C>) -> Status {
    let (listeners, blue, green, lease, latest) = tokio::join!(
        within(stack.balancer.listeners()),
        environment(stack, Color::Blue),
        environment(stack, Color::Green),
        within(stack.ledger.holder()),
        within(stack.ledger.latest()),
    );
    let mut problems = Vec::new();
    let (mut prod, mut dev, mut split) = (None, None, None);
    if let Some(listeners) = note(&mut problems, listeners) {
        for (name, state) in [("prod", &listeners.prod), ("dev", &listeners.dev)] {
            if let Some(problem) = state.problem() {
                problems.push(format!("the {name} listener: {problem}"));
            }
        }
        (prod, dev) = (listeners.prod.color(), listeners.dev.color());
        split = listeners.prod.route().filter(|route| route.whole().is_none());
        if prod.is_some() && prod == dev {
            problems.push("prod and dev are the same environment; run reconcile".to_owned());
        }
    }
    let mut environments = BTreeMap::new();
    for (color, (environment, found)) in Color::ALL.into_iter().zip([blue, green]) {
        problems.extend(found);
        environments.insert(color, environment);
    }
    let lease = note(&mut problems, lease).flatten().map(|holder| holder.info);
    if let Some(split) = split.filter(|_| lease.is_none()) {
        problems.push(format!("prod is split, {split}, and no cutover is under way; run reconcile"));
    }
    Status {
        prod,
        dev,
        weights: split.map(|split| Color::ALL.map(|color| (color, split.percent(color))).into()),
        environments,
        lease,
        latest: note(&mut problems, latest).flatten(),
        problems,
    }
}

async fn environment<B: Balancer, S: ObjectStore, C: Clients>(
    stack: &Stack<B, S, C>,
    color: Color,
) -> (EnvironmentStatus, Vec<String>) {
    let (service, health, version) = tokio::join!(
        within(stack.balancer.service(color)),
        within(stack.balancer.health(color)),
        version(stack, color),
    );
    let mut problems = Vec::new();
    let mut status = EnvironmentStatus::default();
    if let Some(service) = note(&mut problems, service) {
        status.deployed = service.deployed;
        if service.deployed {
            status.desired = Some(service.desired);
            status.running = Some(service.running);
            status.steady = service.not_stable.is_none();
            let not_stable = service.not_stable.map(|why| format!("{color}'s service is not stable: {why}"));
            problems.extend(not_stable);
            status.version = version;
        }
    }
    if let Some(health) = note(&mut problems, health) {
        status.targets = health.states;
    }
    (status, problems)
}

async fn version<B: Balancer, S: ObjectStore, C: Clients>(stack: &Stack<B, S, C>, color: Color) -> Option<String> {
    let asking = async {
        let site = Site::Environment(color);
        let client = stack.clients.open(site, &stack.probe_path, stack.version_header.as_deref()).await.ok()?;
        let address = *client.addresses().first()?;
        client.send(address, Connection::Fresh).await.version
    };
    timeout(VERSION_TIMEOUT, asking).await.ok()?
}

pub(super) async fn within<T, E: Display>(reading: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(budget::READ_TIMEOUT, reading).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err(BalancerError {
            doing: "read the state".to_owned(),
            cause: format!("no answer within {} s", budget::READ_TIMEOUT.as_secs()),
            rejected: false,
        }
        .to_string()),
    }
}

fn note<T>(problems: &mut Vec<String>, read: Result<T, String>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}
