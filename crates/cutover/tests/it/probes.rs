//! The prober with a real HTTP server that answers by a script: slowly, incompletely, with bad statuses, or with the
//! wrong version. The tests use real time, so the bounds are wide.

use aws::connect_to::ConnectTo;
use cutover::probe::{Client, Clients, Control, HttpClients, HttpOptions, Session, Site, Spec, Tally};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::Color;
use model::record::{Connection, Failure, Phase};
use model::request::StatusSet;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

/// How a request is answered.
#[derive(Clone, Copy)]
enum Answer {
    Well(&'static str),
    Slowly(Duration),
    Status(u16),
    Reset,
    Never,
}

/// A server that answers request n by `script`.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    hosts: Arc<Mutex<BTreeSet<String>>>,
    environments: Arc<Mutex<BTreeSet<String>>>,
}

impl Server {
    async fn start(script: impl Fn(usize) -> Answer + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, connections: Arc::default(), hosts: Arc::default(), environments: Arc::default() };
        let (connections, hosts) = (Arc::clone(&server.connections), Arc::clone(&server.hosts));
        let environments = Arc::clone(&server.environments);
        let requests = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, requests) = (script.clone(), Arc::clone(&requests));
                let (hosts, environments) = (Arc::clone(&hosts), Arc::clone(&environments));
                let service = service_fn(move |request: Request<Incoming>| {
                    let header = |name: &str| {
                        let value = request.headers().get(name)?;
                        Some(value.to_str().unwrap().to_owned())
                    };
                    hosts.lock().unwrap().extend(header("host"));
                    environments.lock().unwrap().extend(header("x-bluegreen-env"));
                    answer(script(requests.fetch_add(1, Ordering::SeqCst)))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    async fn client(&self, url: &str, site: Site) -> impl Client {
        aws::install_tls();
        let options = HttpOptions {
            prod_url: url.to_owned(),
            dev_url: url.to_owned(),
            connect_to: format!("::127.0.0.1:{}", self.address.port()).parse().unwrap(),
            roots: Vec::new(),
        };
        HttpClients::new(options).open(site, "/", Some("x-app-version")).await.unwrap()
    }

    async fn probe(&self, spec: Spec) -> Tally {
        let client = self.client("http://alb.example", Site::Prod).await;
        let session = Session::start(client, spec, verifying());
        finished(&session).await;
        session.end().await
    }
}

async fn answer(answer: Answer) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let mut version = "2";
    let mut status = 200;
    match answer {
        Answer::Well(reported) => version = reported,
        Answer::Slowly(time) => sleep(time).await,
        Answer::Status(reported) => status = reported,
        Answer::Reset => return Err(std::io::Error::other("reset")),
        Answer::Never => sleep(Duration::from_mins(10)).await,
    }
    let response = Response::builder().status(status).header("x-app-version", version);
    Ok(response.body(Full::from("hello")).unwrap())
}

fn spec(count: u32) -> Spec {
    Spec {
        count,
        verify_at_least: 0,
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        baseline: 0,
        max_in_flight: 64,
        ok: StatusSet::default(),
        expected: Some("2".to_owned()),
        origin: Instant::now(),
    }
}

fn verifying() -> Control {
    Control { phase: Phase::Verify, verifying: true, counting: true, ..Control::default() }
}

