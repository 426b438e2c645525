//! Handles one request: finds its route and target, and otherwise responds as an ALB.

use super::activity::{Pulse, Visit};
use super::answer::{self, Redirected};
use super::body::{Download, Passing, Progress, Upload};
use super::headers::{Arrival, remove_hop_by_hop, to_target, without_port};
use super::pool::{Failure, Pooled};
use super::routes::{Group, Listener, Route, is_this_machine};
use super::screen::{self, Compliance, Verdict};
use super::serve::Link;
use super::sticky::{self, Cookies, Placed};
use super::target::Flight;
use super::wire::Touching;
use crate::engine::probe::HttpVersion;
use crate::task_fault::Struck;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The default of `idle_timeout.timeout_seconds`.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The default of `client_keep_alive.seconds`.
const KEEP_ALIVE: Duration = Duration::from_hours(1);
/// The requests that one connection of HTTP/2 serves at most:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#response-code-000>.
const REQUESTS: u32 = 10_000;
/// The number of attempts to choose another target if the chosen one was deregistered at the same time.
const CHOICES: usize = 16;

/// Responds to one request on a connection to a forwarded port.
pub(super) async fn answer(link: &Link, mut request: Request<Incoming>) -> Response<Passing> {
    let visit = link.activity.enter();
    let head = link.activity.take_head();
    let number = link.count();
    let upgrade = on(&mut request);
    let grpc = is_grpc(request.headers());
    let mut terms = Terms { last: number >= REQUESTS && link.http2, keep_alive: KEEP_ALIVE };
    let mut response = match respond(link, &mut terms, visit, &head, upgrade, request).await {
        Ok(response) => response,
        Err(Refused::Page(status)) if grpc => answer::grpc_error(status),
        Err(Refused::Page(status)) => answer::error(status),
        Err(Refused::Own(response)) => *response,
    };
    // The last response on a connection says so:
    // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#http-client-keep-alive-duration
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !upgraded && (terms.last || link.since.elapsed() >= terms.keep_alive) {
        if link.http2 {
            link.closing.notify_one();
        } else {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    if !link.http2 {
        link.activity.mark_own();
    }
    *response.version_mut() = Version::HTTP_11;
    response
}

/// How long the connection of an exchange lasts.
struct Terms {
    /// Whether this is the last exchange.
    last: bool,
    keep_alive: Duration,
}

/// Why no target gets a request.
enum Refused {
    /// With an error page.
    Page(StatusCode),
    Own(Box<Response<Passing>>),
}

impl From<StatusCode> for Refused {
    fn from(status: StatusCode) -> Self {
        Self::Page(status)
    }
}

impl From<Response<Passing>> for Refused {
    fn from(response: Response<Passing>) -> Self {
        Self::Own(Box::new(response))
    }
}

async fn respond(
    link: &Link,
    terms: &mut Terms,
    visit: Visit,
    head: &[u8],
    upgrade: OnUpgrade,
    request: Request<Incoming>,
) -> Result<Response<Passing>, Refused> {
    let (mut parts, body) = request.into_parts();
    if let Some(status) = screen::refusal(&parts) {
        return Err(status.into());
    }
    let (balancer, place) = (&link.balancer, link.place);
    for _ in 0..CHOICES {
        let routes = balancer.routes(place.node);
        let host = host(&parts).to_owned();
        let port = place.listener;
        let Some(listener) = routes.listener(place.set, port, Some(&host)) else {
            return Err(answer::no_listener(port).into());
        };
        if listener.tls.is_some() && link.tls.is_none() {
            return Err(answer::plain_to_tls().into());
        }
        let limit = listener.seconds("idle_timeout.timeout_seconds").unwrap_or(IDLE_TIMEOUT);
        link.activity.set_limit(limit);
        terms.keep_alive = listener.seconds("client_keep_alive.seconds").unwrap_or(KEEP_ALIVE);
        let mode = listener.setting("routing.http.desync_mitigation_mode").unwrap_or("defensive");
        match Compliance::of(head, &parts.method).verdict(mode) {
            Verdict::Allowed => {}
            Verdict::AllowedOnce => terms.last = true,
            Verdict::Blocked => {
                terms.last = true;
                return Err(StatusCode::BAD_REQUEST.into());
            }
        }
        let placed = choose(link, listener, &host, &parts)?;
        let Some(flight) = placed.target.enter() else { continue };
        let websocket = wants_websocket(link, &placed.group, &parts);
        prepare(link, listener, &placed.group, websocket, &mut parts)?;
        drop(routes);
        let struck = flight.0.id.parse().ok().and_then(|address| balancer.faults.meet(address, port));
        placed.group.counters.requested();
        let exchange = Exchange { link, placed, flight, visit, limit, struck, reusable: !terms.last };
        return exchange.forward(Request::from_parts(parts, body), websocket.then_some(upgrade)).await;
    }
    Err(StatusCode::SERVICE_UNAVAILABLE.into())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The host of a request, with its port; empty if there is none.
fn host(parts: &Parts) -> &str {
    let header = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    parts.uri.authority().map(Authority::as_str).or(header).unwrap_or_default()
}

/// The target of a request, or the response of the load balancer.
fn choose(link: &Link, listener: &Listener, host: &str, parts: &Parts) -> Result<Placed, Refused> {
    match listener.route(&parts.method, &parts.uri, &parts.headers) {
        Some(Route::Forward(shares)) => {
            let (signer, cookies) = (&link.balancer.signer, Cookies::read(&parts.headers));
            let group = sticky::group(signer, &cookies, shares).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
            if !fits(link, group, parts) {
                return Err(StatusCode::from_u16(464).unwrap_or(StatusCode::BAD_REQUEST).into());
            }
            Ok(sticky::place(signer, &cookies, shares, group).ok_or(StatusCode::SERVICE_UNAVAILABLE)?)
        }
        Some(Route::Fixed(action)) => Err(answer::fixed(action).into()),
        Some(Route::Redirect(action)) => {
            let host = without_port(host);
            let (secure, port) = (link.tls.is_some(), listener.port);
            let redirected = Redirected { secure, host, port, uri: &parts.uri };
            // Who came to a forwarded port stays at the forwarded ports.
            let forwarded = |port| is_this_machine(host).then(|| link.balancer.forwarded(link.place.set, port))?;
            Err(answer::redirect(action, &redirected, forwarded).into())
        }
        Some(Route::Unknown(kind)) => {
            tracing::warn!("listener {}: the local cloud does not support the action {kind:?}", listener.port);
            Err(StatusCode::NOT_IMPLEMENTED.into())
        }
        None => Err(StatusCode::NOT_FOUND.into()),
    }
}

/// Whether a group can get the request:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-protocol-version>.
fn fits(link: &Link, group: &Group, parts: &Parts) -> bool {
    match group.settings.protocol.version {
        HttpVersion::Http1 => !(link.http2 && is_grpc(&parts.headers)),
        HttpVersion::Http2 => link.http2,
        HttpVersion::Grpc => link.http2 && parts.method == Method::POST,
    }
}

/// Whether the client asks for a WebSocket, and the target can have one.
fn wants_websocket(link: &Link, group: &Group, parts: &Parts) -> bool {
    let has = |name, wanted: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let one = !link.http2 && group.settings.protocol.version == HttpVersion::Http1;
    one && has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// Changes the request of a client to the one that the target gets.
fn prepare(
    link: &Link,
    listener: &Listener,
    group: &Group,
    websocket: bool,
    parts: &mut Parts,
) -> Result<(), StatusCode> {
    let on = |key: &str| listener.setting(key) == Some("true");
    // In HTTP/2, the host is a part of the target.
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| StatusCode::BAD_REQUEST)?;
        parts.headers.insert(header::HOST, host);
    }
    // HTTP/2 can send each cookie in a separate field.
    let cookies: Vec<&[u8]> = parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let all = HeaderValue::from_bytes(&cookies.join(&b"; "[..])).map_err(|_| StatusCode::BAD_REQUEST)?;
        parts.headers.insert(header::COOKIE, all);
    }
    let facts = on("routing.http.x_amzn_tls_version_and_cipher_suite.enabled").then_some(link.tls.as_ref()).flatten();
    let arrival = Arrival {
        client: link.client,
        secure: link.tls.is_some(),
        facts,
        port: listener.port,
        name: &listener.balancer.dns_name,
        forwarded_for: listener.setting("routing.http.xff_header_processing.mode").unwrap_or("append"),
        client_port: on("routing.http.xff_client_port.enabled"),
        preserve_host: on("routing.http.preserve_host_header.enabled"),
        drop_invalid: on("routing.http.drop_invalid_header_fields.enabled"),
    };
    let trailers =
        parts.headers.get(header::TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    to_target(&mut parts.headers, &arrival);
    // A client can use the absolute form; a target of HTTP/1.1 always gets the origin form.
    let path = parts.uri.path_and_query().cloned().ok_or(StatusCode::BAD_REQUEST)?;
    parts.extensions.clear();
    if group.settings.protocol.version == HttpVersion::Http1 {
        parts.uri = Uri::from(path);
        parts.version = Version::HTTP_11;
        if websocket {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        return Ok(());
    }
    let host = parts.headers.remove(header::HOST).ok_or(StatusCode::BAD_REQUEST)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let scheme = if group.settings.protocol.tls { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    parts.uri = uri.map_err(|_| StatusCode::BAD_REQUEST)?;
    parts.version = Version::HTTP_2;
    if trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// A request with its target.
struct Exchange<'a> {
    link: &'a Link,
    placed: Placed,
    flight: Flight,
    visit: Visit,
    /// The idle timeout.
    limit: Duration,
    struck: Option<Struck>,
    /// Whether the connection to the target can serve another request.
    reusable: bool,
}

impl Exchange<'_> {
    async fn forward(
        mut self,
        request: Request<Incoming>,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Passing>, Refused> {
        let target = Arc::clone(&self.flight.0);
        let began = Instant::now();
        let (pulse, progress) = (Arc::new(Pulse::new()), Arc::new(Progress::default()));
        let request = request.map(|body| Upload::new(body, &pulse, &progress).boxed_unsync());
        let answered = async {
            let response = target.pool.send(request).await;
            if let Some(Struck::Late(delay)) = self.struck {
                tokio::time::sleep(delay).await;
            }
            response
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = pulse.silent(self.limit) => {
                let status = if progress.waits_for_client() {
                    StatusCode::REQUEST_TIMEOUT
                } else {
                    StatusCode::GATEWAY_TIMEOUT
                };
                tracing::debug!("target {}: {status} after the idle timeout", target.name());
                return Err(status.into());
            }
            () = target.cut_off() => {
                tracing::debug!("target {}: its deregistration delay is over", target.name());
                return Err(StatusCode::BAD_GATEWAY.into());
            }
        };
        match answered {
            Ok(response) => {
                let mut status = response.status();
                if let Some(Struck::Status(struck)) = self.struck {
                    status = StatusCode::from_u16(struck).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                }
                self.placed.group.counters.answered(status, began.elapsed());
                self.visit.answered();
                self.pass(status, response, pulse, upgrade)
            }
            Err(Failure::Broken(why)) => {
                tracing::debug!("target {} sent no response: {why}", target.name());
                Err(StatusCode::BAD_GATEWAY.into())
            }
            Err(Failure::ConnectTimeout) => {
                tracing::debug!("target {} accepted no connection in time", target.name());
                Err(StatusCode::GATEWAY_TIMEOUT.into())
            }
        }
    }

    /// Passes a response on.
    fn pass(
        self,
        status: StatusCode,
        mut response: Response<Pooled>,
        pulse: Arc<Pulse>,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Passing>, Refused> {
        let switching = status == StatusCode::SWITCHING_PROTOCOLS;
        let target = switching.then(|| on(&mut response));
        let (mut parts, mut body) = response.into_parts();
        parts.status = status;
        if screen::is_too_large(&parts.headers) {
            tracing::debug!("target {}: the headers of its response are too large", self.placed.target.name());
            return Err(StatusCode::BAD_GATEWAY.into());
        }
        remove_hop_by_hop(&mut parts.headers);
        self.placed.mark(&self.link.balancer.signer, &mut parts.headers, self.link.tls.is_some());
        if let Some(target) = target {
            let Some(client) = upgrade else {
                tracing::debug!("target {} switches protocols without a request", self.placed.target.name());
                return Err(StatusCode::BAD_GATEWAY.into());
            };
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            tokio::spawn(relay(client, target, self.flight, self.limit, body));
            return Ok(Response::from_parts(parts, super::body::own(crate::http_client::empty())));
        }
        body.settle(self.reusable);
        let body = Download::new(body, pulse, self.limit, self.flight, self.visit);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// Relays the bytes of a WebSocket until it ends, is idle, or its target is cut off.
async fn relay(client: OnUpgrade, target: OnUpgrade, flight: Flight, limit: Duration, connection: Pooled) {
    let target_of = Arc::clone(&flight.0);
    let pulse = Arc::new(Pulse::new());
    let relayed = async {
        let (client, target) = tokio::try_join!(client, target).map_err(|error| crate::error::chain(&error))?;
        drop(connection);
        let (mut from_client, mut to_client) = tokio::io::split(Touching::new(TokioIo::new(client), &pulse));
        let (mut from_target, mut to_target) = tokio::io::split(Touching::new(TokioIo::new(target), &pulse));
        // A WebSocket has no half: it ends when either side closes its connection.
        let copied = tokio::select! {
            copied = tokio::io::copy(&mut from_client, &mut to_target) => copied,
            copied = tokio::io::copy(&mut from_target, &mut to_client) => copied,
        };
        copied.map(|_| ()).map_err(|error| error.to_string())
    };
    let ended = tokio::select! {
        ended = relayed => ended,
        () = pulse.silent(limit) => Err("it was idle for too long".to_owned()),
        () = target_of.cut_off() => Err("the deregistration delay of its target is over".to_owned()),
    };
    if let Err(why) = ended {
        tracing::debug!("a WebSocket to {} ended: {why}", target_of.name());
    }
    drop(flight);
}
