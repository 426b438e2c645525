//! Health checks with the settings of the target group: one request to the address of the task.

use super::network;
use crate::task_fault::TaskFaults;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The health check of a target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// The name of the target group, for messages.
    pub(crate) target_group: String,
    pub(crate) port: u16,
    /// The path of an HTTP check; a check without one only connects.
    pub(crate) path: Option<String>,
    pub(crate) matcher: Matcher,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Consecutive successes that make an unhealthy target healthy.
    pub(crate) healthy_threshold: u32,
    /// Consecutive failures that make a target unhealthy.
    pub(crate) unhealthy_threshold: u32,
}

/// The status codes that count as healthy: `200`, `200,202`, `200-299`.
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

    fn matches(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status.as_u16()))
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
            Some(path) => format!("GET http://{address}:{}{path}", self.port),
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
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(&error))?;
        let request = Request::get(path.as_str())
            .header(http::header::HOST, target.to_string())
            .header(http::header::USER_AGENT, "ELB-HealthChecker/2.0")
            .header(http::header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| silent(&error))?;
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        // The connection is polled only while its response is awaited. It can end together with the response.
        let response = tokio::select! {
            response = &mut answer => response,
            _ = connection => answer.await,
        }
        .map_err(|error| silent(&error))?;
        if self.matcher.matches(response.status()) { Ok(()) } else { Err(Sick::Answered(response.status().as_u16())) }
    }
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
            let status = StatusCode::from_u16(status).unwrap();
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