async fn finished(session: &Session) {
    let mut progress = session.progress();
    let waiting = progress.wait_for(|progress| progress.complete);
    timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_answer_never_delays_the_next_probe() {
    let server =
        Server::start(
            |request| {
                if request == 3 { Answer::Slowly(Duration::from_millis(300)) } else { Answer::Well("2") }
            },
        )
        .await;
    let tally = server.probe(spec(20)).await;
    assert_eq!((tally.counts().due, tally.counts().failed), (20, 0));
    let mut samples = tally.samples().to_vec();
    samples.sort_by_key(|sample| sample.sequence);
    for pair in samples.windows(2) {
        assert_eq!(pair[1].scheduled_us - pair[0].scheduled_us, 20_000);
    }
    // Its whole latency counts, and the probes that were sent in the meantime ended before it.
    let slow = samples.iter().max_by_key(|sample| sample.done_us - sample.scheduled_us).unwrap();
    assert!(slow.done_us - slow.scheduled_us >= 300_000);
    let overtook = samples.iter().filter(|sample| sample.sequence > slow.sequence && sample.done_us < slow.done_us);
    assert!(overtook.count() >= 5);
    assert!(tally.report(None).after.max.unwrap() >= 300.0);
}

#[tokio::test]
async fn bad_answers_are_distinguished() {
    let server = Server::start(|request| match request {
        0 => Answer::Status(503),
        1 => Answer::Reset,
        2 => Answer::Never,
        3 => Answer::Well("1"),
        4 => Answer::Status(302),
        _ => Answer::Well("2"),
    })
    .await;
    let tally = server.probe(spec(12)).await;
    let mut failures: Vec<_> = tally.samples().iter().filter_map(|sample| sample.failure).collect();
    failures.sort_by_key(|failure| format!("{failure:?}"));
    let expected = [Failure::Broken, Failure::Status, Failure::Status, Failure::Timeout, Failure::Version];
    assert_eq!(failures, expected, "{:#?}", tally.samples());
    assert_eq!(tally.counts().ok, 7);
}

#[tokio::test]
async fn no_server_is_no_connection() {
    let server = Server::start(|_| Answer::Well("2")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let gone = Server { address: free, ..server };
    let tally = gone.probe(spec(4)).await;
    let connects = tally.samples().iter().filter(|sample| sample.failure == Some(Failure::Connect));
    assert_eq!(connects.count(), 4, "{:#?}", tally.samples());
}

#[tokio::test]
async fn kept_alive_and_fresh_connections_alternate() {
    let server = Server::start(|_| Answer::Well("2")).await;
    let tally = server.probe(spec(20)).await;
    let fresh = tally.samples().iter().filter(|sample| sample.connection == Connection::Fresh);
    assert_eq!(fresh.count(), 10);
    // One connection is kept, each of the ten others is new.
    assert_eq!(server.connections.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn the_host_header_is_the_urls_own() {
    let server = Server::start(|_| Answer::Well("2")).await;
    for url in ["http://alb.example", "http://alb.example:81", "http://192.0.2.7:81"] {
        let client = server.client(url, Site::Environment(Color::Blue)).await;
        let reply = client.send(client.addresses()[0], Connection::Fresh).await;
        assert_eq!((reply.status, reply.bytes), (Some(200), 5), "{reply:?}");
    }
    let hosts = server.hosts.lock().unwrap();
    let expected = ["192.0.2.7:81", "alb.example", "alb.example:81"].map(str::to_owned);
    assert_eq!(*hosts, BTreeSet::from(expected));
    let environments = server.environments.lock().unwrap();
    assert_eq!(*environments, BTreeSet::from(["blue".to_owned()]));
}

#[tokio::test]
async fn what_finds_no_place_is_a_failure_not_a_secret() {
    let server = Server::start(|_| Answer::Never).await;
    let tally = server.probe(Spec { max_in_flight: 2, ..spec(10) }).await;
    let counts = tally.counts();
    assert_eq!((counts.due, counts.sent, counts.failed), (10, 2, 10));
    let not_sent = tally.samples().iter().filter(|sample| sample.failure == Some(Failure::NotSent));
    assert_eq!(not_sent.count(), 8);
}

#[tokio::test]
async fn either_version_is_fine_until_it_verifies() {
    let server = Server::start(|_| Answer::Well("1")).await;
    let client = server.client("http://alb.example", Site::Prod).await;
    let settling = Control { phase: Phase::Settle, verifying: false, ..verifying() };
    let session = Session::start(client, spec(10), settling);
    let mut progress = session.progress();
    progress.wait_for(|progress| progress.counts.due >= 12).await.unwrap();
    assert_eq!(progress.borrow().counts.failed, 0);
    session.steer(verifying());
    finished(&session).await;
    let tally = session.end().await;
    assert!(tally.samples().iter().all(|sample| sample.failure.is_none() || sample.phase == Phase::Verify));
}

#[tokio::test]
async fn a_series_that_has_ended_continues_when_told_to() {
    let server = Server::start(|_| Answer::Well("2")).await;
    let client = server.client("http://alb.example", Site::Prod).await;
    let session = Session::start(client, spec(3), verifying());
    finished(&session).await;
    let going_back = Control { phase: Phase::RollBack, verifying: false, ..verifying() };
    session.steer(going_back);
    let mut progress = session.progress();
    progress.wait_for(|progress| progress.counts.due >= 6).await.unwrap();
    let tally = session.end().await;
    assert!(tally.samples().iter().any(|sample| sample.phase == Phase::RollBack));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said() {
    aws::install_tls();
    let options = HttpOptions {
        prod_url: "http://nowhere.invalid".to_owned(),
        dev_url: "http://nowhere.invalid".to_owned(),
        connect_to: ConnectTo::default(),
        roots: Vec::new(),
    };
    let opened = HttpClients::new(options).open(Site::Prod, "/", Some("x-app-version")).await;
    let problem = opened.err().unwrap();
    assert!(problem.contains("nowhere.invalid does not resolve"), "{problem}");
}

#[tokio::test]
async fn every_host_that_a_site_is_reached_at_is_an_address_of_it() {
    aws::install_tls();
    let options = HttpOptions {
        prod_url: "http://alb.example".to_owned(),
        dev_url: "http://alb.example:81".to_owned(),
        connect_to: ":80:127.0.0.2|127.0.0.1|127.0.0.2:8080".parse().unwrap(),
        roots: Vec::new(),
    };
    let client = HttpClients::new(options).open(Site::Prod, "/", None).await.unwrap();
    assert_eq!(*client.addresses(), ["127.0.0.1:8080", "127.0.0.2:8080"].map(|address| address.parse().unwrap()));
}
