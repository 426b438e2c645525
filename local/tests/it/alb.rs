//! The load balancer speaks HTTP/1.1 as an Application Load Balancer does: idle timeouts, what it refuses, `WebSockets`,
//! sticky sessions, and large bodies. Each test names the page that says what is right.

use crate::backend::{BIG, Backend, Speaks};
use crate::support::{Aws, Instance, eventually};
use aws_sdk_elasticloadbalancingv2::types as elb;
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const LIMIT: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(2);

/// An instance with a load balancer that follows changes at once, and a listener on port 80.
pub struct World {
    pub instance: Instance,
    pub aws: Aws,
    pub balancer: String,
    pub listener: String,
    pub group: String,
}

impl World {
    /// A group with these targets gets all requests.
    pub async fn new(backends: &[&Backend]) -> Self {
        // Another test of this process can have set it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let instance = Instance::new();
        instance.up_with(&["--forward", "0:443"]);
        let lag = instance.run(&["fault", "lag", "0"]);
        assert!(lag.status.success(), "{lag:?}");
        let aws = instance.aws();
        let created = aws.elb.create_load_balancer().name("alb").subnets("subnet-1").send().await.unwrap();
        let balancer = created.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
        let group = aws.target_group("first").await;
        let created = aws.elb.create_listener().load_balancer_arn(&balancer).protocol(elb::ProtocolEnum::Http).port(80);
        let created = created.default_actions(forward(&[(&group, 1)], None)).send().await.unwrap();
        let listener = created.listeners()[0].listener_arn().unwrap().to_owned();
        let world = Self { instance, aws, balancer, listener, group };
        world.register(&world.group, backends).await;
        world
    }

    pub async fn register(&self, group: &str, backends: &[&Backend]) {
        for backend in backends {
            let register = self.aws.elb.register_targets().target_group_arn(group).targets(backend.target());
            register.send().await.unwrap();
        }
        self.until_healthy(group, backends.len()).await;
    }

    /// Waits until a group has this number of targets, all of them healthy.
    pub async fn until_healthy(&self, group: &str, count: usize) {
        eventually("the targets are healthy", LIMIT, || async {
            let asked = self.aws.elb.describe_target_health().target_group_arn(group).send().await.unwrap();
            let states = asked.target_health_descriptions().iter().filter_map(|one| one.target_health()?.state());
            let states: Vec<_> = states.map(|state| state.as_str().to_owned()).collect();
            let healthy = states.len() == count && states.iter().all(|state| state == "healthy");
            if healthy { Ok(()) } else { Err(format!("{states:?}")) }
        })
        .await;
    }

    /// The address of the forwarded port of a listener.
    pub fn address(&self, listener: u16) -> String {
        let status = self.instance.status();
        let found = status["forwards"].as_array().unwrap().iter().find(|one| one["listener"] == listener).unwrap();
        found["url"].as_str().unwrap().split_once("://").unwrap().1.to_owned()
    }

    pub async fn set(&self, attributes: &[(&str, &str)]) {
        let attribute =
            |(key, value): &(&str, &str)| elb::LoadBalancerAttribute::builder().key(*key).value(*value).build();
        let modify = self.aws.elb.modify_load_balancer_attributes().load_balancer_arn(&self.balancer);
        modify.set_attributes(Some(attributes.iter().map(attribute).collect())).send().await.unwrap();
    }

    pub async fn set_of_group(&self, group: &str, attributes: &[(&str, &str)]) {
        let attribute =
            |(key, value): &(&str, &str)| elb::TargetGroupAttribute::builder().key(*key).value(*value).build();
        let modify = self.aws.elb.modify_target_group_attributes().target_group_arn(group);
        modify.set_attributes(Some(attributes.iter().map(attribute).collect())).send().await.unwrap();
    }

    pub async fn forward_to(&self, action: elb::Action) {
        self.aws.elb.modify_listener().listener_arn(&self.listener).default_actions(action).send().await.unwrap();
    }
}

