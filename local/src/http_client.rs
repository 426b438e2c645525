//! The plain HTTP client that the registry reader, the gateway and the balancer share.

use crate::error::{Context, Result, chain};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// The body of a request or response, whatever it is made of.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// A pooling HTTP/1.1 client without TLS: everything it talks to is on this machine.
pub(crate) type HttpClient = Client<HttpConnector, Body>;

/// MiniStack's server closes a connection that was idle for 5 s. Ours are dropped well before, so that no
/// request is sent on a connection that is just being closed.
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

/// A body that is all there.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A GET without a body.
pub(crate) async fn get(client: &HttpClient, url: &str, headers: &[(&str, &str)]) -> Result<Response<Incoming>> {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(empty()).context(|| format!("cannot ask for {url}"))?;
    client
        .request(request)
        .await
        .map_err(|error| crate::error::Error::new(format!("no answer from {url}: {}", chain(&error))))
}
