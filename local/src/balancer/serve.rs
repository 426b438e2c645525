//! The forwarded ports: local ports for the listeners of the load balancer, whose DNS name does not resolve here.

use super::activity::Activity;
use super::forwards::Place;
use super::wire::Wire;
use super::{Balancer, proxy};
use crate::error::{Error, Result};
use crate::instance::Forward;
use crate::process::port_owner;
use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// More than the largest request head that an ALB accepts, so that `screen` refuses what is too large.
const HEAD_LIMIT: usize = 128 * 1024;
/// More headers than fit into a head of 64 KiB in practice.
const HEADERS: usize = 512;
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html#http2>
const STREAMS: u32 = 128;
/// What a stream of HTTP/2 holds of a response that the client does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// The first byte of a TLS connection.
const HANDSHAKE: u8 = 0x16;
/// Time limit for the end of a connection.
const CLOSE: Duration = Duration::from_secs(1);

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) balancer: Arc<Balancer>,
    pub(super) place: Place,
    pub(super) client: SocketAddr,
    /// None without TLS.
    pub(super) tls: Option<TlsFacts>,
    pub(super) http2: bool,
    pub(super) activity: Arc<Activity>,
    pub(super) since: Instant,
    requests: AtomicU32,
    /// Signaled when the connection ends with the requests in progress.
    pub(super) closing: Notify,
}

/// What client and load balancer agreed on.
#[derive(Debug)]
pub(super) struct TlsFacts {
    pub(super) version: String,
    pub(super) cipher_suite: String,
}

impl TlsFacts {
    /// In the form of OpenSSL, as far as rustls tells.
    fn of(stream: &TlsStream<TcpStream>) -> Self {
        let (_, connection) = stream.get_ref();
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        Self { version: version.to_owned(), cipher_suite: openssl(&suite.unwrap_or_default()) }
    }
}

/// The name of a cipher suite in OpenSSL.
fn openssl(suite: &str) -> String {
    let Some(old) = suite.strip_prefix("TLS_") else { return suite.replace("TLS13_", "TLS_") };
    let old = old.replace("_WITH_", "-").replace("AES_128", "AES128").replace("AES_256", "AES256");
    let old = old.strip_suffix("_POLY1305_SHA256").map_or(old.clone(), |begin| format!("{begin}_POLY1305"));
    old.replace('_', "-")
}

