//! Probes of prod on an open-model schedule: probe i is due at start + i × interval, whatever became of the ones
//! before it, and its latency counts from that instant. What could not be sent on time is counted, never hidden.
//! Must not know listeners or what a failed probe leads to.

mod follow;
mod http;
mod pacer;
mod session;
mod tally;

pub use follow::{Expect, Follow, Versions};
pub use http::{HttpClients, HttpOptions};
pub use session::{Control, LiveTally, Progress, Session, Spec};
pub use tally::Tally;
pub(crate) use tally::is_plausible;

use model::Color;
use model::record::{Connection, Failure};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A probe sent later than this after it was due counts as late.
pub const LATE: Duration = Duration::from_millis(10);
/// Time between two looks at what the site's name resolves to. A load balancer that grows or loses a zone tells so by its
/// name, within a minute.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read; one that is longer is as good as complete there.
pub const LONGEST_BODY: u64 = 1 << 20;

/// What is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The prod listener.
    Prod,
    /// The dev listener, as people reach it.
    Dev,
    /// An environment, through the dev listener's header rule.
    Environment(Color),
}

/// What became of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// When the answer's head was there.
    pub first_byte: Option<Instant>,
    /// The status code.
    pub status: Option<u16>,
    /// The version header.
    pub version: Option<String>,
    /// Bytes of the body that were read.
    pub bytes: u64,
    /// Why there is no complete answer, and in words.
    pub failure: Option<(Failure, String)>,
}

/// Sends single requests to one site.
pub trait Client: Send + Sync + 'static {
    /// The addresses that the site's name last resolved to; never empty.
    fn addresses(&self) -> Arc<[SocketAddr]>;

    /// Resolves the site's name again. New addresses join, vanished ones leave, the others keep their connections. An error
    /// in words leaves everything as it was.
    fn refresh(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Waits until a probe is due. Tokio's timers end that up to two milliseconds late, which is too much for a client whose
    /// answers come faster.
    fn until(&self, due: Instant) -> impl Future<Output = ()> + Send {
        sleep_until(due)
    }

    /// Sends one request to one of the addresses. Has no timeout of its own.
    fn send(&self, address: SocketAddr, connection: Connection) -> impl Future<Output = Reply> + Send;
}

/// Makes clients for sites.
pub trait Clients: Send + Sync + 'static {
    /// A client of one site.
    type Client: Client;

    /// Resolves the site's name and makes a client; an error in words where that cannot be done.
    fn open(
        &self,
        site: Site,
        path: &str,
        version_header: Option<&str>,
    ) -> impl Future<Output = Result<Self::Client, String>> + Send;
}
