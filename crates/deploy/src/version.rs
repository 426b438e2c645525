//! The version with which an environment responds, requested through the load balancer as users and testers do. If it
//! cannot be reached from here, that is reported and is not a failure.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws::ca_bundle;
use aws::connect_to::ConnectTo;
use cutover::probe::{Client as _, Clients as _, HttpClients, HttpOptions, Reply, Site};
use futures_util::future::join_all;
use model::record::Connection;

use super::poll::Poll;
use crate::cloud::Cloud;
use crate::error::{Error, OtherVersion, Result};
use aws::Calling as _;
use stack::Settings;
use stack::outputs::Outputs;

/// How long another version may still answer: a load balancer follows within seconds, at all its addresses.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(20);

/// How long one request may take, and how long a load balancer that cannot be reached is tried.
const REACHED_WITHIN: Duration = Duration::from_secs(3);

/// The stack's load balancer, as it is reached from here.
pub struct Sites {
    clients: HttpClients,
    path: String,
    header: String,
    follows_within: Duration,
}

/// What an environment answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The expected version.
    Expected,
    /// No version: the service does not report one.
    Untold,
    /// Nothing that could be read from here, and why.
    Unknown(String),
}

/// The responses of all addresses of a load balancer at one moment.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Answer(Answer),
    /// Another version, at this address.
    Other(String, SocketAddr),
    /// The load balancer itself answered with this status: it has nobody to ask.
    Failing(u16),
}

impl Sites {
    /// The sites of a deployed stack.
    pub async fn of(cloud: &Cloud, outputs: &Outputs, settings: &Settings) -> Result<Self> {
        let (prod_url, dev_url) = (outputs.prod_url.clone(), outputs.dev_url.clone());
        // A custom domain may not point here yet; the name of the load balancer does.
        let connect_to = match &settings.https.domain {
            None => cloud.connect_to.clone(),
            Some(domain) => {
                let balancer = dns_name(cloud, &outputs.prod_listener).await?;
                let rules: Option<ConnectTo> = format!("{domain}::{balancer}:").parse().ok();
                cloud.connect_to.clone().or(rules.unwrap_or_default())
            }
        };
        let roots = ca_bundle().unwrap_or_default();
        Ok(Self {
            clients: HttpClients::new(HttpOptions { prod_url, dev_url, connect_to, roots }),
            path: settings.cutover.probe_path.to_string(),
            header: settings.app.version_header.to_string(),
            follows_within: FOLLOWS_WITHIN,
        })
    }

    /// Requests until the expected version responds. The error is another version that keeps responding.
    pub async fn require(&self, site: Site, expected: &str) -> Result<Answer> {
        let began = Instant::now();
        let mut poll = Poll::default();
        loop {
            let look = self.look(site, expected).await;
            let waited = began.elapsed();
            match look {
                Look::Answer(Answer::Unknown(_)) if waited < REACHED_WITHIN => {}
                Look::Answer(answer) => return Ok(answer),
                Look::Failing(status) if waited >= REACHED_WITHIN => {
                    return Ok(Answer::Unknown(format!("the response has status {status} and no version")));
                }
                Look::Other(found, address) if waited >= self.follows_within => {
                    let (expected, header) = (expected.to_owned(), self.header.clone());
                    let other = OtherVersion { found, expected, address, header, waited };
                    return Err(Error::OtherVersion(Box::new(other)));
                }
                Look::Failing(_) | Look::Other(..) => {}
            }
            poll.wait().await;
        }
    }

    /// Waits until every address responds with this version, or without one: the addresses of a load balancer follow a
    /// changed rule one after the other. Returns what still responds differently in the end, if anything does.
    pub async fn behind(&self, site: Site, expected: &str) -> Option<String> {
        let began = Instant::now();
        let mut poll = Poll::default();
        loop {
            let behind = match self.look(site, expected).await {
                Look::Answer(Answer::Unknown(why)) if began.elapsed() >= REACHED_WITHIN => return Some(why),
                Look::Answer(Answer::Unknown(why)) => why,
                Look::Answer(_) => return None,
                Look::Other(found, address) => format!("{address} responds with version {found}"),
                Look::Failing(status) => format!("the load balancer returns {status}"),
            };
            if began.elapsed() >= self.follows_within {
                return Some(behind);
            }
            poll.wait().await;
        }
    }

    async fn look(&self, site: Site, expected: &str) -> Look {
        let unknown = |why: String| Look::Answer(Answer::Unknown(why));
        let header = Some(self.header.as_str()).filter(|header| !header.is_empty());
        let opened = tokio::time::timeout(REACHED_WITHIN, self.clients.open(site, &self.path, header)).await;
        let client = match opened {
            Ok(Ok(client)) => client,
            Ok(Err(why)) => return unknown(why),
            Err(_) => return unknown("its name does not resolve".to_owned()),
        };
        let addresses = client.addresses();
        let ask = |address: SocketAddr| {
            let reply = tokio::time::timeout(REACHED_WITHIN, client.send(address, Connection::Fresh));
            async move { (address, reply.await.ok()) }
        };
        judge(&join_all(addresses.iter().copied().map(ask)).await, expected)
    }
}

