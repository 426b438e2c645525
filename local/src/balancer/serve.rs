//! The forwarded ports: local ports for the listeners of the load balancer, whose DNS name does not resolve here.

use super::forwards::Place;
use super::{Balancer, proxy};
use crate::error::{Error, Result};
use crate::instance::Forward;
use crate::process::port_owner;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The largest request head that an ALB accepts.
const HEAD_LIMIT: usize = 64 * 1024;
/// Time limit for a client to send a request head, also on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

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
            Ok((stream, address)) => (stream, address.ip()),
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
            let service = service_fn(|request| async {
                Ok::<_, Infallible>(proxy::answer(&balancer, place, client, request).await)
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to listener {port} ended: {error}");
            }
        });
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
}
