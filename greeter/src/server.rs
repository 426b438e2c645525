//! Listens and serves; on a signal, finishes the requests in progress and stops. Must not know the routes of the app.

use std::any::Any;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::HttpServer;
use actix_web::rt::{self, signal::unix, time};
use futures_util::future::{Either, select};

use crate::app::RequestCount;
use crate::{Version, app};

/// Longer than the idle timeout of a load balancer (60 s), so that it never reuses a connection that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time limit for a client to send a request head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for a client to read the end of a closing connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Less than the 30 s that Fargate waits between SIGTERM and SIGKILL.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Interval between checks whether the last connection has closed. Actix checks once per second.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// The maximum number of workers. A task with a quarter of a CPU sees one core; more than two workers only cost memory.
const MAX_WORKERS: usize = 2;

/// Why the server did not start, or stopped without a signal.
#[derive(Debug)]
pub enum ServeError {
    /// The server cannot listen on the address.
    Listen(SocketAddr, io::Error),
    /// The signal handlers cannot be installed.
    Signals(io::Error),
    /// The server stopped without a signal.
    Server(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                let hint = match error.kind() {
                    io::ErrorKind::AddrInUse => "stop the program that uses the port, or choose another with PORT",
                    io::ErrorKind::PermissionDenied => "choose a port from 1024 up with PORT",
                    _ => "choose an address of this machine with HOST",
                };
                write!(f, "cannot listen on {address}: {error}\nhint: {hint}")
            }
            Self::Signals(error) => write!(f, "cannot listen for SIGTERM and SIGINT: {error}"),
            Self::Server(error) => write!(f, "the server stopped unasked: {error}"),
        }
    }
}

/// Serves until SIGTERM or SIGINT, then until the requests in progress are finished, at most 25 s.
pub fn serve(version: &'static Version, address: SocketAddr) -> Result<(), ServeError> {
    rt::System::new().block_on(serve_until_signal(version, address))
}

async fn serve_until_signal(version: &'static Version, address: SocketAddr) -> Result<(), ServeError> {
    let stop = stop_signal().map_err(ServeError::Signals)?;
    let connections = Connections::default();
    let counted = connections.clone();
    let server = HttpServer::new(move || app(version))
        .workers(thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(DRAIN_TIMEOUT.as_secs())
        .on_connect(move |connection, extensions| {
            extensions.insert(counted.open());
            extensions.insert(RequestCount::new(duplicate(connection)));
        })
        .disable_signals()
        .bind(address)
        .map_err(|error| ServeError::Listen(address, error))?;
    for bound in server.addrs() {
        log(&format!("greeter {} listening on http://{bound}", version.number));
    }

    let server = server.run();
    let handle = server.handle();
    let server = match select(std::pin::pin!(stop), server).await {
        Either::Left(((), server)) => server,
        Either::Right((Err(error), _)) => return Err(ServeError::Server(error)),
        Either::Right((Ok(()), _)) => {
            return Err(ServeError::Server(io::Error::other("no reason given")));
        }
    };
    // From here on, no connection is accepted, and each open connection closes after its pending response.
    let stopped = handle.stop(true);
    let drained = std::pin::pin!(connections.closed(DRAIN_TIMEOUT));
    let _ = select(drained, server).await;
    drop(stopped);
    let left = match connections.count() {
        0 => String::new(),
        left => format!(", cutting {left} connections that were still busy after {} s", DRAIN_TIMEOUT.as_secs()),
    };
    log(&format!("greeter {} stopped{left}", version.number));
    Ok(())
}

/// Another handle to a connection, to close it; `None` if this process has no free descriptor.
fn duplicate(connection: &dyn Any) -> Option<TcpStream> {
    let connection = connection.downcast_ref::<rt::net::TcpStream>()?;
    connection.as_fd().try_clone_to_owned().ok().map(TcpStream::from)
}

/// Completes at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    Ok(async move {
        let _ = select(std::pin::pin!(terminate.recv()), std::pin::pin!(interrupt.recv())).await;
    })
}

/// Prints a line to standard output. If standard output is closed, the server continues.
fn log(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Counts the open connections of all workers.
#[derive(Clone, Default)]
struct Connections(Arc<AtomicUsize>);

/// A connection in the count; removed when this is dropped.
struct OpenConnection(Arc<AtomicUsize>);

impl Connections {
    fn open(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    async fn closed(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.count() > 0 && Instant::now() < deadline {
            time::sleep(DRAIN_POLL).await;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
