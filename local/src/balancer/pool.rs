//! Keep-alive connections to one target. A request that was not sent is sent again on another connection; a request
//! that can have arrived is never repeated.

use crate::engine::network;
use crate::http_client::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Idle connections are closed before the server closes them; five seconds is a common default of servers.
const IDLE: Duration = Duration::from_secs(3);
/// The limit of idle connections, so that those of a burst are not all kept.
const KEPT: usize = 64;
/// The time limit of an ALB for a target to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The size limit of a response head, as of an ALB, and of the read-ahead of a body.
const BUFFER: usize = 64 * 1024;

/// Why a target sent no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// It did not accept a connection in time.
    ConnectTimeout,
    /// It refused or closed the connection, or sent an invalid HTTP response.
    Broken(String),
}

/// The idle connections of one target.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(Arc::new(Inner { address, idle: Mutex::default() }))
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    /// Sends a request; the connection returns to the pool when the response body has ended.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Pooled>, Failure> {
        loop {
            let (mut sender, reused) = match self.take().await {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let body = Pooled { body, back: Some((self.clone(), sender)) };
                    return Ok(Response::from_parts(parts, body.ended_already()));
                }
                Err(mut error) => match error.take_message() {
                    // The connection was closed when it was taken from the pool; nothing was sent.
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(Failure::Broken(crate::error::chain(error.error()))),
                },
            }
        }
    }

    async fn take(&self) -> Option<SendRequest<Body>> {
        loop {
            let idle = self.idle().pop()?;
            let mut sender = idle.sender;
            if idle.since.elapsed() < IDLE && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Failure> {
        let broken = |error: &dyn std::error::Error| Failure::Broken(crate::error::chain(error));
        let connecting = tokio::time::timeout(CONNECT, network::connect(self.0.address));
        let stream = connecting.await.map_err(|_| Failure::ConnectTimeout)?.map_err(|error| broken(&error))?;
        // Without this, a request in two writes waits for the delayed acknowledgment of the target.
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let address = self.0.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to {address} ended: {error}");
            }
        });
        Ok(sender)
    }

    fn give_back(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle();
        // The oldest are at the front. The newest is taken first, so that unused connections expire.
        let old = idle.iter().take_while(|idle| idle.since.elapsed() >= IDLE).count();
        idle.drain(..old);
        if !sender.is_closed() && idle.len() < KEPT {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response body; at its end, the connection returns to the pool.
pub(super) struct Pooled {
    body: Incoming,
    back: Option<(Pool, SendRequest<Body>)>,
}

impl Pooled {
    fn ended_already(mut self) -> Self {
        if self.body.is_end_stream() {
            self.give_back();
        }
        self
    }

    fn give_back(&mut self) {
        if let Some((pool, sender)) = self.back.take() {
            pool.give_back(sender);
        }
    }
}

impl hyper::body::Body for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.give_back(),
            Poll::Ready(Some(Err(_))) => self.back = None,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
