//! The load balancer and the endpoint of a local cloud, through the APIs only: weights, rules, nodes, health, drains,
//! faults, and the journal. The targets are servers in this process, each on a separate loopback address.

use crate::support::{Aws, Instance, eventually, is_alive};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types as cw;
use aws_sdk_elasticloadbalancingv2::types as elb;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_secs(30);

/// A server that returns its name and the request.
struct Server {
    address: String,
    port: u16,
    sick: Arc<AtomicBool>,
    /// Requests for `/slow` are answered when this is notified.
    slow: Arc<Notify>,
    waiting: Arc<AtomicU32>,
}

impl Server {
    async fn start(name: &'static str, address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let server = Self {
            address: address.to_owned(),
            port: listener.local_addr().unwrap().port(),
            sick: Arc::default(),
            slow: Arc::default(),
            waiting: Arc::default(),
        };
        let (sick, slow, waiting) = (Arc::clone(&server.sick), Arc::clone(&server.slow), Arc::clone(&server.waiting));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, name, Arc::clone(&sick), Arc::clone(&slow), Arc::clone(&waiting)));
            }
        });
        server
    }

    fn target(&self) -> elb::TargetDescription {
        elb::TargetDescription::builder().id(&self.address).port(self.port.into()).build()
    }
}

async fn answer(stream: TcpStream, name: &str, sick: Arc<AtomicBool>, slow: Arc<Notify>, waiting: Arc<AtomicU32>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head += &line;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        if head.starts_with("GET /slow") {
            waiting.fetch_add(1, Ordering::SeqCst);
            slow.notified().await;
        }
        let status = if sick.load(Ordering::SeqCst) { "500 Oops" } else { "200 OK" };
        let text = format!("{name} {}\n{head}", body.len());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An instance with a load balancer without a lag, two groups of one server each, and listeners on ports 80 and 81.
struct World {
    instance: Instance,
    aws: Aws,
    client: reqwest::Client,
    urls: [String; 2],
    listener: String,
    groups: [String; 2],
    servers: [Server; 2],
}

impl World {
    async fn new() -> Self {
        // Another test of this process can have set it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let instance = Instance::new();
        instance.up();
        // Most tests count requests from a change on, so the nodes must not lag.
        let lag = instance.run(&["fault", "lag", "0"]);
        let text = "the load balancer follows changes of listeners and rules at once\n";
        assert!(String::from_utf8_lossy(&lag.stdout).ends_with(text), "{lag:?}");
        let status = instance.status();
        let url = |index: usize| status["forwards"][index]["url"].as_str().unwrap().to_owned();
        let aws = instance.aws();
        let servers = [Server::start("one", "127.1.0.1").await, Server::start("two", "127.1.0.2").await];
        let groups = [aws.target_group("one").await, aws.target_group("two").await];
        for (group, server) in groups.iter().zip(&servers) {
            aws.elb.register_targets().target_group_arn(group).targets(server.target()).send().await.unwrap();
        }
        let created = aws.elb.create_load_balancer().name("lb").subnets("subnet-1").send().await.unwrap();
        let balancer = created.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
        let mut listeners = Vec::new();
        for port in [80, 81] {
            let created = aws.elb.create_listener().load_balancer_arn(&balancer).protocol(elb::ProtocolEnum::Http);
            let created = created.port(port).default_actions(forward(&[(&groups[0], 1)])).send().await.unwrap();
            listeners.push(created.listeners()[0].listener_arn().unwrap().to_owned());
        }
        let condition = elb::HttpHeaderConditionConfig::builder().http_header_name("X-Env").values("tw?").build();
        let condition = elb::RuleCondition::builder().field("http-header").http_header_config(condition).build();
        let rule = aws.elb.create_rule().listener_arn(&listeners[1]).priority(5).conditions(condition);
        rule.actions(forward(&[(&groups[1], 1)])).send().await.unwrap();
        let client = reqwest::Client::builder().timeout(LIMIT).build().unwrap();
        let urls = [url(0), url(1)];
        let this = Self { instance, aws, client, urls, listener: listeners.swap_remove(0), groups, servers };
        for group in [0, 1] {
            this.until(group, "healthy").await;
        }
        this
    }

    async fn shift(&self, weights: [i32; 2]) {
        let action = forward(&[(&self.groups[0], weights[0]), (&self.groups[1], weights[1])]);
        self.aws.elb.modify_listener().listener_arn(&self.listener).default_actions(action).send().await.unwrap();
    }

    /// Status and text of a page of prod.
    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.urls[0])).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The URL of prod at the second node.
    fn second_node(&self) -> String {
        let status = self.instance.status();
        let [first, second] = [0, 1].map(|node| status["nodes"][node].as_str().unwrap().to_owned());
        assert!(status["connect_to"].as_str().unwrap().contains(&format!(":80:{first}|{second}:")), "{status}");
        self.urls[0].replace(&first, &second)
    }

    /// The health of the first target of a group: state and reason.
    async fn health(&self, group: usize) -> (String, String) {
        let asked = self.aws.elb.describe_target_health().target_group_arn(&self.groups[group]).send().await.unwrap();
        let health = asked.target_health_descriptions().first().and_then(|target| target.target_health());
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let state = health.and_then(|health| health.state()).map(elb::TargetHealthStateEnum::as_str);
        (text(state), text(health.and_then(|health| health.reason()).map(elb::TargetHealthReasonEnum::as_str)))
    }

    async fn until(&self, group: usize, state: &str) {
        eventually(&format!("a target is {state}"), LIMIT, || async {
            let health = self.health(group).await;
            if health.0 == state { Ok(()) } else { Err(format!("{health:?}")) }
        })
        .await;
    }

    /// The sums of the counts of a group, and the statistics of its times: requests, 5xx responses, times, the maximum.
    async fn metrics(&self, group: usize) -> [f64; 4] {
        let now = jiff::Timestamp::now().as_second();
        let described = self.aws.elb.describe_load_balancers().send().await.unwrap();
        let balancer =
            described.load_balancers()[0].load_balancer_arn().unwrap().split_once("loadbalancer/").unwrap().1;
        let target_group = self.groups[group].rsplit_once(':').unwrap().1;
        let dimension = |name: &str, value: &str| cw::Dimension::builder().name(name).value(value).build();
        let ask = async |name: &str, stat: &str| {
            let metric = cw::Metric::builder().namespace("AWS/ApplicationELB").metric_name(name);
            let metric = metric.dimensions(dimension("LoadBalancer", balancer));
            let metric = metric.dimensions(dimension("TargetGroup", target_group)).build();
            let stat = cw::MetricStat::builder().metric(metric).period(60).stat(stat).build();
            let query = cw::MetricDataQuery::builder().id("q").metric_stat(stat).build();
            let asked = self.aws.metrics.get_metric_data().metric_data_queries(query);
            let asked = asked.start_time(DateTime::from_secs(now - 600)).end_time(DateTime::from_secs(now + 60));
            let answer = asked.send().await.unwrap();
            let result = &answer.metric_data_results()[0];
            assert!(result.timestamps().iter().all(|at| at.secs() % 60 == 0), "{result:?}");
            result.values().to_vec()
        };
        let sum = |values: Vec<f64>| values.into_iter().sum::<f64>();
        [
            sum(ask("RequestCount", "Sum").await),
            sum(ask("HTTPCode_Target_5XX_Count", "Sum").await),
            sum(ask("TargetResponseTime", "SampleCount").await),
            ask("TargetResponseTime", "p100").await.into_iter().fold(0.0, f64::max),
        ]
    }

    /// Waits until a group has these metrics.
    async fn until_counted(&self, group: usize, requests: f64, errors: f64, times: f64) {
        eventually("metrics are reported", LIMIT, || async {
            let metrics = self.metrics(group).await;
            if metrics[..3] == [requests, errors, times] { Ok(()) } else { Err(format!("{metrics:?}")) }
        })
        .await;
    }

    fn calls(&self) -> Vec<Value> {
        serde_json::from_slice(&self.instance.run(&["calls", "--json"]).stdout).unwrap()
    }
}

