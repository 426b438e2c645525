//! The data plane of the load balancer: follows listeners, rules, weights, and targets of the API, checks health, and
//! forwards requests. It must not depend on what is deployed, nor change the state of the API.

mod activity;
mod answer;
mod body;
mod check;
mod follow;
mod forwards;
#[cfg(test)]
mod fuzz;
mod headers;
mod metrics;
mod model;
mod node;
mod pool;
mod proxy;
mod routes;
mod rules;
mod screen;
mod serve;
mod sticky;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub(crate) use forwards::ForwardSet;
pub(crate) use headers::remove_hop_by_hop;
pub(crate) use metrics::{Counted, publish};
pub(crate) use node::Lag;
pub(crate) use serve::bind;
pub(crate) use target::{Health, HealthState};
pub(crate) use tls::client as tls_client;

use crate::authority::Authority;
use crate::engine::probe::Protocol;
use crate::error::Result;
use crate::http_client::{self, HttpClient};
use crate::task_fault::TaskFaults;
use forwards::Place;
use metrics::Counters;
use model::Snapshot;
use node::{NODES, Node};
use routes::{Group, Owners, Registered, Routes, Settings};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sticky::Signer;
use target::Target;
use tls::Servers;

/// Time limit to learn of a deregistration. ECS deregisters a task before it stops it, so this is short.
const DEREGISTERED_LIMIT: Duration = Duration::from_secs(2);
const DEREGISTERED_EVERY: Duration = Duration::from_millis(20);

/// The state of the data plane, shared by everything that serves it.
#[derive(Debug)]
pub(crate) struct Balancer {
    /// The URL of the state.
    source: String,
    client: HttpClient,
    faults: Arc<TaskFaults>,
    /// The routes of each node.
    routes: [Mutex<Arc<Routes>>; NODES],
    known: Mutex<Known>,
    sets: forwards::Sets,
    servers: Servers,
    signer: Signer,
}

/// The last snapshot, and the targets and nodes that follow from it.
#[derive(Debug, Default)]
struct Known {
    version: i64,
    groups: BTreeMap<String, KnownGroup>,
    registered: Registered,
    nodes: [Node; NODES],
    lag: Option<Lag>,
    /// The newest plan, and the load balancers of the forwarded ports in it.
    plan: routes::Plan,
    owners: Owners,
}

impl Known {
    /// The DNS name of a load balancer.
    fn name(&self, arn: &str) -> Option<String> {
        let found = self.plan.iter().find(|listening| listening.balancer.load_balancer_arn == arn);
        found.map(|listening| listening.balancer.dns_name.clone())
    }

    /// The ports of the HTTPS listeners of a load balancer.
    fn secure(&self, arn: &str) -> Vec<u16> {
        let own = self.plan.iter().filter(|listening| listening.balancer.load_balancer_arn == arn);
        own.filter(|listening| listening.tls.is_some()).map(|listening| listening.port).collect()
    }
}

#[derive(Debug)]
struct KnownGroup {
    group: model::TargetGroup,
    used: bool,
    /// The ARN of the load balancer that uses it or used it.
    balancer: Option<String>,
    counters: Arc<Counters>,
    targets: Vec<KnownTarget>,
    draining: Vec<Arc<Target>>,
}

#[derive(Debug)]
struct KnownTarget {
    target: Arc<Target>,
    /// Stops when this is dropped.
    _checking: Option<check::Checking>,
}

/// A target as `DescribeTargetHealth` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) check_port: String,
    pub(crate) health: Health,
}

impl Balancer {
    /// A data plane without routes, for the MiniStack at `endpoint`, with certificates of an authority.
    pub(crate) fn new(endpoint: &str, faults: Arc<TaskFaults>, authority: Authority) -> Arc<Self> {
        Arc::new(Self {
            source: format!("{endpoint}/_local-cloud/load-balancers"),
            client: http_client::client(),
            faults,
            routes: Default::default(),
            known: Mutex::new(Known { version: -1, ..Known::default() }),
            sets: forwards::Sets::default(),
            servers: Servers::new(authority),
            signer: Signer::new(),
        })
    }

    /// The injected faults of requests and health checks.
    pub(crate) fn faults(&self) -> &Arc<TaskFaults> {
        &self.faults
    }

