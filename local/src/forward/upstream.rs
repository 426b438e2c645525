//! MiniStack's data plane as the upstream: its endpoint, told apart by the Host header.

use super::balancer::Balancer;
use crate::aws::Cloud;
use crate::error::chain;
use crate::http_client::{self, Body, HttpClient};
use crate::instance::Forward;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sends requests to the load balancer that MiniStack emulates.
#[derive(Debug)]
pub(crate) struct MiniStackUpstream {
    authority: String,
    client: HttpClient,
    balancers: BTreeMap<u16, Arc<Balancer>>,
}

/// Why there is no response, as the client shall see it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl MiniStackUpstream {
    /// An upstream for the listeners of these forwards.
    pub(crate) fn new(endpoint_port: u16, cloud: &Cloud, forwards: &[Forward]) -> Self {
        let balancer = |forward: &Forward| (forward.listener, Arc::new(Balancer::new(cloud.clone(), forward.listener)));
        Self {
            authority: format!("127.0.0.1:{endpoint_port}"),
            client: http_client::client(),
            balancers: forwards.iter().map(balancer).collect(),
        }
    }

    /// The DNS name of the load balancer behind a listener port, if there is one.
    pub(crate) async fn balancer(&self, port: u16) -> Option<String> {
        self.balancers.get(&port)?.name().await
    }

    /// Sends one request to the listener on `port`.
    pub(super) async fn send(&self, port: u16, request: Request<Incoming>) -> Result<Response<Incoming>, Refusal> {
        let Some(name) = self.balancer(port).await else {
            return Err(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                text: format!(
                    "No load balancer has a listener on port {port}: nothing is deployed yet.\n\
                     Deploy it: make deploy-stack CLOUD=local"
                ),
            });
        };
        let (parts, body) = request.into_parts();
        let bodyless = body.is_end_stream();
        let invalid = |error: &dyn std::error::Error| Refusal {
            status: StatusCode::BAD_REQUEST,
            text: format!("The request cannot be passed on: {}", chain(error)),
        };
        let build = |body: Body| self.rewrite(&parts, &format!("{name}:{port}"), body).map_err(|error| invalid(&error));
        if !bodyless {
            return self.client.request(build(body.boxed_unsync())?).await.map_err(|error| unreachable(&error));
        }
        match self.client.request(build(http_client::empty())?).await {
            Ok(response) => Ok(response),
            // The connection broke before there was an answer. Nothing is lost by asking again where asking
            // twice means the same as asking once.
            Err(error) if parts.method.is_idempotent() => {
                tracing::debug!("asking again after {}", chain(&error));
                self.client.request(build(http_client::empty())?).await.map_err(|error| unreachable(&error))
            }
            Err(error) => Err(unreachable(&error)),
        }
    }

    fn rewrite(&self, parts: &Parts, host: &str, body: Body) -> Result<Request<Body>, http::Error> {
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let uri = Uri::builder().scheme("http").authority(self.authority.as_str()).path_and_query(path).build()?;
        let mut request = Request::builder().method(parts.method.clone()).uri(uri).body(body)?;
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(host)?);
        Ok(request)
    }
}

fn unreachable(error: &hyper_util::client::legacy::Error) -> Refusal {
    Refusal {
        status: StatusCode::BAD_GATEWAY,
        text: format!("The local cloud's load balancer did not answer: {}\nSee: local-cloud status", chain(error)),
    }
}
