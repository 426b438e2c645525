//! Sends probes over HTTP and HTTPS with reqwest. There is one client per address and kind of connection, so that every
//! address is probed and a new connection is really new. Must not know schedules or verdicts.

use super::{Client, Clients, LONGEST_BODY, Reply, Site};
use aws::connect_to::ConnectTo;
use model::names::ENVIRONMENT_HEADER;
use model::record::{Connection, Failure};
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Url};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for the names of a site to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where sites are.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// URL of the prod listener.
    pub prod_url: String,
    /// URL of the dev listener.
    pub dev_url: String,
    /// Where to reach a host and port.
    pub connect_to: ConnectTo,
    /// Certificates that are trusted in addition to those of the system, if a URL is https (`AWS_CA_BUNDLE`).
    pub roots: Vec<CertificateDer<'static>>,
}

/// Creates HTTP clients.
#[derive(Debug, Clone)]
pub struct HttpClients {
    options: HttpOptions,
    /// All trusted certificates, read when they are first needed.
    trusted: Arc<OnceLock<Vec<Certificate>>>,
}

/// Sends HTTP requests to one site.
#[derive(Debug)]
pub struct HttpClient {
    hosts: Vec<String>,
    port: u16,
    connectors: ConnectorFactory,
    headers: HeaderMap,
    version_header: Option<HeaderName>,
    reached: Mutex<Reached>,
}

/// Where requests go.
#[derive(Debug, Default)]
struct Reached {
    addresses: Arc<[SocketAddr]>,
    /// For each address, the client that keeps its connections and the one that does not. Clients of removed addresses
    /// stay, for requests that are about to be sent.
    targets: BTreeMap<SocketAddr, [Target; 2]>,
}

#[derive(Debug, Clone)]
struct Target {
    client: reqwest::Client,
    url: Url,
}

/// Creates the clients of each address.
#[derive(Debug)]
struct ConnectorFactory {
    url: Url,
    trusted: Vec<Certificate>,
}

impl HttpClients {
    /// Clients for these sites.
    pub fn new(options: HttpOptions) -> Self {
        Self { options, trusted: Arc::default() }
    }

    /// The certificates of the system and of the options. Empty for a URL that needs none, because reading them takes
    /// time.
    fn trusted(&self, url: &Url) -> Vec<Certificate> {
        if url.scheme() != "https" {
            return Vec::new();
        }
        let read = || {
            let system = rustls_native_certs::load_native_certs();
            for error in &system.errors {
                tracing::warn!(%error, "certificates of the system cannot be read");
            }
            let all = system.certs.iter().chain(&self.options.roots);
            all.filter_map(|certificate| Certificate::from_der(certificate).ok()).collect()
        };
        self.trusted.get_or_init(read).clone()
    }
}

impl Clients for HttpClients {
    type Client = HttpClient;

    async fn open(&self, site: Site, path: &str, version_header: Option<&str>) -> Result<HttpClient, String> {
        let base = match site {
            Site::Prod => &self.options.prod_url,
            Site::Dev | Site::Environment(_) => &self.options.dev_url,
        };
        let url = Url::parse(base)
            .and_then(|base| base.join(path))
            .map_err(|error| format!("{base}{path} is not a URL: {error}"))?;
        let target = self.options.connect_to.apply(&url).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, header_value(&target.authority)?);
        if let Site::Environment(color) = site {
            headers.insert(ENVIRONMENT_HEADER, HeaderValue::from_static(color.as_str()));
        }
        let client = HttpClient {
            hosts: target.hosts,
            port: target.port,
            connectors: ConnectorFactory { trusted: self.trusted(&url), url },
            headers,
            version_header: version_header
                .map(|name| HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name")))
                .transpose()?,
            reached: Mutex::default(),
        };
        client.refresh().await?;
        Ok(client)
    }
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| format!("{text:?} is not a header value"))
}

