//! The HTTP clients of this program: one over the socket of MiniStack, which the registry reader, the gateway, and the
//! balancer share, and one for pages on this machine.

use crate::error::{Context, Result, chain};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;
use std::path::Path;
use std::time::Duration;

/// The body of a request or response.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// An HTTP/1.1 client of a Unix socket, with a connection pool.
pub(crate) type HttpClient = Client<UnixConnector, Body>;
/// An HTTP/1.1 client with a connection pool and without TLS: all its servers are on this machine.
pub(crate) type PageClient = Client<HttpConnector, Body>;

/// The host of requests to MiniStack that come from this program.
const HOST: HeaderValue = HeaderValue::from_static("localhost");

/// The server of MiniStack closes a connection after 5 idle seconds. The pool drops it earlier, so that no request is
/// sent on a connection that is being closed.
const IDLE: Duration = Duration::from_secs(2);

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    builder
}

/// A client with its own connection pool, for URLs that begin with the [`base`] of a socket.
pub(crate) fn client() -> HttpClient {
    builder().build(UnixConnector)
}

/// A client of pages with its own connection pool.
pub(crate) fn page_client() -> PageClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    builder().build(connector)
}

/// The URL of a server on a Unix socket, without a path.
pub(crate) fn base(socket: &Path) -> String {
    let url: http::Uri = hyperlocal::Uri::new(socket, "/").into();
    url.to_string().trim_end_matches('/').to_owned()
}

/// A body without content.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of these bytes.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A GET without a body.
pub(crate) async fn get<C>(client: &Client<C, Body>, url: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut request = Request::get(url);
    if url.starts_with("unix:") {
        request = request.header(header::HOST, HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(empty()).context(|| format!("cannot create a request for {url}"))?;
    client
        .request(request)
        .await
        .map_err(|error| crate::error::Error::new(format!("no answer from {url}: {}", chain(&error))))
}