fn forward(groups: &[(&String, i32)]) -> elb::Action {
    let tuple = |(arn, weight): &(&String, i32)| {
        elb::TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build()
    };
    let config = elb::ForwardActionConfig::builder().set_target_groups(Some(groups.iter().map(tuple).collect()));
    elb::Action::builder().r#type(elb::ActionTypeEnum::Forward).forward_config(config.build()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_listeners_rules_and_weights_say() {
    let world = World::new().await;

    let (status, text) = world.get("/a?b=c").await;
    let text = text.to_ascii_lowercase();
    assert_eq!(status, 200);
    for expected in [
        "one 0\nget /a?b=c http/1.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-amzn-trace-id: root=1-",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("x-forwarded-port: 80\r\n"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("host: ") && line.contains(".elb.")), "{text}");

    let env = |value: &str| world.client.get(&world.urls[1]).header("x-env", value).send();
    assert!(env("TWO").await.unwrap().text().await.unwrap().starts_with("two"));
    assert!(env("three").await.unwrap().text().await.unwrap().starts_with("one"));

    let large = vec![b'x'; 5_000_000];
    let posted = world.client.post(&world.urls[0]).body(large).send().await.unwrap().text().await.unwrap();
    assert!(posted.starts_with("one 5000000\n"), "{posted}");

    world.shift([90, 10]).await;
    let described = world.aws.elb.describe_listeners().listener_arns(&world.listener).send().await.unwrap();
    let groups = described.listeners()[0].default_actions()[0].forward_config().unwrap().target_groups().to_vec();
    assert_eq!(groups.iter().map(|group| group.weight()).collect::<Vec<_>>(), [Some(90), Some(10)]);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..500 {
        let (_, text) = world.get("/").await;
        *counts.entry(text.split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    assert!((40..=60).contains(&counts["two"]), "{counts:?}");

    // The client keeps its connection; its next request goes to the other group.
    world.shift([0, 1]).await;
    assert!(world.get("/").await.1.starts_with("two"));
    world.shift([1, 0]).await;
    assert!(world.get("/").await.1.starts_with("one"));

    // A request in progress stays with its target.
    let slow = tokio::spawn({
        let (client, url) = (world.client.clone(), format!("{}/slow", world.urls[0]));
        async move { client.get(url).send().await.unwrap().text().await.unwrap() }
    });
    eventually("the slow request has arrived", LIMIT, || async {
        if world.servers[0].waiting.load(Ordering::SeqCst) == 1 { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    world.shift([0, 1]).await;
    assert!(world.get("/").await.1.starts_with("two"));
    world.servers[0].slow.notify_one();
    assert!(slow.await.unwrap().starts_with("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_a_change_each_in_its_own_time_and_as_a_lag_says() {
    let world = World::new().await;
    let nodes = [world.urls[0].clone(), world.second_node()];
    let says = async |node: usize| {
        let text = world.client.get(&nodes[node]).send().await.unwrap().text().await.unwrap();
        text.split(' ').next().unwrap().to_owned()
    };
    let until = async |node: usize, name: &str| {
        eventually(&format!("node {node} says {name}"), LIMIT, || async {
            let said = says(node).await;
            if said == name { Ok(Instant::now()) } else { Err(said) }
        })
        .await
    };
    world.shift([0, 1]).await;
    assert_eq!([says(0).await, says(1).await], ["two", "two"], "no lag, at either node");

    let lag = world.instance.run(&["fault", "lag", "3s"]);
    let said = String::from_utf8(lag.stdout).unwrap();
    assert!(said.ends_with("the load balancer's last node follows changes of listeners and rules 3000 ms later\n"));
    assert_eq!(
        said,
        String::from_utf8(world.instance.run(&["fault", "list"]).stdout).unwrap(),
        "it replaces the other"
    );
    let began = Instant::now();
    world.shift([1, 0]).await;
    let described = world.aws.elb.describe_listeners().listener_arns(&world.listener).send().await.unwrap();
    let groups = described.listeners()[0].default_actions()[0].forward_config().unwrap().target_groups().to_vec();
    assert_eq!(groups.iter().map(|group| group.weight()).collect::<Vec<_>>(), [Some(1), Some(0)], "what is asked for");
    let (first, second) = tokio::join!(until(0, "one"), until(1, "one"));
    assert!(second - began >= Duration::from_secs(3), "{:?}", second - began);
    assert!(first < second);

    // After the lag is removed, the nodes do not wait that long.
    world.instance.run(&["fault", "lag", "60m"]);
    world.shift([0, 1]).await;
    until(0, "two").await;
    assert_eq!(says(1).await, "one");
    assert_eq!(String::from_utf8(world.instance.run(&["fault", "clear"]).stdout).unwrap(), "1 faults cleared\n");
    until(1, "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_what_the_targets_say_and_errors_are_those_of_a_load_balancer() {
    let world = World::new().await;
    assert_eq!(world.health(0).await, ("healthy".to_owned(), String::new()));

    world.servers[0].sick.store(true, Ordering::SeqCst);
    world.until(0, "unhealthy").await;
    assert_eq!(world.health(0).await.1, "Target.ResponseCodeMismatch");
    let failed_open = world.get("/").await;
    assert_eq!(failed_open.0, 500, "with no healthy target all get requests: {failed_open:?}");
    world.servers[0].sick.store(false, Ordering::SeqCst);
    world.until(0, "healthy").await;

    // A deregistered target finishes its requests while draining, and gets no new requests.
    let slow = tokio::spawn({
        let (client, url) = (world.client.clone(), format!("{}/slow", world.urls[0]));
        async move { client.get(url).send().await.unwrap().status() }
    });
    eventually("the slow request has arrived", LIMIT, || async {
        if world.servers[0].waiting.load(Ordering::SeqCst) == 1 { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    let deregister = world.aws.elb.deregister_targets().target_group_arn(&world.groups[0]);
    deregister.targets(world.servers[0].target()).send().await.unwrap();
    assert_eq!(world.health(0).await, ("draining".to_owned(), "Target.DeregistrationInProgress".to_owned()));
    assert_eq!(world.get("/").await.0, 503, "no target is left");
    world.servers[0].slow.notify_one();
    assert_eq!(slow.await.unwrap(), 200);
    world.until(0, "").await;

    // A target that does not listen is used, because no better target exists.
    let closed = std::net::TcpListener::bind("127.1.0.3:0").unwrap().local_addr().unwrap();
    let closed = elb::TargetDescription::builder().id(closed.ip().to_string()).port(closed.port().into()).build();
    world.aws.elb.register_targets().target_group_arn(&world.groups[0]).targets(closed).send().await.unwrap();
    let (status, page) = world.get("/").await;
    assert_eq!(status, 502);
    assert!(page.contains("<h1>502 Bad Gateway</h1>"), "{page}");
    world.until(0, "unhealthy").await;
    assert_eq!(world.health(0).await.1, "Target.FailedHealthChecks");

    // A group that no listener uses is not checked.
    let unused = world.aws.target_group("unused").await;
    let register = world.aws.elb.register_targets().target_group_arn(&unused).targets(world.servers[0].target());
    register.send().await.unwrap();
    let asked = world.aws.elb.describe_target_health().target_group_arn(&unused).send().await.unwrap();
    let health = asked.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(health.reason(), Some(&elb::TargetHealthReasonEnum::NotInUse), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_timeout_is_for_silence_and_malformed_requests_are_refused() {
    let world = World::new().await;
    let described = world.aws.elb.describe_load_balancers().send().await.unwrap();
    let balancer = described.load_balancers()[0].load_balancer_arn().unwrap();
    let attribute = elb::LoadBalancerAttribute::builder().key("idle_timeout.timeout_seconds").value("1").build();
    let modify = world.aws.elb.modify_load_balancer_attributes().load_balancer_arn(balancer);
    modify.attributes(attribute).send().await.unwrap();
    let address = world.urls[0].trim_start_matches("http://").to_owned();
    let ask = async |head: &str, parts: u32, pause: Duration| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..parts {
            tokio::time::sleep(pause).await;
            stream.write_all(b"x").await.unwrap();
        }
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let upload = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 6\r\n\r\n";
    // Longer than the timeout in all, but never silent for so long.
    assert_eq!(ask(upload, 6, Duration::from_millis(300)).await, "200");
    assert_eq!(ask(upload, 1, Duration::ZERO).await, "408", "the rest does not come");
    assert_eq!(ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n", 0, Duration::ZERO).await, "504");
    assert_eq!(ask("GET / HTTP/1.1\r\n\r\n", 0, Duration::ZERO).await, "400", "no host");
    assert_eq!(ask("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 0, Duration::ZERO).await, "405");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_in_the_journal_and_fail_as_faults_say() {
    let world = World::new().await;
    let modified = world.calls().into_iter().find(|call| call["action"] == "RegisterTargets").unwrap();
    assert_eq!((&modified["service"], &modified["caller"]), (&"elasticloadbalancing".into(), &"client".into()));
    assert_eq!((&modified["resources"][0], &modified["status"]), (&world.groups[0].as_str().into(), &200.into()));

    let fault = |rule: &[&str]| {
        let added = world.instance.run(&[&["fault", "add"], rule].concat());
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    };
    let write = || {
        let action = forward(&[(&world.groups[1], 1)]);
        let once = aws_sdk_elasticloadbalancingv2::config::Builder::new()
            .retry_config(aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig::disabled());
        let request = world.aws.elb.modify_listener().listener_arn(&world.listener).default_actions(action);
        request.customize().config_override(once).send()
    };
    fault(&["throttle", "--action", "ModifyListener", "--times", "1"]);
    let error = write().await.unwrap_err().into_service_error();
    assert_eq!(error.meta().code(), Some("Throttling"));
    assert!(world.get("/").await.1.starts_with("one"), "nothing has happened");

    fault(&["drop-answer", "--action", "ModifyListener", "--times", "1"]);
    assert!(write().await.unwrap_err().as_service_error().is_none());
    assert!(world.get("/").await.1.starts_with("two"), "it has happened");
    world.shift([1, 0]).await;

    fault(&["late", "--action", "ModifyListener", "--times", "1", "--ms", "300"]);
    assert!(write().await.is_err());
    eventually("it happens late", LIMIT, || async {
        let text = world.get("/").await.1;
        if text.starts_with("two") { Ok(()) } else { Err(text) }
    })
    .await;
    let met: Vec<Value> = world.calls().into_iter().filter(|call| !call["fault"].is_null()).collect();
    assert_eq!(
        met.iter().map(|call| call["fault"].as_str().unwrap()).collect::<Vec<_>>(),
        ["throttle", "drop-answer", "late"]
    );
    assert!(met[1]["status"].is_null(), "{met:?}");
    let cleared = world.instance.run(&["fault", "clear"]);
    assert_eq!(String::from_utf8_lossy(&cleared.stdout), "4 faults cleared\n", "and the lag");
    write().await.unwrap();

    // Metrics use another protocol.
    fault(&["throttle", "--service", "cloudwatch", "--action", "ListMetrics", "--times", "3"]);
    let error = world.aws.metrics.list_metrics().send().await.unwrap_err().into_service_error();
    assert_eq!((error.meta().code(), error.meta().message()), (Some("ThrottlingException"), Some("Rate exceeded")));
    world.aws.metrics.list_metrics().send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told_to_cloudwatch_by_target_group_as_a_load_balancer_does() {
    let world = World::new().await;
    for _ in 0..7 {
        world.get("/").await;
    }
    world.until_counted(0, 7.0, 0.0, 7.0).await;
    assert_eq!(world.metrics(1).await[..3], [0.0; 3], "health checks are no requests");

    // Each request counts for the group that answered it.
    world.shift([0, 1]).await;
    world.servers[1].sick.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(world.get("/").await.0, 500);
    }
    world.servers[1].sick.store(false, Ordering::SeqCst);
    let slow = tokio::spawn({
        let (client, url) = (world.client.clone(), format!("{}/slow", world.urls[0]));
        async move { client.get(url).send().await.unwrap().status() }
    });
    eventually("the slow request has arrived", LIMIT, || async {
        if world.servers[1].waiting.load(Ordering::SeqCst) == 1 { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    let before = Instant::now();
    world.until_counted(1, 4.0, 3.0, 3.0).await;
    world.servers[1].slow.notify_one();
    assert_eq!(slow.await.unwrap(), 200);
    let waited = before.elapsed().as_secs_f64();
    world.until_counted(1, 4.0, 3.0, 4.0).await;
    let longest = world.metrics(1).await[3];
    assert!((waited * 0.85..waited * 1.15 + 0.2).contains(&longest), "waited {waited} s, reported {longest} s");

    // A response of the load balancer itself does not count for a target.
    let closed = std::net::TcpListener::bind("127.1.0.3:0").unwrap().local_addr().unwrap();
    let closed = elb::TargetDescription::builder().id(closed.ip().to_string()).port(closed.port().into()).build();
    let group = &world.groups[1];
    let deregister = world.aws.elb.deregister_targets().target_group_arn(group).targets(world.servers[1].target());
    deregister.send().await.unwrap();
    assert_eq!(world.get("/").await.0, 503);
    world.aws.elb.register_targets().target_group_arn(group).targets(closed).send().await.unwrap();
    assert_eq!(world.get("/").await.0, 502);
    world.until_counted(1, 5.0, 3.0, 4.0).await;
    assert_eq!(world.metrics(0).await[..3], [7.0, 0.0, 7.0]);
}

#[test]
fn a_local_cloud_ends_with_its_owner_or_its_state_directory_and_leaves_others_alone() {
    let (bound, other) = (Instance::new(), Instance::new());
    other.up();
    let mut owner = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = owner.id().to_string();
    let up = bound.run(&["up", "--owner-pid", &pid, "--endpoint-port", "0", "--forward", "0:80"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let pids = bound.pids();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = |pids: &[i64]| {
        let deadline = Instant::now() + LIMIT;
        while pids.iter().any(|pid| is_alive(*pid)) {
            assert!(Instant::now() < deadline, "{pids:?} still run");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    gone(&pids);
    let pids = other.pids();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    std::fs::remove_dir_all(other.state()).unwrap();
    gone(&pids);
}
