//! Targets of a load balancer: servers in this process that tell what they get, each on a loopback address of its own.

use aws_sdk_elasticloadbalancingv2::types as elb;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The path of the gRPC health check.
pub const GRPC_CHECK: &str = "/shop.Health/Check";
/// The bytes of `/big`.
pub const BIG: usize = 100 * 1024 * 1024;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
    /// HTTP/1.1 over TLS, with a certificate that nobody issued.
    Tls,
}

/// A server.
pub struct Backend {
    address: &'static str,
    port: u16,
    /// The connections that it accepted.
    pub connections: Arc<AtomicU32>,
    /// The requests that wait.
    pub waiting: Arc<AtomicU32>,
}

impl Backend {
    pub async fn start(name: &'static str, address: &'static str, speaks: Speaks) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let backend = Self { address, port, connections: Arc::default(), waiting: Arc::default() };
        let (connections, waiting) = (Arc::clone(&backend.connections), Arc::clone(&backend.waiting));
        let tls = (speaks == Speaks::Tls).then(acceptor);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, waiting) = (tls.clone(), Arc::clone(&waiting));
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, name, speaks, waiting).await;
                            }
                        }
                        None => serve(stream, name, speaks, waiting).await,
                    }
                });
            }
        });
        backend
    }

    pub fn target(&self) -> elb::TargetDescription {
        elb::TargetDescription::builder().id(self.address).port(self.port.into()).build()
    }
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["nobody.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.into()], key);
    Arc::new(config.unwrap()).into()
}

async fn serve<S>(stream: S, name: &'static str, speaks: Speaks, waiting: Arc<AtomicU32>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let waiting = Arc::clone(&waiting);
        async move { Ok::<_, Infallible>(answer(name, request, &waiting).await) }
    });
    let io = TokioIo::new(stream);
    // Clients hang up as they like.
    if speaks == Speaks::Http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let mut server = hyper::server::conn::http1::Builder::new();
        server.max_headers(600);
        let _ = server.serve_connection(io, service).with_upgrades().await;
    }
}

fn text(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

/// A body of these parts, with a pause before each.
fn parts(parts: Vec<(Duration, Frame<Bytes>)>) -> Body {
    let parts = stream::iter(parts).then(|(pause, part)| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(part)
    });
    StreamBody::new(parts).boxed_unsync()
}

async fn answer(name: &str, request: Request<Incoming>, waiting: &AtomicU32) -> Response<Body> {
    let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/wait" => {
            waiting.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
        "/silent" => {
            Response::new(parts(vec![(Duration::ZERO, data("first\n")), (Duration::from_mins(10), data("never\n"))]))
        }
        "/events" => {
            let pause = |number| if number == 0 { Duration::ZERO } else { Duration::from_millis(300) };
            let events = (0..10).map(|number| (pause(number), data("data: x\n\n"))).collect();
            let mut response = Response::new(parts(events));
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        }
        "/big" => {
            let block = Bytes::from(vec![b'x'; 64 * 1024]);
            let frame = move |_| Ok::<_, Infallible>(Frame::data(block.clone()));
            let blocks = stream::iter((0..BIG / (64 * 1024)).map(frame));
            Response::new(StreamBody::new(blocks).boxed_unsync())
        }
        "/login" => {
            let mut response = Response::new(text(name.to_owned()));
            response.headers_mut().insert("set-cookie", "session=4711; Path=/; HttpOnly".parse().unwrap());
            response
        }
        "/large-head" => {
            let mut response = Response::new(text(name.to_owned()));
            for _ in 0..40 {
                response.headers_mut().append("x-large", "y".repeat(1000).parse().unwrap());
            }
            response
        }
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "17".parse().unwrap());
            let mut response =
                Response::new(parts(vec![(Duration::ZERO, data("body")), (Duration::ZERO, Frame::trailers(trailers))]));
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
        "/socket" => socket(name.to_owned(), request),
        GRPC_CHECK | "/shop.Echo/Say" => {
            let said = request.into_body().collect().await.unwrap().to_bytes();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-name", name.parse().unwrap());
            let frames = vec![(Duration::ZERO, Frame::data(said)), (Duration::ZERO, Frame::trailers(trailers))];
            let mut response = Response::new(parts(frames));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            response
        }
        _ => told(name, request).await,
    }
}

/// Tells the request: name, length of the body, line, and headers.
async fn told(name: &str, request: Request<Incoming>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        // The load balancer can abort the upload.
        let Ok(frame) = frame else { return Response::new(text(String::new())) };
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    let mut told = format!("{name} {length}\n{} {} {:?}\n", head.method, head.uri, head.version);
    for (key, value) in &head.headers {
        told += &format!("{key}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    Response::new(text(told))
}

/// Accepts a WebSocket that tells the name of the server and then repeats what it gets.
fn socket(name: String, mut request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        let mut response = Response::new(text(format!("{:?}", request.headers())));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return response;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        if socket.send(name.into()).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.next().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(text(String::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().unwrap());
    response
}
