//! Port forwarders: local ports that reach the load balancer's listeners, whose DNS name resolves nowhere here.
//!
//! The forwarder knows ports, connections and HTTP hygiene. Where a request goes is the upstream's business: today
//! MiniStack's data plane; one that follows listeners, rules and targets by itself can take its place.

mod balancer;
mod flights;
mod upstream;

pub(crate) use flights::Flights;
pub(crate) use upstream::MiniStackUpstream;

use crate::error::{Error, Result};
use crate::http_client::Body;
use crate::instance::Forward;
use crate::process::port_owner;
use bytes::Bytes;
use flights::Guarded;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Binds a forward's local port on the loopback.
pub(crate) async fn bind(forward: Forward) -> Result<(TcpListener, Forward)> {
    let taken = |error: &std::io::Error| {
        let owner = port_owner(forward.local).map(|owner| format!(" by {owner}")).unwrap_or_default();
        Error::new(format!("port 127.0.0.1:{} is taken{owner}: {error}", forward.local)).hint(format!(
            "end what uses it, or choose another port: local-cloud up --forward PORT:{}",
            forward.listener
        ))
    };
    let listener = TcpListener::bind(("127.0.0.1", forward.local)).await.map_err(|error| taken(&error))?;
    let local = listener.local_addr().map_err(|error| taken(&error))?.port();
    Ok((listener, Forward { local, ..forward }))
}

/// Serves one forward until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, port: u16, upstream: Arc<MiniStackUpstream>, flights: Flights) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a connection that is already gone: neither is a reason to stop serving.
                tracing::warn!("cannot accept a connection for listener {port}: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
        };
        // Without it a response in two writes waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (upstream, flights) = (Arc::clone(&upstream), flights.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| pass(request, port, &upstream, &flights));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to listener {port} ended: {error}");
            }
        });
    }
}

async fn pass(
    mut request: Request<Incoming>,
    port: u16,
    upstream: &MiniStackUpstream,
    flights: &Flights,
) -> Result<Response<Body>, Infallible> {
    let flight = flights.enter();
    remove_hop_by_hop(request.headers_mut());
    let response = match upstream.send(port, request).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            remove_hop_by_hop(&mut parts.headers);
            Response::from_parts(parts, Guarded::new(body, flight).boxed_unsync())
        }
        Err(refusal) => page(refusal.status, &refusal.text),
    };
    Ok(response)
}

fn page(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Headers that concern one connection only, and those that `Connection` names (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("x-bluegreen-env", "blue"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-bluegreen-env"]);
    }

    #[tokio::test]
    async fn a_taken_port_is_reported_with_its_owner() {
        let (_held, forward) = bind(Forward { local: 0, listener: 80 }).await.unwrap();
        assert_ne!(forward.local, 0);
        let error = bind(forward).await.unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{} is taken by", forward.local)), "{error}");
        assert!(error.contains("--forward PORT:80"), "{error}");
    }
}