/// The addresses of all hosts.
async fn resolve(hosts: &[String], port: u16) -> Result<Vec<SocketAddr>, String> {
    let deadline = Instant::now() + RESOLVE_TIMEOUT;
    let mut addresses = Vec::new();
    for host in hosts {
        let lookup = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host.as_str(), port))).await;
        let found = lookup
            .map_err(|_| format!("{host} does not resolve within {} s", RESOLVE_TIMEOUT.as_secs()))?
            .map_err(|error| format!("{host} does not resolve: {error}"))?;
        let before = addresses.len();
        addresses.extend(found);
        if addresses.len() == before {
            return Err(format!("{host} resolves to no address"));
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

impl ConnectorFactory {
    /// A client of one address. The URL keeps its host name if it has one, for TLS. Its port is that of the address.
    fn make(&self, address: SocketAddr, keep: bool) -> Result<Target, String> {
        let problem = |cause: &dyn std::fmt::Display| format!("cannot make a client of {}: {cause}", self.url);
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .pool_idle_timeout(None)
            .tls_certs_only(self.trusted.iter().cloned())
            .user_agent(concat!("bluegreen-cutover/", env!("CARGO_PKG_VERSION")));
        if !keep {
            builder = builder.pool_max_idle_per_host(0);
        }
        let mut url = self.url.clone();
        match url.domain().map(str::to_owned) {
            Some(name) => builder = builder.resolve(&name, address),
            None => url.set_ip_host(address.ip()).map_err(|()| problem(&"it takes no address"))?,
        }
        url.set_port(Some(address.port())).map_err(|()| problem(&"it takes no port"))?;
        let client = builder.build().map_err(|error| problem(&error))?;
        Ok(Target { client, url })
    }
}

impl HttpClient {
    fn reached<T>(&self, at: impl FnOnce(&mut Reached) -> T) -> T {
        // No code panics while it holds the lock.
        at(&mut self.reached.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Client for HttpClient {
    fn addresses(&self) -> Arc<[SocketAddr]> {
        self.reached(|reached| Arc::clone(&reached.addresses))
    }

    async fn refresh(&self) -> Result<(), String> {
        let found = resolve(&self.hosts, self.port).await?;
        let known = |address: &SocketAddr| self.reached(|reached| reached.targets.contains_key(address));
        let mut made = Vec::new();
        for address in found.iter().filter(|address| !known(address)) {
            made.push((*address, [self.connectors.make(*address, true)?, self.connectors.make(*address, false)?]));
        }
        self.reached(|reached| {
            reached.targets.extend(made);
            if *reached.addresses != *found {
                reached.addresses = found.into();
            }
        });
        Ok(())
    }

    async fn until(&self, due: Instant) {
        super::pacer::until(due).await;
    }

    async fn send(&self, address: SocketAddr, connection: Connection) -> Reply {
        let mut reply = Reply::default();
        // The session takes the address from `addresses`, and each of those has its clients.
        let Some([kept_alive, fresh]) = self.reached(|reached| reached.targets.get(&address).cloned()) else {
            reply.failure = Some((Failure::NotSent, "there is no such address".to_owned()));
            return reply;
        };
        let target = match connection {
            Connection::KeptAlive => kept_alive,
            Connection::Fresh => fresh,
        };
        let request = target.client.get(target.url).headers(self.headers.clone());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                reply.failure = Some(describe(&error));
                return reply;
            }
        };
        reply.first_byte = Some(Instant::now());
        reply.status = Some(response.status().as_u16());
        let version = self.version_header.as_ref().and_then(|name| response.headers().get(name));
        reply.version = version.map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(100).collect());
        while reply.bytes < LONGEST_BODY {
            match response.chunk().await {
                Ok(Some(chunk)) => reply.bytes += chunk.len() as u64,
                Ok(None) => break,
                Err(error) => {
                    reply.failure = Some(describe(&error));
                    break;
                }
            }
        }
        reply
    }
}

/// The innermost cause is the most specific one: "Connection refused" instead of "error sending request".
fn describe(error: &reqwest::Error) -> (Failure, String) {
    let failure = if error.is_connect() { Failure::Connect } else { Failure::Broken };
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    (failure, text)
}
