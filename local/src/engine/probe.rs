//! Health checks with the settings of the target group: one request to the address of the task.

use super::network;
use crate::balancer::tls_client;
use crate::task_fault::TaskFaults;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The header with the status of a gRPC call.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// A gRPC message without fields: not compressed, of length zero.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];
/// The most bytes of a response to a check that are read.
const RESPONSE_LIMIT: usize = 64 * 1024;

/// The versions of HTTP that a target group sends to its targets:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-protocol-version>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    #[default]
    Http1,
    Http2,
    Grpc,
}

/// The protocol between a load balancer and a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) tls: bool,
    pub(crate) version: HttpVersion,
}

impl Protocol {
    /// Reads the protocol (`HTTP` or `HTTPS`) and the protocol version of a target group.
    pub(crate) fn read(protocol: &str, version: Option<&str>) -> Self {
        let version = match version {
            Some("HTTP2") => HttpVersion::Http2,
            Some("GRPC") => HttpVersion::Grpc,
            _ => HttpVersion::Http1,
        };
        Self { tls: protocol == "HTTPS", version }
    }

    fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Makes a connection to a target secure. The certificate of a target is not verified.
pub(crate) async fn secure(
    stream: TcpStream,
    target: SocketAddr,
    version: HttpVersion,
) -> io::Result<TlsStream<TcpStream>> {
    let protocol: &[u8] = if version == HttpVersion::Http1 { b"http/1.1" } else { b"h2" };
    let config = tls_client(protocol).map_err(|error| io::Error::other(error.message().to_owned()))?;
    tokio_rustls::TlsConnector::from(config).connect(target.ip().into(), stream).await
}

/// The health check of a target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// The name of the target group, for messages.
    pub(crate) target_group: String,
    pub(crate) port: u16,
    /// The path of an HTTP check; a check without one only connects.
    pub(crate) path: Option<String>,
    pub(crate) protocol: Protocol,
    pub(crate) matcher: Matcher,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Consecutive successes that make an unhealthy target healthy.
    pub(crate) healthy_threshold: u32,
    /// Consecutive failures that make a target unhealthy.
    pub(crate) unhealthy_threshold: u32,
}

/// The status codes that count as healthy, of HTTP or of gRPC: `200`, `200,202`, `200-299`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matcher(Vec<(u16, u16)>);

impl Matcher {
    /// Reads the notation of ELB; invalid text counts as the default of ELB, 200.
    pub(crate) fn parse(text: &str) -> Self {
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        Self(ranges.unwrap_or_else(|| vec![(200, 200)]))
    }

    fn matches(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

/// Why a task is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sick {
    /// It answered with a status that the matcher does not accept.
    Answered(u16),
    /// It did not answer in time.
    Late(Duration),
    /// It refused the connection, closed it, or sent an invalid HTTP response.
    Silent(String),
}

impl fmt::Display for Sick {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(out, "answered {status}"),
            Self::Late(limit) => write!(out, "got no answer: nothing within {} s", limit.as_secs_f32()),
            Self::Silent(why) => write!(out, "got no answer: {why}"),
        }
    }
}

impl HealthCheck {
    /// Describes the check in messages: `GET http://127.64.0.3:8080/healthz`.
    pub(crate) fn describe(&self, address: Ipv4Addr) -> String {
        match &self.path {
            Some(path) => {
                let method = if self.protocol.version == HttpVersion::Grpc { "gRPC" } else { "GET" };
                format!("{method} {}://{address}:{}{path}", self.protocol.scheme(), self.port)
            }
            None => format!("connect to {address}:{}", self.port),
        }
    }

    /// Performs one check. A fault can replace a success.
    pub(crate) async fn probe(&self, address: Ipv4Addr, faults: &TaskFaults) -> Result<(), Sick> {
        self.probe_honestly(address).await?;
        faults.sick(address.into()).map_or(Ok(()), Err)
    }

