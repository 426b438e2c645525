//! The dashboard: a page on loopback that shows the two environments, a cutover as it happens, and the ones before.
//!
//! One poller reads what `bluegreen status` reads and feeds every viewer; HTML is made here, the page's script only
//! puts it in its place. Nothing is loaded from anywhere else, and nothing is served to anyone but this machine's user.

mod actions;
mod frame;
mod guard;
mod poller;
mod requests;
mod server;
mod view;

pub use poller::{NewRun, Source, Steer};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::error::{Doing, Result};
use crate::report::Place;

use frame::Frame;
use guard::Guard;
use poller::Poller;

/// Commands that may wait for the poller: more than one person clicks at once.
const COMMANDS: usize = 16;

/// A dashboard that is bound to its port and not yet running.
pub struct Dashboard<S> {
    address: SocketAddr,
    url: String,
    poller: Poller<S>,
    server: actix_web::dev::Server,
}

impl<S: Source> Dashboard<S> {
    /// Binds a dashboard of `source` to a loopback port; 0 takes a free one.
    pub fn bind(source: S, place: Place, port: u16) -> Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port));
        let listener = listener
            .doing(|| format!("listen on port {port}"))
            .map_err(|error| error.hint("omit --port to use a free port"))?;
        let address = listener.local_addr().doing(|| "read the port of the dashboard".to_owned())?;
        let guard = Guard::new(address.port());
        let url = format!("http://{address}/?token={}", guard.token());
        let (frames, seen) = watch::channel(Frame::empty());
        let (commands, received) = mpsc::channel(COMMANDS);
        let server = server::start(listener, server::Shared { guard, frames: Arc::new(seen), commands })?;
        Ok(Self { address, url, poller: Poller::new(source, place, frames, received), server })
    }

    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to open. It contains the session token, which permits a cutover.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until the future is dropped.
    pub async fn run(self) -> Result<()> {
        tokio::select! {
            ended = self.server => ended.doing(|| "serve the dashboard".to_owned()),
            () = self.poller.run() => Ok(()),
        }
    }
}
