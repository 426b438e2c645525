//! Keep-alive connections to one target. A request that was not sent is sent again on another connection; a request
//! that can have arrived is never repeated.

use super::body::Passing;
use crate::engine::network;
use crate::engine::probe::{self, HttpVersion, Protocol};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Idle connections are closed before the server closes them; five seconds is a common default of servers.
const IDLE: Duration = Duration::from_secs(3);
/// The limit of idle connections, so that those of a burst are not all kept.
const KEPT: usize = 64;
/// The time limit of an ALB for a target to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The read-ahead of a body, and more than the response head that an ALB accepts.
const BUFFER: usize = 64 * 1024;
/// The time limit of an ALB for the TLS handshake with a target.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    protocol: Protocol,
    idle: Mutex<Vec<Idle>>,
    /// The connection of HTTP/2, which requests share. Locked while it is made.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Passing>>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Passing>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Self(Arc::new(Inner { address, protocol, idle: Mutex::default(), shared: tokio::sync::Mutex::default() }))
    }

    /// Closes the idle connections.
    pub(super) fn close(&self) {
        self.idle().clear();
        // If it is being made, somebody needs it.
        if let Ok(mut shared) = self.0.shared.try_lock() {
            // The exchanges on it go on.
            shared.take();
        }
    }

    /// Sends a request; the connection returns to the pool when the response body has ended.
    pub(super) async fn send(&self, request: Request<Passing>) -> Result<Response<Pooled>, Failure> {
        match self.0.protocol.version {
            HttpVersion::Http1 => self.send_alone(request).await,
            HttpVersion::Http2 | HttpVersion::Grpc => self.send_shared(request).await,
        }
    }

    async fn send_alone(&self, mut request: Request<Passing>) -> Result<Response<Pooled>, Failure> {
        loop {
            let (mut sender, reused) = match self.take().await {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    let body = Pooled { body, back: Some((self.clone(), sender)) };
                    return Ok(Response::from_parts(parts, body));
                }
                Err(mut error) => match error.take_message() {
                    // The connection was closed when it was taken from the pool; nothing was sent.
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(Failure::Broken(crate::error::chain(error.error()))),
                },
            }
        }
    }

    async fn send_shared(&self, mut request: Request<Passing>) -> Result<Response<Pooled>, Failure> {
        loop {
            let (mut sender, reused) = self.share().await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Pooled { body, back: None })),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(Failure::Broken(crate::error::chain(error.error()))),
                },
            }
        }
    }

    /// The shared connection, and whether it was there before.
    async fn share(&self) -> Result<(http2::SendRequest<Passing>, bool), Failure> {
        let mut shared = self.0.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), true));
        }
        let sender = self.connect_shared().await?;
        *shared = Some(sender.clone());
        Ok((sender, false))
    }

    async fn take(&self) -> Option<http1::SendRequest<Passing>> {
        loop {
            let idle = self.idle().pop()?;
            let mut sender = idle.sender;
            if idle.since.elapsed() < IDLE && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, Failure> {
        let Inner { address, protocol, .. } = *self.0;
        let broken = |error: std::io::Error| Failure::Broken(crate::error::chain(&error));
        let connecting = tokio::time::timeout(CONNECT, network::connect(address));
        let stream = connecting.await.map_err(|_| Failure::ConnectTimeout)?.map_err(broken)?;
        // Without this, a request in two writes waits for the delayed acknowledgment of the target.
        let _ = stream.set_nodelay(true);
        if !protocol.tls {
            return Ok(Box::new(stream));
        }
        let handshake = tokio::time::timeout(HANDSHAKE, probe::secure(stream, address, protocol.version));
        let late = |_| Failure::Broken("no TLS handshake in time".to_owned());
        Ok(Box::new(handshake.await.map_err(late)?.map_err(broken)?))
    }

    async fn connect(&self) -> Result<http1::SendRequest<Passing>, Failure> {
        let stream = TokioIo::new(self.stream().await?);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let connected = builder.handshake(stream).await;
        let (sender, connection) = connected.map_err(|error| Failure::Broken(crate::error::chain(&error)))?;
        let address = self.0.address;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!("a connection to {address} ended: {error}");
            }
        });
        Ok(sender)
    }

    async fn connect_shared(&self) -> Result<http2::SendRequest<Passing>, Failure> {
        let stream = TokioIo::new(self.stream().await?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let connected = builder.handshake(stream).await;
        let (sender, connection) = connected.map_err(|error| Failure::Broken(crate::error::chain(&error)))?;
        let address = self.0.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to {address} ended: {error}");
            }
        });
        Ok(sender)
    }

    fn give_back(&self, sender: http1::SendRequest<Passing>) {
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

/// A connection to a target, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A response body; at its end, the connection returns to the pool.
pub(super) struct Pooled {
    body: Incoming,
    back: Option<(Pool, http1::SendRequest<Passing>)>,
}

impl Pooled {
    /// Lets the connection return to the pool if there is no body, or never.
    pub(super) fn settle(&mut self, reusable: bool) {
        if !reusable {
            self.back = None;
        } else if self.body.is_end_stream() {
            self.give_back();
        }
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