    async fn probe_honestly(&self, address: Ipv4Addr) -> Result<(), Sick> {
        match tokio::time::timeout(self.timeout, self.ask(address)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Sick::Late(self.timeout)),
        }
    }

    async fn ask(&self, address: Ipv4Addr) -> Result<(), Sick> {
        let silent = |error: &dyn std::error::Error| Sick::Silent(crate::error::chain(error));
        let target = SocketAddr::from((address, self.port));
        let stream = network::connect(target).await.map_err(|error| silent(&error))?;
        let Some(path) = &self.path else { return Ok(()) };
        if self.protocol.tls {
            let stream = secure(stream, target, self.protocol.version).await.map_err(|error| silent(&error))?;
            self.ask_over(stream, target, path).await
        } else {
            self.ask_over(stream, target, path).await
        }
    }

    async fn ask_over<S>(&self, stream: S, target: SocketAddr, path: &str) -> Result<(), Sick>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let silent = |error: &dyn std::error::Error| Sick::Silent(crate::error::chain(error));
        let (method, uri) = match self.protocol.version {
            HttpVersion::Http1 => (http::Method::GET, path.to_owned()),
            HttpVersion::Http2 => (http::Method::GET, format!("{}://{target}{path}", self.protocol.scheme())),
            HttpVersion::Grpc => (http::Method::POST, format!("{}://{target}{path}", self.protocol.scheme())),
        };
        let mut request =
            Request::builder().method(method).uri(uri).header(header::USER_AGENT, "ELB-HealthChecker/2.0");
        let mut body = Bytes::new();
        match self.protocol.version {
            HttpVersion::Http1 => {
                request = request.header(header::HOST, target.to_string()).header(header::CONNECTION, "close");
            }
            HttpVersion::Http2 => {}
            HttpVersion::Grpc => {
                request = request.header(header::CONTENT_TYPE, "application/grpc").header(header::TE, "trailers");
                body = Bytes::from_static(EMPTY_MESSAGE);
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| silent(&error))?;
        if self.protocol.version == HttpVersion::Http1 {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(&error))?;
            self.judge(sender.send_request(request), connection).await
        } else {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (mut sender, connection) = handshake.await.map_err(|error| silent(&error))?;
            self.judge(sender.send_request(request), connection).await
        }
    }

    /// Waits for the response and judges it. The connection is polled only meanwhile, and can end together with it.
    async fn judge(
        &self,
        answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
        connection: impl Future<Output = hyper::Result<()>>,
    ) -> Result<(), Sick> {
        let status = async {
            let response = answer.await?;
            match self.protocol.version {
                HttpVersion::Grpc if response.status() == StatusCode::OK => grpc_status(response).await,
                _ => Ok(response.status().as_u16()),
            }
        };
        tokio::pin!(status);
        let status = tokio::select! {
            status = &mut status => status,
            _ = connection => status.await,
        };
        let status = status.map_err(|error| Sick::Silent(crate::error::chain(&error)))?;
        if self.matcher.matches(status) { Ok(()) } else { Err(Sick::Answered(status)) }
    }
}

/// The status of a gRPC call: a trailer, or a header if there is no message. 2 (unknown) if there is none.
async fn grpc_status(response: Response<Incoming>) -> hyper::Result<u16> {
    let status = |headers: &HeaderMap| {
        let value: Option<&HeaderValue> = headers.get(GRPC_STATUS);
        value.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
    };
    let (parts, mut body) = response.into_parts();
    let mut found = status(&parts.headers);
    let mut left = RESPONSE_LIMIT;
    while found.is_none() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            let Some(rest) = left.checked_sub(data.len()) else { break };
            left = rest;
        }
        found = frame.trailers_ref().and_then(status);
    }
    Ok(found.unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn check(port: u16) -> HealthCheck {
        HealthCheck {
            target_group: "web".into(),
            port,
            path: Some("/healthz".into()),
            protocol: Protocol::default(),
            matcher: Matcher::parse("200-299"),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        }
    }

    async fn server(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[test]
    fn matchers_are_codes_lists_and_ranges() {
        for (text, status, matches) in [
            ("200", 200, true),
            ("200", 204, false),
            ("200,204", 204, true),
            ("200-299", 250, true),
            ("200-299", 302, false),
            ("?", 200, true),
        ] {
            assert_eq!(Matcher::parse(text).matches(status), matches, "{text} {status}");
        }
    }

    #[tokio::test]
    async fn a_status_inside_the_matcher_is_healthy_and_another_one_is_named() {
        let port = server("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        assert_eq!(check(port).probe_honestly(Ipv4Addr::LOCALHOST).await, Ok(()));
        let port = server("HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(check(port).probe_honestly(Ipv4Addr::LOCALHOST).await, Err(Sick::Answered(500)));
    }

    #[tokio::test]
    async fn a_closed_port_is_silent() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(check(port).probe_honestly(Ipv4Addr::LOCALHOST).await, Err(Sick::Silent(_))));
    }
}
