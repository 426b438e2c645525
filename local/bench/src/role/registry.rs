//! A proxy of a registry that forwards every request and counts the bytes of the bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra::error::{Doing as _, Result};
use tokio::net::TcpListener;

/// The counters.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A proxy of a registry. It serves as long as the runtime runs.
#[derive(Debug)]
pub struct CountingProxy {
    url: String,
    counts: Arc<Counts>,
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl CountingProxy {
    /// Starts a proxy of the registry at this URL.
    pub async fn start(registry: &str) -> Result<Self> {
        let what = || "start the proxy of the registry".to_owned();
        let authority = registry.trim_start_matches("http://").trim_end_matches('/');
        let authority: Authority = authority.parse().doing(what)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.doing(what)?;
        let url = format!("http://{}", listener.local_addr().doing(what)?);
        let counts = Arc::<Counts>::default();
        let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (client, authority, counts) = (client.clone(), authority.clone(), Arc::clone(&counting));
                let service =
                    service_fn(move |request| pass(client.clone(), authority.clone(), Arc::clone(&counts), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { url, counts })
    }

    /// The address of the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of requests since the last call, and the bytes of their bodies.
    pub fn take(&self) -> (u64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "an image has some megabytes")]
        let bytes = self.counts.bytes.swap(0, Ordering::Relaxed) as f64;
        (self.counts.requests.swap(0, Ordering::Relaxed), bytes)
    }
}

type Passed = std::result::Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>>;

/// Forwards a request. The host header of the client stays unchanged.
async fn pass(client: HttpClient, to: Authority, counts: Arc<Counts>, request: Request<Incoming>) -> Passed {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    counts.requests.fetch_add(1, Ordering::Relaxed);
    counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    let mut uri = parts.uri.into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = Some(to);
    parts.uri = Uri::from_parts(uri)?;
    Ok(client.request(Request::from_parts(parts, Full::new(body))).await?)
}
