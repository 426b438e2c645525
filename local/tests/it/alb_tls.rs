//! The load balancer speaks TLS, HTTP/2, and gRPC as an Application Load Balancer does: certificates and their selection,
//! redirects, protocol versions of target groups, and targets with TLS.

use crate::alb::{LIMIT, World, forward, memory};
use crate::backend::{BIG, Backend, GRPC_CHECK, Speaks};
use crate::support::eventually;
use aws_sdk_elasticloadbalancingv2::types as elb;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

impl World {
    /// A certificate of ACM for these names.
    async fn certificate(&self, names: &[&str]) -> String {
        let key = self.instance.credentials();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/acm/aws4_request, SignedHeaders=host, Signature=0",
            key.access_key_id()
        );
        let body = json!({ "DomainName": names[0], "SubjectAlternativeNames": names });
        let request = reqwest::Client::new().post(self.instance.status()["endpoint"].as_str().unwrap());
        let request = request.header("x-amz-target", "CertificateManager.RequestCertificate");
        let request =
            request.header("content-type", "application/x-amz-json-1.1").header("authorization", authorization);
        let answer = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["CertificateArn"].is_string(), "{answer}");
        answer["CertificateArn"].as_str().unwrap().to_owned()
    }

    /// Adds an HTTPS listener on port 443.
    async fn https(&self, certificate: &str, action: elb::Action) -> String {
        let certificate = elb::Certificate::builder().certificate_arn(certificate).build();
        let create = self.aws.elb.create_listener().load_balancer_arn(&self.balancer).port(443);
        let create = create.protocol(elb::ProtocolEnum::Https).certificates(certificate);
        let create = create.ssl_policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06");
        let created = create.default_actions(action).send().await.unwrap();
        created.listeners()[0].listener_arn().unwrap().to_owned()
    }

    /// A target group with a protocol and a version.
    async fn group(&self, name: &str, protocol: elb::ProtocolEnum, version: &str, matcher: elb::Matcher) -> String {
        let path = if version == "GRPC" { GRPC_CHECK } else { "/healthz" };
        let create = self.aws.elb.create_target_group().name(name).protocol(protocol.clone()).protocol_version(version);
        let create = create.port(8080).vpc_id("vpc-1").target_type(elb::TargetTypeEnum::Ip).matcher(matcher);
        let create = create.health_check_protocol(protocol).health_check_path(path);
        let create = create.health_check_interval_seconds(1).health_check_timeout_seconds(1);
        let created = create.unhealthy_threshold_count(2).send().await.unwrap();
        let group = &created.target_groups()[0];
        assert_eq!(group.protocol_version(), Some(version));
        group.target_group_arn().unwrap().to_owned()
    }

    fn authority(&self) -> CertificateDer<'static> {
        let status = self.instance.status();
        let path = status["certificate_authority"].as_str().unwrap();
        CertificateDer::from_pem_file(path).unwrap()
    }

    /// A connection to port 443 that names a host and trusts the authority of the instance.
    async fn connect(&self, host: &str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address(443)).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn http2(&self, host: &str) -> http2::SendRequest<Full<Bytes>> {
        let stream = self.connect(host, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http1(&self, host: &str) -> http1::SendRequest<Full<Bytes>> {
        let stream = self.connect(host, &["http/1.1"]).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// The DNS names of the certificate that a server has sent, as they are in it.
fn certificate_has(stream: &TlsStream<TcpStream>, name: &str) -> bool {
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    certificate.windows(name.len()).any(|part| part == name.as_bytes())
}

/// A request for a URL of HTTP/2, or a path of HTTP/1.1.
fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).header("host", "shop.example").body(Full::default()).unwrap()
}

fn get2(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://shop.example{path}")).body(Full::default()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn redirect_to_https(world: &World) {
    let redirect = elb::RedirectActionConfig::builder().protocol("HTTPS").port("443");
    let redirect = redirect.status_code(elb::RedirectActionStatusCodeEnum::Http301).build();
    let redirect = elb::Action::builder().r#type(elb::ActionTypeEnum::Redirect).redirect_config(redirect).build();
    world.forward_to(redirect).await;
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html> and
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html#redirect-actions>.
#[tokio::test(flavor = "multi_thread")]
async fn an_https_listener_has_the_certificate_of_the_host_and_http_is_redirected_to_it() {
    let backend = Backend::start("one", "127.1.2.1", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let shop = world.certificate(&["shop.example"]).await;
    let cart = world.certificate(&["cart.example", "*.cart.example"]).await;
    let listener = world.https(&shop, forward(&[(&world.group, 1)], None)).await;
    let more = elb::Certificate::builder().certificate_arn(&cart).build();
    world.aws.elb.add_listener_certificates().listener_arn(&listener).certificates(more).send().await.unwrap();
    let listed = world.aws.elb.describe_listener_certificates().listener_arn(&listener).send().await.unwrap();
    let listed = listed.certificates().iter().map(|one| (one.certificate_arn().unwrap(), one.is_default().unwrap()));
    assert_eq!(listed.collect::<Vec<_>>(), [(shop.as_str(), true), (cart.as_str(), false)]);

    // The client verifies the name.
    for (host, own, other) in
        [("shop.example", "shop.example", "cart.example"), ("a.cart.example", "cart.example", "shop")]
    {
        let stream = world.connect(host, &[]).await.unwrap();
        assert!(certificate_has(&stream, own) && !certificate_has(&stream, other), "{host}");
    }
    let error = world.connect("other.example", &[]).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "the default certificate is for another name: {error}");
    let key = world.instance.state().join("ca-key.pem");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);

    let told = text(world.http1("shop.example").await.send_request(get("/a?b=c")).await.unwrap()).await;
    for expected in [
        "one 0\nGET /a?b=c HTTP/1.1\n",
        "host: shop.example\n",
        "x-forwarded-proto: https\n",
        "x-forwarded-port: 443\n",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains("x-amzn-tls"), "{told}");
    world.set(&[("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "true")]).await;
    let told = text(world.http1("shop.example").await.send_request(get("/")).await.unwrap()).await;
    assert!(told.contains("x-amzn-tls-version: TLSv1.3\nx-amzn-tls-cipher-suite: TLS_AES_"), "{told}");

    // The forwarded port is known as one of HTTPS, and works with a client that only has the authority.
    let forwards = world.instance.status()["forwards"].clone();
    let url = forwards.as_array().unwrap().iter().find(|one| one["listener"] == 443).unwrap()["url"].clone();
    assert!(url.as_str().unwrap().starts_with("https://127.0.0.1:"), "{forwards}");
    let trusted = reqwest::Certificate::from_der(&world.authority()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    assert_eq!(client.get(url.as_str().unwrap()).send().await.unwrap().status(), 200);

    // Who came to a forwarded port is led to a forwarded port, and everybody else to the port of the listener.
    redirect_to_https(&world).await;
    let plain = format!("http://{}/x?y=z", world.address(80));
    let location = async |host: Option<&str>| {
        let mut request = client.get(&plain);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 301);
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(location(Some("shop.example")).await, "https://shop.example:443/x?y=z");
    assert_eq!(location(None).await, format!("{}/x?y=z", url.as_str().unwrap()));

    // Both kinds of listeners tell a client that speaks the wrong protocol.
    let mut raw = TcpStream::connect(world.address(443)).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    raw.read_to_string(&mut response).await.unwrap();
    assert!(
        response.starts_with("HTTP/1.1 400 Bad Request\r\n") && response.contains("sent to HTTPS port"),
        "{response}"
    );
    let mut raw = TcpStream::connect(world.address(80)).await.unwrap();
    raw.write_all(&[0x16, 0x03, 0x01, 0x00, 0x02, 0x01, 0x00, b'\r', b'\n', b'\r', b'\n']).await.unwrap();
    let mut response = Vec::new();
    raw.read_to_end(&mut response).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{}", String::from_utf8_lossy(&response));

    // The function that cuts over and programs of the user trust the authority.
    let env = String::from_utf8(world.instance.run(&["env"]).stdout).unwrap();
    let line = format!("export AWS_CA_BUNDLE='{}'\n", world.instance.state().join("ca.pem").display());
    assert!(env.contains(&line), "{env}");
}

/// A certificate that the local ACM does not have is for the host that the client names, so that the configuration of a
/// stack on AWS works unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_account_is_for_every_host() {
    let backend = Backend::start("one", "127.1.2.2", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0b2f9a3e-6d1c-4f9b-8a47-2c9f1d3e5a70";
    world.https(arn, forward(&[(&world.group, 1)], None)).await;
    for host in ["shop.example", "other.example"] {
        assert!(certificate_has(&world.connect(host, &[]).await.unwrap(), host));
    }
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html> (HTTP/2).
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_https_listeners_can_use_http2_with_many_requests_at_once() {
    let backend = Backend::start("one", "127.1.2.3", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let shop = world.certificate(&["shop.example"]).await;
    world.https(&shop, forward(&[(&world.group, 1)], None)).await;
    let mut sender = world.http2("shop.example").await;
    let request = Request::post("https://shop.example/a?b=c").header("cookie", "a=1").header("cookie", "b=2");
    let response = sender.send_request(request.body(Full::new("body".into())).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    let told = text(response).await;
    for expected in
        ["one 4\nPOST /a?b=c HTTP/1.1\n", "host: shop.example\n", "cookie: a=1; b=2\n", "x-forwarded-proto: https\n"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let trace = Request::builder().method("TRACE").uri("https://shop.example/").body(Full::default()).unwrap();
    let response = sender.send_request(trace).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["server"].as_bytes()), (405, &b"awselb/2.0"[..]));
    let large = Request::get("https://shop.example/").header("x", "y".repeat(17_000)).body(Full::default()).unwrap();
    assert_eq!(sender.send_request(large).await.unwrap().status(), 400);

    // 130 requests that wait: the load balancer takes 128 of them.
    for _ in 0..130 {
        let mut sender = sender.clone();
        tokio::spawn(async move { sender.send_request(get2("/wait")).await });
    }
    let waiting = || backend.waiting.load(std::sync::atomic::Ordering::SeqCst);
    eventually("128 requests wait", LIMIT, || async {
        if waiting() == 128 { Ok(()) } else { Err(waiting().to_string()) }
    })
    .await;
    let blocked = tokio::time::timeout(Duration::from_millis(300), sender.send_request(get2("/"))).await;
    assert!(blocked.is_err(), "no more than 128");
    assert_eq!(waiting(), 128);

    // The keep-alive duration ends with a frame that tells it, after one more request.
    world.set(&[("client_keep_alive.seconds", "1")]).await;
    let mut sender = world.http2("shop.example").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sender.send_request(get2("/")).await.unwrap().status(), 200);
    eventually("the connection has ended", LIMIT, || async {
        if sender.is_closed() { Ok(()) } else { Err("open".to_owned()) }
    })
    .await;

    world.set(&[("routing.http2.enabled", "false"), ("client_keep_alive.seconds", "3600")]).await;
    let stream = world.connect("shop.example", &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

/// A client that asks for a lot and reads nothing holds a bounded amount of memory for each of its requests.
#[tokio::test(flavor = "multi_thread")]
async fn responses_of_http2_that_nobody_reads_hold_bounded_memory() {
    let backend = Backend::start("one", "127.1.2.9", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let shop = world.certificate(&["shop.example"]).await;
    world.https(&shop, forward(&[(&world.group, 1)], None)).await;
    let daemon = world.instance.daemon();
    let before = memory(daemon, "VmRSS");
    let sender = world.http2("shop.example").await;
    let asked = (0..120).map(|_| {
        let mut sender = sender.clone();
        async move { sender.send_request(get2("/big")).await.unwrap() }
    });
    let unread = futures_util::future::join_all(asked).await;
    assert!(unread.iter().all(|response| response.status() == 200));
    // Another client gets all it asks for meanwhile.
    let mut body = world.http2("shop.example").await.send_request(get2("/big")).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(read, BIG);
    let most = memory(daemon, "VmHWM");
    assert!(most < before + 80, "{before} MiB before, {most} MiB at most");
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-408-issues>
/// for streams of HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn the_idle_timeout_is_for_each_request_of_http2_and_for_the_connection() {
    let backend = Backend::start("one", "127.1.2.4", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let shop = world.certificate(&["shop.example"]).await;
    world.https(&shop, forward(&[(&world.group, 1)], None)).await;
    world.set(&[("idle_timeout.timeout_seconds", "2")]).await;
    let mut sender = world.http2("shop.example").await;
    let [mut one, mut two] = [sender.clone(), sender.clone()];
    let (never, silent, events) = tokio::join!(
        one.send_request(get2("/wait")),
        two.send_request(get2("/silent")),
        sender.send_request(get2("/events")),
    );
    assert_eq!(never.unwrap().status(), 504);
    let silent = silent.unwrap().into_body().collect();
    assert!(tokio::time::timeout(LIMIT, silent).await.unwrap().is_err(), "cut, not completed");
    assert_eq!(text(events.unwrap()).await.matches("data: x").count(), 10);
    eventually("the idle connection has ended", LIMIT, || async {
        if sender.is_closed() { Ok(()) } else { Err("open".to_owned()) }
    })
    .await;
}

fn grpc(path: &str) -> Request<Full<Bytes>> {
    let request = Request::post(format!("https://shop.example{path}")).header("content-type", "application/grpc");
    request.header("te", "trailers").body(Full::new(Bytes::from_static(b"\0\0\0\0\x02hi"))).unwrap()
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-protocol-version>
/// and <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>.
#[tokio::test(flavor = "multi_thread")]
async fn protocol_versions_of_target_groups_get_what_they_speak_and_the_rest_is_464() {
    let old = Backend::start("old", "127.1.2.5", Speaks::Http1).await;
    let new = Backend::start("new", "127.1.2.6", Speaks::Http2).await;
    let world = World::new(&[&old]).await;
    let shop = world.certificate(&["shop.example"]).await;
    let http = elb::Matcher::builder().http_code("200").build();
    let codes = elb::Matcher::builder().grpc_code("0").build();
    let http2 = world.group("http2", elb::ProtocolEnum::Http, "HTTP2", http).await;
    let grpc_group = world.group("grpc", elb::ProtocolEnum::Http, "GRPC", codes).await;
    let listener = world.https(&shop, forward(&[(&http2, 1)], None)).await;
    world.register(&http2, &[&new]).await;
    let to = async |group: &String| {
        let action = forward(&[(group, 1)], None);
        world.aws.elb.modify_listener().listener_arn(&listener).default_actions(action).send().await.unwrap();
    };
    let mut sender = world.http2("shop.example").await;
    let told = text(sender.send_request(get2("/a")).await.unwrap()).await;
    assert!(told.contains("GET http://shop.example/a HTTP/2.0\n"), "{told}");
    assert_eq!(sender.send_request(grpc("/shop.Echo/Say")).await.unwrap().status(), 200, "if the target supports it");
    assert_eq!(world.http1("shop.example").await.send_request(get("/")).await.unwrap().status(), 464);
    for _ in 0..5 {
        let again = sender.send_request(get2("/")).await.unwrap();
        assert_eq!(again.status(), 200);
    }

    to(&grpc_group).await;
    world.register(&grpc_group, &[&new]).await;
    let response = sender.send_request(grpc("/shop.Echo/Say")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let whole = response.into_body().collect().await.unwrap();
    let trailers: HeaderMap = whole.trailers().unwrap().clone();
    assert_eq!((&trailers["grpc-status"], &trailers["x-name"]), (&"0".parse().unwrap(), &"new".parse().unwrap()));
    assert_eq!(whole.to_bytes(), &b"\0\0\0\0\x02hi"[..]);
    assert_eq!(sender.send_request(get2("/")).await.unwrap().status(), 464, "not a POST");
    assert_eq!(world.http1("shop.example").await.send_request(get("/")).await.unwrap().status(), 464);

    // The health check is a gRPC call, and its status must be one of the codes.
    let codes = elb::Matcher::builder().grpc_code("5-12").build();
    world.aws.elb.modify_target_group().target_group_arn(&grpc_group).matcher(codes).send().await.unwrap();
    eventually("the target is unhealthy", LIMIT, || async {
        let asked = world.aws.elb.describe_target_health().target_group_arn(&grpc_group).send().await.unwrap();
        let health = asked.target_health_descriptions()[0].target_health().unwrap().clone();
        let codes = health.description().unwrap_or_default().contains("codes: [0]");
        if codes { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;

    to(&world.group).await;
    assert_eq!(text(sender.send_request(get2("/")).await.unwrap()).await.split(' ').next(), Some("old"));
    let refused = sender.send_request(grpc("/shop.Echo/Say")).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["grpc-status"].as_bytes()), (464, &b"14"[..]));
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-routing-configuration>
#[tokio::test(flavor = "multi_thread")]
async fn targets_with_tls_are_reached_and_checked_whatever_their_certificate_is() {
    let backend = Backend::start("one", "127.1.2.7", Speaks::Tls).await;
    let world = World::new(&[]).await;
    let http = elb::Matcher::builder().http_code("200").build();
    let group = world.group("tls", elb::ProtocolEnum::Https, "HTTP1", http).await;
    world.forward_to(forward(&[(&group, 1)], None)).await;
    world.register(&group, &[&backend]).await;
    let told = reqwest::get(format!("http://{}/x", world.address(80))).await.unwrap().text().await.unwrap();
    assert!(told.starts_with("one 0\nGET /x HTTP/1.1\n"), "{told}");
    assert!(told.contains("x-forwarded-proto: http\n"), "{told}");
}

/// A WebSocket through TLS on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_works_over_an_https_listener() {
    use futures_util::{SinkExt as _, StreamExt as _};
    let backend = Backend::start("one", "127.1.2.8", Speaks::Http1).await;
    let world = World::new(&[&backend]).await;
    let shop = world.certificate(&["shop.example"]).await;
    world.https(&shop, forward(&[(&world.group, 1)], None)).await;
    let stream = world.connect("shop.example", &["http/1.1"]).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("wss://shop.example/socket", stream).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "one");
    socket.send("hello".into()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "hello");
}