/// A forward action with weights, and the duration for which a client stays in a group.
pub fn forward(groups: &[(&String, i32)], sticky: Option<i32>) -> elb::Action {
    let tuple = |(arn, weight): &(&String, i32)| {
        elb::TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build()
    };
    let mut config = elb::ForwardActionConfig::builder().set_target_groups(Some(groups.iter().map(tuple).collect()));
    if let Some(seconds) = sticky {
        let sticky = elb::TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(seconds);
        config = config.target_group_stickiness_config(sticky.build());
    }
    elb::Action::builder().r#type(elb::ActionTypeEnum::Forward).forward_config(config.build()).build()
}

/// A connection of a client that writes bytes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(address: &str) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and with a text. Returns what was read; the connection can end before.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                let mut byte = [0];
                match self.0.read(&mut byte).await {
                    Ok(1..) => read.push(byte[0]),
                    _ => break,
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    /// Reads a response with a length.
    async fn response(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert!(length.is_some(), "{head}");
        let length = length.unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        tokio::time::timeout(LIMIT, self.0.read_exact(&mut body)).await.unwrap().unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    /// Reads until the connection ends. Returns what was read, and after which time it ended.
    async fn rest(&mut self) -> (String, Duration) {
        let (began, mut read) = (Instant::now(), Vec::new());
        // A reset is an end too.
        let _ = tokio::time::timeout(LIMIT, self.0.read_to_end(&mut read)).await.unwrap();
        (String::from_utf8_lossy(&read).into_owned(), began.elapsed())
    }
}

/// Sends a request that closes its connection, and returns the response.
async fn ask(address: &str, request: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.rest().await.0
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#connection-idle-timeout>
/// and <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-408-issues>.
#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_an_exchange_and_bytes_in_either_direction_keep_it() {
    let backend = Backend::start("one", "127.1.1.1", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    world.set(&[("idle_timeout.timeout_seconds", "2")]).await;
    let address = world.address(80);

    let upload = async |bytes: u32, pause: Duration| {
        let mut raw = Raw::connect(&address).await;
        raw.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 6\r\n\r\n").await;
        for _ in 0..bytes {
            tokio::time::sleep(pause).await;
            raw.send("x").await;
        }
        let (response, took) = raw.rest().await;
        (status(&response).to_owned(), took)
    };
    let stream = async |path: &str| {
        let mut raw = Raw::connect(&address).await;
        raw.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        raw.rest().await
    };
    let idle = async || {
        let mut raw = Raw::connect(&address).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.response().await;
        raw.rest().await
    };
    let half = async || {
        let mut raw = Raw::connect(&address).await;
        raw.send("GET / HTTP/1.1\r\nhos").await;
        raw.rest().await
    };
    let (slow, stalled, events, silent, never, idle, half) = tokio::join!(
        upload(6, Duration::from_millis(700)),
        upload(1, Duration::ZERO),
        stream("/events"),
        stream("/silent"),
        stream("/wait"),
        idle(),
        half(),
    );
    assert_eq!(slow.0, "200", "more than four seconds in all, but never silent for two");
    assert_eq!(stalled.0, "408", "the client does not send the rest");
    assert_eq!(events.0.matches("data: x\n\n").count(), 10, "{}", events.0);
    assert_eq!(status(&never.0), "504", "the target does not answer");
    assert!(silent.0.contains("first\n") && !silent.0.ends_with("0\r\n\r\n"), "cut, not completed: {}", silent.0);
    assert!(idle.0.is_empty(), "an idle connection just ends: {}", idle.0);
    assert!(half.0.starts_with("HTTP/1.1 408 Request Timeout\r\nServer: awselb/2.0\r\n"), "{}", half.0);
    for (what, took) in
        [("stalled", stalled.1), ("silent", silent.1), ("never", never.1), ("idle", idle.1), ("half", half.1)]
    {
        assert!(took + Duration::from_millis(200) >= IDLE && took < IDLE * 5, "{what}: {took:?}");
    }
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#http-client-keep-alive-duration>
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_more_request_after_its_keep_alive_duration() {
    let backend = Backend::start("one", "127.1.1.2", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let address = world.address(80);
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut raw = Raw::connect(&address).await;
    raw.send(request).await;
    assert!(!raw.response().await.contains("connection: close"));
    world.set(&[("client_keep_alive.seconds", "1")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    raw.send(request).await;
    let (response, _) = raw.rest().await;
    assert!(response.contains("connection: close\r\n") && status(&response) == "200", "{response}");
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#load-balancer-http-error-codes>
/// and <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_requests_get_the_page_of_a_load_balancer() {
    let backend = Backend::start("one", "127.1.1.3", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let address = world.address(80);
    let end = "host: a\r\nconnection: close\r\n\r\n";
    let large = |name: &str, length: usize| format!("GET / HTTP/1.1\r\n{name}: {}\r\n{end}", "x".repeat(length));
    let many = format!("x: {}\r\n", "y".repeat(1000)).repeat(70);
    let addresses = vec!["10.0.0.1"; 31].join(", ");
    for (what, request, expected) in [
        ("no host", "GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), "400 Bad Request"),
        ("two hosts", format!("GET / HTTP/1.1\r\nhost: b\r\n{end}"), "400 Bad Request"),
        ("not HTTP", "hello\r\n\r\n".to_owned(), "400 Bad Request"),
        ("a space in a name", format!("GET / HTTP/1.1\r\nx y: z\r\n{end}"), "400 Bad Request"),
        ("a header of 17 K", large("x", 17_000), "400 Bad Request"),
        ("a header of 200 K", large("x", 200_000), "400 Bad Request"),
        ("headers of 70 K", format!("GET / HTTP/1.1\r\n{many}{end}"), "400 Bad Request"),
        ("a line of 17 K", format!("GET /{} HTTP/1.1\r\n{end}", "x".repeat(17_000)), "400 Bad Request"),
        ("a line of 70 K", format!("GET /{} HTTP/1.1\r\n{end}", "x".repeat(70_000)), "400 Bad Request"),
        (
            "two lengths",
            format!("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n{end}"),
            "400 Bad Request",
        ),
        ("600 headers", format!("GET / HTTP/1.1\r\n{}{end}", "x: y\r\n".repeat(600)), "400 Bad Request"),
        ("another coding", format!("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n{end}"), "400 Bad Request"),
        ("TRACE", format!("TRACE / HTTP/1.1\r\n{end}"), "405 Method Not Allowed"),
        ("31 addresses", format!("GET / HTTP/1.1\r\nx-forwarded-for: {addresses}\r\n{end}"), "463"),
        ("a large response head", format!("GET /large-head HTTP/1.1\r\n{end}"), "502 Bad Gateway"),
    ] {
        let response = ask(&address, &request).await;
        let (head, page) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {response:?}"));
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {}", expected.to_ascii_lowercase())), "{what}: {head}");
        assert!(head.contains("server: awselb/2.0") && head.contains("content-type: text/html"), "{what}: {head}");
        assert!(page.contains(&format!("<center><h1>{expected}</h1></center>")), "{what}: {page}");
    }
    for (what, request) in [
        ("a header of almost 16 K", large("x", 16_000)),
        ("30 addresses", format!("GET / HTTP/1.1\r\nx-forwarded-for: {}\r\n{end}", vec!["10.0.0.1"; 30].join(", "))),
        ("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n".to_owned()),
        ("300 headers", format!("GET / HTTP/1.1\r\n{}{end}", "x: y\r\n".repeat(300))),
    ] {
        assert_eq!(status(&ask(&address, &request).await), "200", "{what}");
    }
    // A bare response of a target is not mistaken for one of the load balancer.
    assert!(ask(&address, &format!("GET /socket HTTP/1.1\r\n{end}")).await.starts_with("HTTP/1.1 426 "));
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#desync-mitigation-mode>
/// and <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#load-balancer-attributes>.
#[tokio::test(flavor = "multi_thread")]
async fn risky_requests_and_headers_are_treated_as_the_attributes_say() {
    let backend = Backend::start("one", "127.1.1.4", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let address = world.address(80);
    let both =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let zero = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let twice =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    // The status, and whether the connection goes on.
    let outcome = async |request: &str| {
        let mut raw = Raw::connect(&address).await;
        raw.send(request).await;
        raw.send("GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let (response, _) = raw.rest().await;
        (status(&response).to_owned(), response.contains("GET /second"))
    };
    for (mode, expected) in [
        ("defensive", [("200", false), ("200", true), ("400", false)]),
        ("strictest", [("400", false), ("400", false), ("400", false)]),
        ("monitor", [("200", false), ("200", true), ("200", true)]),
    ] {
        world.set(&[("routing.http.desync_mitigation_mode", mode)]).await;
        for (request, (status, goes_on)) in [both, zero, twice].into_iter().zip(expected) {
            assert_eq!(outcome(request).await, (status.to_owned(), goes_on), "{mode}: {request}");
        }
    }
    let odd = "GET / HTTP/1.1\r\nhost: a\r\nx_odd: 1\r\nx-even: 2\r\nconnection: close\r\n\r\n";
    assert!(ask(&address, odd).await.contains("x_odd: 1\n"));
    world.set(&[("routing.http.drop_invalid_header_fields.enabled", "true")]).await;
    let told = ask(&address, odd).await;
    assert!(!told.contains("x_odd") && told.contains("x-even: 2\n"), "{told}");
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html> (`WebSockets`) and
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay>.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_stays_with_its_target_through_a_cutover_and_counts_in_its_drain() {
    let one = Backend::start("one", "127.1.1.5", Speaks::Http1).await;
    let two = Backend::start("two", "127.1.1.6", Speaks::Http1).await;
    let world = World::new(&[&one]).await;
    let second = world.aws.target_group("second").await;
    let action = |weights: [i32; 2]| forward(&[(&world.group, weights[0]), (&second, weights[1])], None);
    world.forward_to(action([1, 0])).await;
    world.register(&second, &[&two]).await;
    let address = world.address(80);
    let open = async || {
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/socket");
        let (mut socket, response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        assert_eq!(response.status(), 101);
        let name = socket.next().await.unwrap().unwrap().into_text().unwrap().to_string();
        (socket, name)
    };
    let (mut old, name) = open().await;
    assert_eq!(name, "one");
    world.forward_to(action([0, 1])).await;
    let (mut new, name) = open().await;
    assert_eq!(name, "two", "new connections follow the cutover");
    for text in ["a".to_owned(), "b".repeat(300_000)] {
        for socket in [&mut old, &mut new] {
            socket.send(text.clone().into()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
        }
    }
    // The old target drains for as long as its connection is open, at most for the delay.
    world.set_of_group(&world.group, &[("deregistration_delay.timeout_seconds", "2")]).await;
    let deregister = world.aws.elb.deregister_targets().target_group_arn(&world.group).targets(one.target());
    let began = Instant::now();
    deregister.send().await.unwrap();
    let asked = world.aws.elb.describe_target_health().target_group_arn(&world.group).send().await.unwrap();
    let state = asked.target_health_descriptions()[0].target_health().unwrap().state().unwrap();
    assert_eq!(state.as_str(), "draining");
    old.send("still".into()).await.unwrap();
    assert_eq!(old.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "still");
    let ended = tokio::time::timeout(LIMIT, old.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(ref message)) if message.is_text()), "{ended:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    new.send("alive".into()).await.unwrap();
    assert_eq!(new.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "alive");
    // One that ends itself ends the drain.
    new.close(None).await.unwrap();
    while let Some(Ok(_)) = new.next().await {}
    world.set_of_group(&second, &[("deregistration_delay.timeout_seconds", "600")]).await;
    let deregister = world.aws.elb.deregister_targets().target_group_arn(&second).targets(two.target());
    deregister.send().await.unwrap();
    eventually("the second target has drained", LIMIT, || async {
        let asked = world.aws.elb.describe_target_health().target_group_arn(&second).send().await.unwrap();
        let left = asked.target_health_descriptions().len();
        if left == 0 { Ok(()) } else { Err(format!("{left}")) }
    })
    .await;
}

/// A WebSocket is subject to the idle timeout, and a request in progress to the deregistration delay:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-502-issues>.
#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_the_deregistration_delay_is_cut_off_and_a_silent_websocket_ends() {
    let backend = Backend::start("one", "127.1.1.7", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let address = world.address(80);
    world.set(&[("idle_timeout.timeout_seconds", "2")]).await;
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/socket"), stream).await.unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        socket.send("ping".into()).await.unwrap();
    }
    while let Some(Ok(message)) = tokio::time::timeout(LIMIT, socket.next()).await.unwrap() {
        assert!(message.is_text(), "{message:?}");
    }
    assert!(began.elapsed() >= Duration::from_secs(6) - Duration::from_millis(200), "{:?}", began.elapsed());

    world.set(&[("idle_timeout.timeout_seconds", "600")]).await;
    world.set_of_group(&world.group, &[("deregistration_delay.timeout_seconds", "1")]).await;
    let waiting = tokio::spawn({
        let address = address.clone();
        async move { ask(&address, "GET /wait HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await }
    });
    eventually("the request has arrived", LIMIT, || async {
        if backend.waiting.load(Ordering::SeqCst) == 1 { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    let deregister = world.aws.elb.deregister_targets().target_group_arn(&world.group).targets(backend.target());
    deregister.send().await.unwrap();
    assert_eq!(status(&waiting.await.unwrap()), "502");
}

/// RFC 9110, section 10.1.1. What an ALB does with trailers of HTTP/1.1 is not documented; here they are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_it_is_told_to_continue_and_trailers_are_dropped() {
    let backend = Backend::start("one", "127.1.1.8", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let mut raw = Raw::connect(&world.address(80)).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert_eq!(raw.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("abc").await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.contains("one 3\n"), "{response}");

    let trailers = "GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n";
    let response = ask(&world.address(80), trailers).await;
    assert!(response.ends_with("body\r\n0\r\n\r\n") && !response.contains("x-sum"), "{response}");
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: h2c\r\n\r\n";
    let response = ask(&world.address(80), upgrade).await;
    assert!(status(&response) == "200" && !response.contains("h2c"), "{response}");
}

/// The cookies that a response sets, by name.
fn cookies(response: &str) -> Vec<(String, String)> {
    let lines = response.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    lines.filter_map(|line| line.split_once('=')).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

fn value(cookies: &[(String, String)], name: &str) -> String {
    let found = cookies.iter().find(|(own, _)| own == name);
    assert!(found.is_some(), "no {name}: {cookies:?}");
    found.unwrap().1.split(';').next().unwrap().to_owned()
}

/// Who answers a request with these cookies, and the response.
async fn who(address: &str, path: &str, cookie: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    let response = ask(address, &request).await;
    let body = response.split_once("\r\n\r\n").unwrap().1;
    (body.split([' ', '\r', '\n']).next().unwrap().to_owned(), response)
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_cookie_stays_at_its_target_while_that_is_healthy() {
    let one = Backend::start("one", "127.1.1.9", Speaks::Http1).await;
    let two = Backend::start("two", "127.1.1.10", Speaks::Http1).await;
    let world = World::new(&[&one, &two]).await;
    let address = world.address(80);
    let (_, response) = who(&address, "/", "").await;
    assert!(cookies(&response).is_empty(), "{response}");

    world.set_of_group(&world.group, &[("stickiness.enabled", "true"), ("stickiness.type", "lb_cookie")]).await;
    let (name, response) = who(&address, "/", "").await;
    let set = cookies(&response);
    let (own, cors) = (value(&set, "AWSALB"), value(&set, "AWSALBCORS"));
    assert_eq!(own, cors);
    let attributes: Vec<&str> = set.iter().map(|(_, rest)| rest.split_once("; ").unwrap().1).collect();
    assert!(attributes[0].starts_with("Expires=") && attributes[0].ends_with("; Path=/"), "{attributes:?}");
    assert!(attributes[1].ends_with("; Path=/; SameSite=None"), "{attributes:?}");
    let cookie = format!("other=1; AWSALB={own}");
    for _ in 0..6 {
        let (again, response) = who(&address, "/", &cookie).await;
        assert_eq!(again, name);
        assert_eq!(cookies(&response).len(), 2, "each response renews the cookies");
    }
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(who(&address, "/", "AWSALB=tampered").await.0);
    }
    assert_ne!(names[0], names[1], "a cookie that is not valid binds nobody");

    // The target of the cookie goes, and another one gets the session.
    let (gone, left) = if name == "one" { (&one, "two") } else { (&two, "one") };
    let deregister = world.aws.elb.deregister_targets().target_group_arn(&world.group).targets(gone.target());
    deregister.send().await.unwrap();
    let (moved, response) = who(&address, "/", &cookie).await;
    assert_eq!(moved, left);
    let cookie = format!("AWSALB={}", value(&cookies(&response), "AWSALB"));
    let register = world.aws.elb.register_targets().target_group_arn(&world.group).targets(gone.target());
    register.send().await.unwrap();
    world.until_healthy(&world.group, 2).await;
    for _ in 0..4 {
        assert_eq!(who(&address, "/", &cookie).await.0, left, "it stays at the new target");
    }

    // The session ends with its duration.
    world.set_of_group(&world.group, &[("stickiness.lb_cookie.duration_seconds", "1")]).await;
    let short = format!("AWSALB={}", value(&cookies(&who(&address, "/", "").await.1), "AWSALB"));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_ne!(who(&address, "/", &short).await.0, who(&address, "/", &short).await.0);
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html#application-based-stickiness>
#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_of_an_application_begins_a_session() {
    let one = Backend::start("one", "127.1.1.11", Speaks::Http1).await;
    let two = Backend::start("two", "127.1.1.12", Speaks::Http1).await;
    let world = World::new(&[&one, &two]).await;
    let address = world.address(80);
    world
        .set_of_group(
            &world.group,
            &[
                ("stickiness.enabled", "true"),
                ("stickiness.type", "app_cookie"),
                ("stickiness.app_cookie.cookie_name", "session"),
            ],
        )
        .await;
    assert!(cookies(&who(&address, "/", "").await.1).is_empty(), "the application has set no cookie");
    let (name, response) = who(&address, "/login", "").await;
    let set = cookies(&response);
    assert_eq!(value(&set, "session"), "4711");
    let own = value(&set, "AWSALBAPP-0");
    for _ in 0..6 {
        let (again, response) = who(&address, "/", &format!("session=4711; AWSALBAPP-0={own}")).await;
        assert_eq!(again, name);
        assert_eq!(cookies(&response).len(), 1, "its own cookie is renewed: {response}");
        assert!(response.contains("cookie: session=4711; AWSALBAPP-0="), "the application gets its cookie");
    }
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(who(&address, "/", &format!("AWSALBAPP-0={own}")).await.0);
    }
    assert_ne!(names[0], names[1], "a client must send both cookies");
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html#forward-actions>
#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_in_its_group_if_the_action_says_so_and_weights_count_for_the_others() {
    let one = Backend::start("one", "127.1.1.13", Speaks::Http1).await;
    let two = Backend::start("two", "127.1.1.14", Speaks::Http1).await;
    let world = World::new(&[&one]).await;
    let second = world.aws.target_group("second").await;
    let groups = |weights: [i32; 2]| [(&world.group, weights[0]), (&second, weights[1])];
    world.forward_to(forward(&groups([1, 1]), Some(600))).await;
    world.register(&second, &[&two]).await;
    let address = world.address(80);
    let (name, response) = who(&address, "/", "").await;
    let set = cookies(&response);
    let own = value(&set, "AWSALBTG");
    assert_eq!(own, value(&set, "AWSALBTGCORS"));
    let cookie = format!("AWSALBTG={own}");
    for _ in 0..6 {
        assert_eq!(who(&address, "/", &cookie).await.0, name);
    }
    let other = if name == "one" { [0, 1] } else { [1, 0] };
    world.forward_to(forward(&groups(other), Some(600))).await;
    assert_eq!(who(&address, "/", &cookie).await.0, name, "the cookie decides, not the weight");
    assert_ne!(who(&address, "/", "").await.0, name);
    world.forward_to(forward(&groups(other), None)).await;
    let (moved, response) = who(&address, "/", &cookie).await;
    assert_ne!(moved, name, "without stickiness, the weight decides");
    assert!(cookies(&response).is_empty());

    world.forward_to(forward(&groups([3, 1]), None)).await;
    let mut twos = 0;
    for _ in 0..100 {
        twos += u32::from(who(&address, "/", "").await.0 == "two");
    }
    assert!((22..=28).contains(&twos), "{twos}");
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#modify-routing-algorithm>
#[tokio::test(flavor = "multi_thread")]
async fn the_target_with_the_fewest_outstanding_requests_gets_the_next_one() {
    let one = Backend::start("one", "127.1.1.15", Speaks::Http1).await;
    let two = Backend::start("two", "127.1.1.16", Speaks::Http1).await;
    let world = World::new(&[&one, &two]).await;
    let address = world.address(80);
    world.set_of_group(&world.group, &[("load_balancing.algorithm.type", "least_outstanding_requests")]).await;
    let mut held = Raw::connect(&address).await;
    held.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let busy = || one.waiting.load(Ordering::SeqCst) + two.waiting.load(Ordering::SeqCst);
    eventually("a request waits", LIMIT, || async { if busy() == 1 { Ok(()) } else { Err("no".to_owned()) } }).await;
    let free = if one.waiting.load(Ordering::SeqCst) == 1 { "two" } else { "one" };
    for _ in 0..6 {
        assert_eq!(who(&address, "/", "").await.0, free);
    }
    world.set_of_group(&world.group, &[("load_balancing.algorithm.type", "round_robin")]).await;
    assert_ne!(who(&address, "/", "").await.0, who(&address, "/", "").await.0);
}

/// The memory of a process in MiB: now, or the most it had.
pub fn memory(pid: i64, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_in_bounded_memory_also_if_the_client_is_slow() {
    let backend = Backend::start("one", "127.1.1.17", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let address = world.address(80);
    let daemon = world.instance.daemon();
    let before = memory(daemon, "VmRSS");

    // A client that reads nothing holds a part of the body, not all of it.
    let mut lazy = Raw::connect(&address).await;
    lazy.send("GET /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    lazy.until("\r\n\r\n").await;
    let mut client = Raw::connect(&address).await;
    client.send("GET /big HTTP/1.0\r\nhost: a\r\n\r\n").await;
    client.until("\r\n\r\n").await;
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    while let count @ 1.. = client.0.read(&mut buffer).await.unwrap() {
        read += count;
    }
    assert_eq!(read, BIG);
    drop(lazy);

    let mut client = Raw::connect(&address).await;
    client.send(&format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {BIG}\r\n\r\n")).await;
    let block = vec![b'x'; 64 * 1024];
    for _ in 0..BIG / block.len() {
        client.0.write_all(&block).await.unwrap();
    }
    let (response, _) = client.rest().await;
    assert!(response.contains(&format!("one {BIG}\n")), "{response}");
    let most = memory(daemon, "VmHWM");
    assert!(most < before + 40, "{before} MiB before, {most} MiB at most");
}

/// Clients that open connections and send heads that never end hold a bounded amount of memory each.
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_hold_bounded_memory_and_end_with_the_idle_timeout() {
    let backend = Backend::start("one", "127.1.1.18", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    world.set(&[("idle_timeout.timeout_seconds", "3")]).await;
    let address = Arc::new(world.address(80));
    let daemon = world.instance.daemon();
    let before = memory(daemon, "VmRSS");
    let mut clients = Vec::new();
    for _ in 0..100 {
        let address = Arc::clone(&address);
        clients.push(tokio::spawn(async move {
            let mut raw = Raw::connect(&address).await;
            raw.send(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100_000))).await;
            raw.rest().await.0
        }));
    }
    for client in clients {
        assert_eq!(status(&client.await.unwrap()), "408");
    }
    let most = memory(daemon, "VmHWM");
    assert!(most < before + 60, "{before} MiB before, {most} MiB at most");
    assert_eq!(status(&ask(&address, "GET / HTTP/1.0\r\n\r\n").await), "200");
}
