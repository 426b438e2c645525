//! Handles one request: finds its route and target, and otherwise responds as an ALB.

use super::Balancer;
use super::answer;
use super::flight::Guarded;
use super::forwards::Place;
use super::headers::{Arrival, remove_hop_by_hop, to_target};
use super::metrics::Counters;
use super::pool::Failure;
use super::routes::{Group, Listener, Route};
use super::target::{Flight, Target};
use crate::http_client::Body;
use crate::task_fault::Struck;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The default timeout of an ALB for the response of a target.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The number of attempts to choose another target if the chosen one was deregistered at the same time.
const CHOICES: usize = 16;

/// Responds to one request to a forwarded port.
pub(super) async fn answer(
    balancer: &Balancer,
    place: Place,
    client: IpAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    if let Some(status) = refusal(&parts) {
        return answer::error(status);
    }
    for _ in 0..CHOICES {
        let routes = balancer.routes(place.node);
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = parts.uri.host().or(host);
        let Place { set, listener: port, .. } = place;
        let Some(listener) = routes.listener(set, port, host) else { return answer::no_listener(port) };
        let Chosen { target, counters } = match choose(listener, &parts) {
            Ok(chosen) => chosen,
            Err(response) => return *response,
        };
        if let Some(flight) = target.enter() {
            let patience = patience(listener);
            if !prepare(listener, client, &mut parts) {
                return answer::error(StatusCode::BAD_REQUEST);
            }
            drop(routes);
            let struck = flight.0.id.parse().ok().and_then(|address| balancer.faults.meet(address, port));
            counters.requested();
            return forward(flight, &counters, patience, struck, Request::from_parts(parts, body)).await;
        }
    }
    answer::error(StatusCode::SERVICE_UNAVAILABLE)
}

/// The status of a request that an ALB refuses before it looks at its rules:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>.
fn refusal(parts: &Parts) -> Option<StatusCode> {
    // RFC 9112, section 3.2: a request of HTTP/1.1 without a host is malformed.
    let without_host = parts.version == Version::HTTP_11 && !parts.headers.contains_key(header::HOST);
    let wants_websocket = parts.headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes() == b"websocket");
    if wants_websocket {
        tracing::warn!("the local cloud has no WebSockets: {} gets an answer without an upgrade", parts.uri.path());
    }
    match parts.method {
        Method::TRACE => Some(StatusCode::METHOD_NOT_ALLOWED),
        _ => without_host.then_some(StatusCode::BAD_REQUEST),
    }
}

/// The target of a request.
struct Chosen {
    target: Arc<Target>,
    /// The counters of the target group.
    counters: Arc<Counters>,
}

/// The target of a request, or the response of the load balancer.
fn choose(listener: &Listener, parts: &Parts) -> Result<Chosen, Box<Response<Body>>> {
    let refuse = |status| Err(Box::new(answer::error(status)));
    match listener.route(&parts.method, &parts.uri, &parts.headers) {
        Some(Route::Forward(shares)) => {
            let target = |group: &Arc<Group>| {
                let target = Arc::clone(group.choose()?);
                Some(Chosen { target, counters: Arc::clone(&group.counters) })
            };
            shares.choose().and_then(target).map_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE), Ok)
        }
        Some(Route::Fixed(action)) => Err(Box::new(answer::fixed(action))),
        Some(Route::Redirect(action)) => {
            Err(Box::new(answer::redirect(action, listener.port, &parts.uri, &parts.headers)))
        }
        Some(Route::Unknown(kind)) => {
            tracing::warn!("listener {}: the local cloud does not support the action {kind:?}", listener.port);
            refuse(StatusCode::NOT_IMPLEMENTED)
        }
        None => refuse(StatusCode::NOT_FOUND),
    }
}

/// Changes the request of a client to the one that the target gets. Returns whether that is possible.
fn prepare(listener: &Listener, client: IpAddr, parts: &mut Parts) -> bool {
    let on = |key: &str| listener.setting(key) == Some("true");
    let arrival = Arrival {
        client,
        port: listener.port,
        name: &listener.balancer.dns_name,
        forwarded_for: listener.setting("routing.http.xff_header_processing.mode").unwrap_or("append"),
        preserve_host: on("routing.http.preserve_host_header.enabled"),
        drop_invalid: on("routing.http.drop_invalid_header_fields.enabled"),
    };
    to_target(&mut parts.headers, &arrival);
    // A client can use the absolute form; a target always gets the origin form.
    let Some(path) = parts.uri.path_and_query().cloned() else { return false };
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    true
}

fn patience(listener: &Listener) -> Duration {
    let seconds = listener.setting("idle_timeout.timeout_seconds").and_then(|text| text.parse().ok());
    seconds.map_or(IDLE_TIMEOUT, Duration::from_secs)
}

async fn forward(
    flight: Flight,
    counters: &Counters,
    patience: Duration,
    struck: Option<Struck>,
    request: Request<Incoming>,
) -> Response<Body> {
    let target = Arc::clone(&flight.0);
    let began = Instant::now();
    let (active, mut activity) = watch::channel(began);
    let request = request.map(|body| {
        let touched = body.map_frame(move |frame| {
            active.send_replace(Instant::now());
            frame
        });
        touched.boxed_unsync()
    });
    let answered = async {
        let response = target.pool.send(request).await;
        if let Some(Struck::Late(delay)) = struck {
            tokio::time::sleep(delay).await;
        }
        response
    };
    let answered = tokio::select! {
        answered = answered => Some(answered),
        () = idle(&mut activity, patience) => None,
    };
    match answered {
        Some(Ok(response)) => {
            let (mut parts, body) = response.into_parts();
            if let Some(Struck::Status(status)) = struck {
                parts.status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            }
            counters.answered(parts.status, began.elapsed());
            remove_hop_by_hop(&mut parts.headers);
            parts.version = Version::HTTP_11;
            Response::from_parts(parts, Guarded::new(body, flight).boxed_unsync())
        }
        Some(Err(Failure::Broken(why))) => {
            tracing::debug!("target {}:{} sent no response: {why}", target.id, target.port);
            answer::error(StatusCode::BAD_GATEWAY)
        }
        Some(Err(Failure::ConnectTimeout)) | None => {
            tracing::debug!("target {}:{} exceeded the timeout", target.id, target.port);
            answer::error(StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

/// Returns when nothing of the request has come for this long. An upload may take longer, as long as it goes on:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#connection-idle-timeout>.
async fn idle(activity: &mut watch::Receiver<Instant>, patience: Duration) {
    loop {
        let due = *activity.borrow_and_update() + patience;
        tokio::time::sleep_until(due.into()).await;
        if *activity.borrow() + patience <= Instant::now() {
            return;
        }
    }
}
