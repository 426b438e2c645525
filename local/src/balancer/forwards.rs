//! The sets of forwarded ports: one for each load balancer, so that a browser reaches each of them, and one more for the
//! next load balancer, so that its URL is known before it exists. The first set has the ports that `up` was given.

use super::Balancer;
use super::routes::Owners;
use super::serve::{bind, serve};
use crate::error::Result;
use crate::instance::Forward;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// The pause after a set could not be bound.
const PAUSE: Duration = Duration::from_secs(1);

/// The place at which a request arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) set: usize,
    /// The listener port to which the forwarded port leads.
    pub(super) listener: u16,
}

/// A set of forwarded ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForwardSet {
    /// The DNS name of the load balancer that has the set; none if it is free.
    pub(crate) balancer: Option<String>,
    pub(crate) forwards: Vec<Forward>,
    /// The ports of its HTTPS listeners.
    #[serde(default)]
    pub(crate) secure: Vec<u16>,
}

impl ForwardSet {
    /// The URL of a forwarded port.
    pub(crate) fn url(&self, forward: Forward) -> String {
        let scheme = if self.secure.contains(&forward.listener) { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", forward.local)
    }
}

/// The bound sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    bound: watch::Sender<Vec<Vec<Forward>>>,
    /// Signaled when no set is free.
    wanted: Notify,
}

/// The listeners of a forwarded port at each node, and the port.
pub(crate) type Bound = (Vec<TcpListener>, Forward);

impl Balancer {
    /// The listener ports that are forwarded.
    pub(super) fn forwarded_ports(&self) -> Vec<u16> {
        self.sets.bound.borrow().first().into_iter().flatten().map(|forward| forward.listener).collect()
    }

    /// The local port that leads to a listener port in a set.
    pub(super) fn forwarded(&self, set: usize, listener: u16) -> Option<u16> {
        let bound = self.sets.bound.borrow();
        bound.get(set)?.iter().find(|forward| forward.listener == listener).map(|forward| forward.local)
    }

    /// Serves a set of forwarded ports until the daemon stops.
    pub(crate) fn add_set(self: &Arc<Self>, ports: Vec<Bound>) {
        let set = self.sets.bound.borrow().len();
        let mut forwards = Vec::new();
        for (nodes, forward) in ports {
            forwards.push(forward);
            for (node, listener) in nodes.into_iter().enumerate() {
                let place = Place { node, set, listener: forward.listener };
                tokio::spawn(serve(listener, place, Arc::clone(self)));
            }
        }
        self.sets.bound.send_modify(|sets| sets.push(forwards));
        self.reassign();
    }

    /// Asks for another set if every set has a load balancer.
    pub(super) fn want_a_spare(&self, owners: &Owners) {
        if self.sets.bound.borrow().len() <= taken(owners) {
            self.sets.wanted.notify_one();
        }
    }

    /// Keeps one set free for the next load balancer, until the task is dropped.
    pub(crate) async fn keep_a_spare(self: Arc<Self>, nodes: Vec<Ipv4Addr>) {
        loop {
            self.sets.wanted.notified().await;
            while self.sets.bound.borrow().len() <= taken(&self.known().owners) {
                match self.bind_set(&nodes).await {
                    Ok(ports) => self.add_set(ports),
                    Err(error) => {
                        tracing::warn!("cannot forward ports to another load balancer: {error}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn bind_set(&self, nodes: &[Ipv4Addr]) -> Result<Vec<Bound>> {
        let mut ports = Vec::new();
        for listener in self.forwarded_ports() {
            ports.push(bind(Forward { local: 0, listener }, nodes).await?);
        }
        Ok(ports)
    }

    /// All sets, in their order. Waits until one of them is free.
    pub(crate) async fn forwards(&self) -> Vec<ForwardSet> {
        let mut changes = self.sets.bound.subscribe();
        loop {
            let sets = {
                let (known, bound) = (self.known(), changes.borrow_and_update());
                let one = |(set, forwards): (usize, &Vec<Forward>)| {
                    let owner = known.owners.get(set).and_then(Option::as_deref);
                    ForwardSet {
                        balancer: owner.and_then(|owner| known.name(owner)),
                        forwards: forwards.clone(),
                        secure: owner.map(|owner| known.secure(owner)).unwrap_or_default(),
                    }
                };
                bound.iter().enumerate().map(one).collect::<Vec<_>>()
            };
            let spare = sets.iter().any(|set| set.balancer.is_none());
            // The sender lives as long as this.
            if spare || changes.changed().await.is_err() {
                return sets;
            }
        }
    }
}

/// The number of sets up to the last one that has a load balancer, or more if none of those is free.
fn taken(owners: &Owners) -> usize {
    owners.iter().position(Option::is_none).unwrap_or(owners.len())
}