/// What the answers of all addresses mean; one that gave none in time has no reply.
fn judge(replies: &[(SocketAddr, Option<Reply>)], expected: &str) -> Look {
    let answered = || replies.iter().filter_map(|(address, reply)| Some((address, reply.as_ref()?)));
    let reported = || answered().filter_map(|(address, reply)| Some((address, reply.version.as_deref()?)));
    if let Some((address, other)) = reported().find(|(_, version)| *version != expected) {
        return Look::Other(other.to_owned(), *address);
    }
    // One address that has nobody to ask is enough: users reach it too.
    let alone = |reply: &Reply| reply.status.filter(|status| *status >= 500 && reply.version.is_none());
    if let Some(status) = answered().find_map(|(_, reply)| alone(reply)) {
        return Look::Failing(status);
    }
    if reported().next().is_some() {
        return Look::Answer(Answer::Expected);
    }
    if answered().any(|(_, reply)| reply.status.is_some()) {
        return Look::Answer(Answer::Untold);
    }
    let failure = answered().find_map(|(_, reply)| reply.failure.as_ref());
    let why = failure.map_or_else(|| "no response in time".to_owned(), |(_, why)| why.clone());
    Look::Answer(Answer::Unknown(why))
}

/// The name of the load balancer that a listener belongs to.
async fn dns_name(cloud: &Cloud, listener: &str) -> Result<String> {
    // arn:…:listener/app/NAME/ID/LISTENER is of arn:…:loadbalancer/app/NAME/ID.
    let balancer = listener.rsplit_once('/').map_or(listener, |(balancer, _)| balancer);
    let balancer = balancer.replace(":listener/", ":loadbalancer/");
    let answer = cloud.elbv2.describe_load_balancers().load_balancer_arns(&balancer).send().await;
    let answer = answer.calling(|| "look up the name of the load balancer".to_owned())?;
    let name = answer.load_balancers().first().and_then(|balancer| balancer.dns_name());
    name.map(str::to_owned).ok_or(Error::NoBalancerName)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use model::Color;

    use super::*;

    /// A load balancer that answers with these heads in turn, the last one again and again; and what it was asked.
    fn balancer(heads: &'static [&'static str]) -> (Sites, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, asks) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (number, connection) in listener.incoming().map_while(Result::ok).enumerate() {
                let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
                let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let answer = heads[number.min(heads.len() - 1)];
                let _ = asked.send(head.join("\n"));
                let _ = write!(&connection, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        (sites(&url), asks)
    }

    fn sites(url: &str) -> Sites {
        aws::install_tls();
        let (prod_url, dev_url) = (url.to_owned(), url.to_owned());
        let options = HttpOptions { prod_url, dev_url, connect_to: ConnectTo::default(), roots: Vec::new() };
        Sites {
            clients: HttpClients::new(options),
            path: "/".to_owned(),
            header: "x-app-version".to_owned(),
            follows_within: Duration::from_millis(300),
        }
    }

    #[tokio::test]
    async fn the_load_balancer_may_take_a_moment_to_follow() {
        let (sites, asks) = balancer(&["503 Unavailable", "200 OK\r\nx-app-version: 1", "200 OK\r\nx-app-version: 2"]);
        assert_eq!(sites.require(Site::Environment(Color::Blue), "2").await.unwrap(), Answer::Expected);
        assert!(asks.recv().unwrap().contains("x-bluegreen-env: blue"));
    }

    #[tokio::test]
    async fn what_is_behind_is_waited_for_and_named() {
        let (sites, _asks) = balancer(&["503 Unavailable", "200 OK\r\nx-app-version: 1", "200 OK\r\nx-app-version: 2"]);
        assert_eq!(sites.behind(Site::Prod, "2").await, None);
        let (sites, _asks) = balancer(&["503 Unavailable"]);
        assert_eq!(sites.behind(Site::Prod, "2").await.unwrap(), "the load balancer returns 503");
    }

    #[test]
    fn one_address_without_anybody_to_ask_is_enough() {
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 80));
        let reply = |status, version: Option<&str>| {
            Some(Reply { status: Some(status), version: version.map(str::to_owned), ..Reply::default() })
        };
        let replies = [(address(1), reply(200, Some("2"))), (address(2), reply(503, None))];
        assert_eq!(judge(&replies, "2"), Look::Failing(503));
        assert_eq!(judge(&replies[..1], "2"), Look::Answer(Answer::Expected));
        // Any status of the service itself reports its version.
        assert_eq!(judge(&[(address(1), reply(500, Some("2")))], "2"), Look::Answer(Answer::Expected));
    }

    #[tokio::test]
    async fn a_version_that_keeps_answering_in_place_of_the_expected_one_is_an_error_that_says_where() {
        let (sites, _asks) = balancer(&["200 OK\r\nx-app-version: 1"]);
        let error = sites.require(Site::Prod, "2").await.unwrap_err();
        let Error::OtherVersion(other) = error else { panic!("{error:?}") };
        assert_eq!((other.found.as_str(), other.expected.as_str()), ("1", "2"));
        assert!(other.address.ip().is_loopback(), "{other:?}");
    }

    #[tokio::test]
    async fn a_service_that_tells_no_version_has_none_to_be_wrong() {
        let (sites, _asks) = balancer(&["404 Not Found"]);
        assert_eq!(sites.require(Site::Prod, "2").await.unwrap(), Answer::Untold);
    }

    #[tokio::test]
    async fn what_cannot_be_reached_from_here_is_not_known() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = sites(&format!("http://{closed}")).require(Site::Prod, "2").await.unwrap();
        assert!(matches!(answer, Answer::Unknown(why) if why.contains("refused")));
    }
}
