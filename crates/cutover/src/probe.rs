//! Probes of prod on an open-model schedule: probe i is due at start + i × interval, whatever the result of earlier
//! probes, and its latency counts from that instant. A probe that is not sent on time is counted, never hidden. Must
//! not know listeners or what a failed probe leads to.

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

/// A probe that is sent later than this after it was due counts as late.
pub const LATE: Duration = Duration::from_millis(10);
/// Time between two resolutions of the site's name. A load balancer that gains or loses a zone changes what its name
/// resolves to, within a minute.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// Number of bytes of an answer that are read. A longer answer counts as complete.
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

/// The result of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// When the head of the answer arrived.
    pub first_byte: Option<Instant>,
    /// The status code.
    pub status: Option<u16>,
    /// The version header.
    pub version: Option<String>,
    /// Bytes of the body that were read.
    pub bytes: u64,
    /// Why there is no complete answer, with a description.
    pub failure: Option<(Failure, String)>,
}

/// Sends single requests to one site.
pub trait Client: Send + Sync + 'static {
    /// The addresses that the site's name last resolved to; never empty.
    fn addresses(&self) -> Arc<[SocketAddr]>;

    /// Resolves the site's name again. New addresses are added, missing ones are removed, and the others keep their
    /// connections. An error changes nothing.
    fn refresh(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Waits until a probe is due. The timers of Tokio end up to two milliseconds late, which is too much for a client
    /// whose answers are faster.
    fn until(&self, due: Instant) -> impl Future<Output = ()> + Send {
        sleep_until(due)
    }

    /// Sends one request to one of the addresses. Has no timeout.
    fn send(&self, address: SocketAddr, connection: Connection) -> impl Future<Output = Reply> + Send;
}

/// Creates clients for sites.
pub trait Clients: Send + Sync + 'static {
    /// A client of one site.
    type Client: Client;

    /// Resolves the site's name and creates a client. Returns a description if that is not possible.
    fn open(
        &self,
        site: Site,
        path: &str,
        version_header: Option<&str>,
    ) -> impl Future<Output = Result<Self::Client, String>> + Send;
}