    /// The routes of a node.
    fn routes(&self, node: usize) -> Arc<Routes> {
        Arc::clone(&self.routes[node].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The idle timeout of a connection before its first request.
    fn idle_timeout(&self, place: Place) -> Duration {
        let routes = self.routes(place.node);
        let listener = routes.listener(place.set, place.listener, None);
        listener.and_then(|listener| listener.seconds("idle_timeout.timeout_seconds")).unwrap_or(proxy::IDLE_TIMEOUT)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the sets of forwarded ports to the load balancers again, after a set was added.
    fn reassign(&self) {
        let mut known = self.known();
        let known = &mut *known;
        self.assign(known);
        for (index, node) in known.nodes.iter().enumerate() {
            self.show(index, node, &known.registered, &known.owners);
        }
    }

    fn assign(&self, known: &mut Known) {
        routes::assign(&mut known.owners, &known.plan, &self.forwarded_ports());
        self.want_a_spare(&known.owners);
    }

    /// The lag of the last node, if one is set.
    pub(crate) fn lag(&self) -> Option<Lag> {
        self.known().lag.clone()
    }

    /// Sets the lag of the last node. Returns it with its id.
    pub(crate) fn set_lag(self: &Arc<Self>, ms: u64) -> Lag {
        let lag = Lag::new(ms);
        self.change_lag(&mut self.known(), Some(lag.clone()));
        lag
    }

    /// Removes the lag if it has this id, or any lag. Returns the number of removed lags: one or zero.
    pub(crate) fn clear_lag(self: &Arc<Self>, id: Option<u64>) -> usize {
        let mut known = self.known();
        let meant = known.lag.as_ref().is_some_and(|lag| id.is_none_or(|id| lag.id == id));
        if meant {
            self.change_lag(&mut known, None);
        }
        usize::from(meant)
    }

    /// Applies pending changes with the new lag, if that is earlier.
    fn change_lag(self: &Arc<Self>, known: &mut Known, lag: Option<Lag>) {
        known.lag = lag;
        let now = Instant::now();
        for (index, node) in known.nodes.iter_mut().enumerate() {
            let due = now + node::delay(known.lag.as_ref(), index);
            node.hurry(due);
            self.apply_at(due);
        }
        self.apply_due(known, now);
    }

    /// Reads the state. When this returns, the targets are current; the nodes follow the rules with their delay.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<()> {
        let snapshot = follow::read(&self.client, &self.source, None).await?;
        self.apply(snapshot);
        Ok(())
    }

    /// Follows the state until the task is dropped.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            let after = self.known().version;
            match follow::read(&self.client, &self.source, Some(after)).await {
                Ok(snapshot) => self.apply(snapshot),
                Err(error) => {
                    tracing::debug!("{error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Applies a snapshot, unless a newer one has been applied.
    fn apply(self: &Arc<Self>, snapshot: Snapshot) {
        let mut known = self.known();
        if snapshot.version <= known.version {
            return;
        }
        known.version = snapshot.version;
        let state = snapshot.state;
        let used = routes::in_use(&state);
        let mut groups = BTreeMap::new();
        let mut registered = Registered::new();
        for group in &state.target_groups {
            let arn = group.target_group_arn.clone();
            let before = known.groups.remove(&arn);
            let now = self.group(group, used.get(arn.as_str()).copied(), before);
            let targets = now.targets.iter().map(|known| Arc::clone(&known.target)).collect();
            let group = Group::new(targets, Arc::clone(&now.counters), Settings::of(group));
            registered.insert(arn.clone(), Arc::new(group));
            groups.insert(arn, now);
        }
        let known = &mut *known;
        let gone = std::mem::replace(&mut known.groups, groups);
        known.registered = registered;
        let (plan, now) = (routes::plan(&state), Instant::now());
        known.plan.clone_from(&plan);
        self.assign(known);
        for (index, node) in known.nodes.iter_mut().enumerate() {
            if let Some(due) = node.hear(&plan, now + node::delay(known.lag.as_ref(), index)) {
                self.apply_at(due);
            }
            node.apply(now);
            self.show(index, node, &known.registered, &known.owners);
        }
        // From here on, no request chooses a removed target; earlier choices complete or are repeated.
        for target in gone.values().flat_map(|group| &group.targets) {
            target.target.deregister();
        }
        for target in known.groups.values().flat_map(|group| &group.draining) {
            target.deregister();
        }
    }

    /// Schedules the nodes to apply the changes that are due at a time.
    fn apply_at(self: &Arc<Self>, due: Instant) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            this.apply_due(&mut this.known(), due);
        });
    }

    fn apply_due(&self, known: &mut Known, now: Instant) {
        for (index, node) in known.nodes.iter_mut().enumerate() {
            if node.apply(now) {
                self.show(index, node, &known.registered, &known.owners);
            }
        }
    }

    /// Builds the routes of a node from its plan and the current targets.
    fn show(&self, index: usize, node: &Node, registered: &Registered, owners: &Owners) {
        let routes = Arc::new(Routes::new(node.plan(), registered, owners));
        *self.routes[index].lock().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// A group of the snapshot. Targets that remain keep their state.
    fn group(
        self: &Arc<Self>,
        group: &model::TargetGroup,
        balancer: Option<&str>,
        before: Option<KnownGroup>,
    ) -> KnownGroup {
        let used = balancer.is_some();
        let same = before.as_ref().is_some_and(|before| before.used == used && check::same(&before.group, group));
        let balancer = balancer.map(str::to_owned);
        let (mut earlier, mut draining, balancer, counters) = match before {
            Some(before) => (before.targets, before.draining, balancer.or(before.balancer), before.counters),
            None => (Vec::new(), Vec::new(), balancer, Counters::new()),
        };
        let mut targets = Vec::new();
        for wanted in &group.targets {
            let Some(address) = address(wanted, group) else {
                tracing::warn!("target {} of {} is not an address", wanted.id, group.target_group_name);
                continue;
            };
            let is = |target: &Arc<Target>| target.id == wanted.id && target.port == address.port();
            let found = earlier.iter().position(|known| is(&known.target)).map(|index| earlier.swap_remove(index));
            targets.push(match found {
                Some(known) if same => known,
                Some(known) => self.check(known.target, group, used),
                None => {
                    let back = draining.iter().position(is).map(|index| draining.swap_remove(index));
                    let protocol = Protocol::read(&group.protocol, group.protocol_version.as_deref());
                    let target = back.unwrap_or_else(|| Target::new(&wanted.id, address, Health::initial(), protocol));
                    target.register(Health::initial());
                    self.check(target, group, used)
                }
            });
        }
        for known in earlier {
            self.drain_later(&group.target_group_arn, Arc::clone(&known.target), delay(group));
            draining.push(known.target);
        }
        KnownGroup { group: group.clone(), used, balancer, counters, targets, draining }
    }

    /// Starts to check a target.
    fn check(&self, target: Arc<Target>, group: &model::TargetGroup, used: bool) -> KnownTarget {
        check::begin(target, group, used, &self.faults)
    }

    /// Removes a deregistered target when it is idle, or after its deregistration delay.
    fn drain_later(self: &Arc<Self>, group: &str, target: Arc<Target>, delay: Duration) {
        let (this, group) = (Arc::clone(self), group.to_owned());
        tokio::spawn(async move {
            if tokio::time::timeout(delay, target.idle()).await.is_err() && target.is_draining() {
                target.cut();
            }
            if let Some(group) = this.known().groups.get_mut(&group) {
                group.draining.retain(|one| !(Arc::ptr_eq(one, &target) && one.is_draining()));
            }
        });
    }

    /// Waits until the targets at an address are deregistered and have no requests in progress, at most for the
    /// deregistration delay of their groups. Returns whether that state was reached.
    pub(crate) async fn drained(self: &Arc<Self>, address: IpAddr) -> bool {
        let id = address.to_string();
        let deregistered = async {
            loop {
                if let Err(error) = self.refresh().await {
                    tracing::debug!("{error}");
                } else if !self.registered(&id) {
                    return;
                }
                tokio::time::sleep(DEREGISTERED_EVERY).await;
            }
        };
        let told = tokio::time::timeout(DEREGISTERED_LIMIT, deregistered).await.is_ok();
        let draining: Vec<(Arc<Target>, Duration)> = {
            let known = self.known();
            let of = |group: &KnownGroup| {
                let delay = delay(&group.group);
                group.draining.iter().map(|target| (Arc::clone(target), delay)).collect::<Vec<_>>()
            };
            known.groups.values().flat_map(of).filter(|(target, _)| target.id == id).collect()
        };
        let idle = draining
            .into_iter()
            .map(|(target, delay)| async move { tokio::time::timeout(delay, target.idle()).await.is_ok() });
        futures_util::future::join_all(idle).await.into_iter().all(|idle| idle) && told
    }

    fn registered(&self, id: &str) -> bool {
        self.known().groups.values().flat_map(|group| &group.targets).any(|known| known.target.id == id)
    }

    /// The health of the targets of a group, `None` if the group does not exist.
    pub(crate) fn health(&self, group: &str) -> Option<Vec<Described>> {
        let known = self.known();
        let group = known.groups.get(group)?;
        let check_port = |target: &Target| {
            let own = group.group.health_check_port.clone().filter(|port| port != "traffic-port");
            own.unwrap_or_else(|| target.port.to_string())
        };
        let describe = |target: &Arc<Target>| Described {
            id: target.id.clone(),
            port: target.port,
            check_port: check_port(target),
            health: target.health(),
        };
        let targets = group.targets.iter().map(|known| &known.target);
        Some(targets.chain(&group.draining).map(describe).collect())
    }
}

/// The deregistration delay of a group; the default is five minutes, as on AWS.
fn delay(group: &model::TargetGroup) -> Duration {
    let seconds = group.attributes.get("deregistration_delay.timeout_seconds").and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

fn address(target: &model::Target, group: &model::TargetGroup) -> Option<SocketAddr> {
    let port = target.port.or_else(|| u16::try_from(group.port).ok())?;
    Some(SocketAddr::new(target.id.parse().ok()?, port))
}
