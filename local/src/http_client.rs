//! The HTTP client that the registry reader, the gateway, and the balancer share.

use crate::error::{Context, Result, chain};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// The body of a request or response.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// An HTTP/1.1 client with a connection pool and without TLS: all its servers are on this machine.
pub(crate) type HttpClient = Client<HttpConnector, Body>;

/// The server of MiniStack closes a connection after 5 idle seconds. The pool drops it earlier, so that no request is
/// sent on a connection that is being closed.
const IDLE: Duration = Duration::from_secs(2);

/// A client with its own connection pool.
pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector)
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
pub(crate) async fn get(client: &HttpClient, url: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>> {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(empty()).context(|| format!("cannot create a request for {url}"))?;
    client
        .request(request)
        .await
        .map_err(|error| crate::error::Error::new(format!("no answer from {url}: {}", chain(&error))))
}