impl Link {
    /// Counts a request. Returns its number.
    pub(super) fn count(&self) -> u32 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Binds the local port of a forward at the address of every node. The first node decides the port.
pub(crate) async fn bind(forward: Forward, nodes: &[Ipv4Addr]) -> Result<(Vec<TcpListener>, Forward)> {
    let (mut listeners, mut bound) = (Vec::new(), forward);
    for node in nodes.iter().copied() {
        let taken = |error: &std::io::Error| {
            let owner = port_owner(bound.local).map(|owner| format!(" by {owner}")).unwrap_or_default();
            Error::new(format!("port {node}:{} is in use{owner}: {error}", bound.local)).hint(format!(
                "stop that process, or select another port: local-cloud up --forward PORT:{}",
                bound.listener
            ))
        };
        let listener = TcpListener::bind((node, bound.local)).await.map_err(|error| taken(&error))?;
        bound.local = listener.local_addr().map_err(|error| taken(&error))?.port();
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

/// Serves one forwarded port at one node until the task is dropped.
pub(super) async fn serve(listener: TcpListener, place: Place, balancer: Arc<Balancer>) {
    let port = place.listener;
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // No free file descriptors, or a closed connection: neither is a reason to stop serving.
                tracing::warn!("cannot accept a connection for listener {port}: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // Without this, a response in two writes waits for the delayed acknowledgment of the client.
        let _ = stream.set_nodelay(true);
        let balancer = Arc::clone(&balancer);
        tokio::spawn(async move {
            if let Err(why) = connection(stream, client, place, balancer).await {
                tracing::debug!("a connection to listener {port} ended: {why}");
            }
        });
    }
}

/// Serves one connection. TLS is recognized by its first byte, because listeners come, go, and change.
async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    place: Place,
    balancer: Arc<Balancer>,
) -> Result<(), String> {
    let limit = balancer.idle_timeout(place);
    let mut first = [0];
    let peeked = tokio::time::timeout(limit, stream.peek(&mut first)).await;
    let peeked = peeked.map_err(|_| "no byte in time")?.map_err(|error| error.to_string())?;
    let link = |tls, http2| Link {
        balancer: Arc::clone(&balancer),
        place,
        client,
        tls,
        http2,
        activity: Activity::new(limit, http2),
        since: Instant::now(),
        requests: AtomicU32::new(0),
        closing: Notify::new(),
    };
    if peeked == 0 {
        return Ok(());
    }
    if first[0] != HANDSHAKE || !balancer.routes(place.node).any_tls(place.listener) {
        return http1(stream, link(None, false)).await;
    }
    let stream = tokio::time::timeout(limit, secure(stream, place, &balancer)).await;
    let stream = stream.map_err(|_| "no TLS handshake in time")??;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let link = link(Some(TlsFacts::of(&stream)), http2);
    if http2 { self::http2(stream, link).await } else { http1(stream, link).await }
}

async fn secure(stream: TcpStream, place: Place, balancer: &Balancer) -> Result<TlsStream<TcpStream>, String> {
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let start = acceptor.await.map_err(|error| error.to_string())?;
    let config = {
        let hello = start.client_hello();
        let routes = balancer.routes(place.node);
        let listener = routes.listener(place.set, place.listener, hello.server_name());
        let secure = listener.and_then(|listener| Some((listener, listener.tls.as_ref()?)));
        let (listener, tls) = secure.ok_or("no HTTPS listener has this name")?;
        balancer.servers.config(listener, tls, hello.server_name()).map_err(|error| error.to_string())?
    };
    start.into_stream(config).await.map_err(|error| error.to_string())
}

async fn http1<S>(stream: S, link: Link) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::clone(&link.activity);
    let link = Arc::new(link);
    let service = service_fn(move |request| {
        let link = Arc::clone(&link);
        async move { Ok::<_, Infallible>(proxy::answer(&link, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The idle timeout of the connection is the time limit of a head.
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_LIMIT).max_headers(HEADERS);
    let io = TokioIo::new(Wire::new(stream, Arc::clone(&activity)));
    let mut served = builder.serve_connection(io, service).with_upgrades();
    tokio::select! {
        ended = &mut served => return ended.map_err(|error| error.to_string()),
        () = activity.idle() => {}
    }
    // A client that has sent a part of a request gets an answer:
    // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-408-issues
    if activity.is_in_head()
        && let Some(parts) = served.into_parts()
    {
        let mut wire = parts.io.into_inner();
        let refused = tokio::time::timeout(CLOSE * 2, wire.refuse(StatusCode::REQUEST_TIMEOUT));
        refused.await.map_err(|_| "the client does not read")?.map_err(|error| error.to_string())?;
    }
    Err("it was idle for too long".to_owned())
}

async fn http2<S>(stream: S, link: Link) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let link = Arc::new(link);
    let service = {
        let link = Arc::clone(&link);
        service_fn(move |request| {
            let link = Arc::clone(&link);
            async move { Ok::<_, Infallible>(proxy::answer(&link, request).await) }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_send_buf_size(SEND_BUFFER);
    builder.max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX));
    let served = builder.serve_connection(TokioIo::new(Wire::new(stream, Arc::clone(&link.activity))), service);
    tokio::pin!(served);
    loop {
        tokio::select! {
            ended = &mut served => return ended.map_err(|error| error.to_string()),
            () = link.closing.notified() => served.as_mut().graceful_shutdown(),
            () = link.activity.idle() => {
                served.as_mut().graceful_shutdown();
                // The client learns of the end with a frame.
                let _ = tokio::time::timeout(CLOSE, &mut served).await;
                return Err("it was idle for too long".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 9, 9)];

    #[tokio::test]
    async fn every_node_has_the_same_port_at_its_own_address() {
        let (listeners, forward) = bind(Forward { local: 0, listener: 80 }, &NODES).await.unwrap();
        assert_ne!(forward.local, 0);
        let bound: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(bound, NODES.map(|node| (node, forward.local).into()));
    }

    #[tokio::test]
    async fn a_taken_port_is_reported_with_its_owner() {
        let (_held, forward) = bind(Forward { local: 0, listener: 80 }, &NODES).await.unwrap();
        let error = bind(forward, &NODES).await.unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{} is in use by", forward.local)), "{error}");
        assert!(error.contains("--forward PORT:80"), "{error}");
    }

    #[test]
    fn cipher_suites_have_the_names_of_openssl() {
        for (suite, expected) in [
            ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl(suite), expected);
        }
    }
}
