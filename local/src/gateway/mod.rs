//! The AWS endpoint: forwards every request to MiniStack unchanged, except for corrections of MiniStack and for faults.
//! It keeps a journal of the calls and refreshes the load balancer after a call that can have changed it.

mod call;
mod fault;
#[cfg(test)]
mod fuzz;
mod guard;
mod health;
mod journal;

pub(crate) use call::{Call, Caller};
pub(crate) use fault::{Effect, Fault, Faults};
pub(crate) use journal::{Entry, Journal};

use crate::access::Secret;
use crate::balancer::Balancer;
use crate::balancer::remove_hop_by_hop;
use crate::error::{Error, Result, chain};
use crate::http_client::{self, Body, HttpClient, full};
use crate::process::port_owner;
use bytes::Bytes;
use call::Protocol;
use fault::Met;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The size limit of a request head. Signed requests with presigned tokens are long.
const HEAD_LIMIT: usize = 64 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// The answer to a request without a signature.
const UNSIGNED: &str = "The request is not signed. Use the credentials of this local cloud: local-cloud exec -- COMMAND, or \
                        eval \"$(local-cloud env)\"\n";

/// The state of the endpoint, shared by its connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// The URL of the socket of MiniStack.
    upstream: String,
    /// The port of this endpoint.
    port: u16,
    secret: Secret,
    client: HttpClient,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
}

/// The connection ends without a response.
#[derive(Debug)]
struct Dropped(&'static str);

impl std::fmt::Display for Dropped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Dropped {}

/// A request, and the API call in it, if any.
struct Asked {
    parts: Parts,
    body: Body,
    call: Option<(Protocol, Call)>,
}

/// Binds the port of the endpoint on the loopback; 0 selects a free port.
pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        let owner = port_owner(port).map(|owner| format!(" by {owner}")).unwrap_or_default();
        Error::new(format!("port 127.0.0.1:{port} is in use{owner}: {error}"))
            .hint("stop that process (a local cloud: local-cloud --state DIRECTORY down), or select another port: local-cloud up \
                   --endpoint-port PORT")
    })
}

impl Gateway {
    /// An endpoint on a port, in front of the MiniStack at `upstream`, for the holders of keys of a secret.
    pub(crate) fn new(upstream: &str, port: u16, secret: Secret, balancer: Arc<Balancer>) -> Arc<Self> {
        Arc::new(Self {
            upstream: upstream.to_owned(),
            port,
            secret,
            client: http_client::client(),
            balancer,
            journal: Journal::default(),
            faults: Faults::default(),
        })
    }

    /// Serves the endpoint until the task is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection to the endpoint: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            // Without this, a response in two writes waits for the delayed acknowledgment of the client.
            let _ = stream.set_nodelay(true);
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| Arc::clone(&this).answer(request));
                let mut server = hyper::server::conn::http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
                if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!("a connection to the endpoint ended: {}", chain(&error));
                }
            });
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let caller = match self.admit(&parts) {
            Ok(caller) => caller,
            Err(refusal) => return Ok(*refusal),
        };
        let Some(asked) = read(parts, body, caller).await else { return Err(Dropped("the request was aborted")) };
        let Some((protocol, call)) = asked.call.clone() else { return Ok(self.pass(asked).await) };
        let met = self.faults.meet(&call);
        let number = self.journal.came(call.clone(), met.map(|met| met.effect.name()));
        let answered = match met {
            None => Ok(self.pass(asked).await),
            Some(met) => Arc::clone(&self).fail(asked, met, protocol, &call.service).await,
        };
        if let Ok(response) = &answered {
            self.journal.answered(number, response.status().as_u16(), began.elapsed());
        }
        answered
    }

    /// The caller of a request, or the refusal: of a request of a web page, or without credentials of this instance.
    fn admit(&self, parts: &Parts) -> Result<Caller, Box<Response<Body>>> {
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        let plain = |text: &'static str| Box::new(fault::answer(FORBIDDEN, "text/plain; charset=utf-8", text, None));
        if guard::is_from_a_page(parts, self.port) {
            return Err(plain(guard::REFUSAL));
        }
        if let Some(id) = call::signer(parts) {
            let protocol = call::protocol(parts).unwrap_or(Protocol::Rest);
            return self.secret.caller(&id).ok_or_else(|| Box::new(fault::unknown_key(protocol)));
        }
        let path = parts.uri.path();
        if parts.method == Method::GET && is_metadata(path) {
            // MiniStack knows the tokens of its tasks.
            return Ok(Caller::Client);
        }
        if path == "/v2" || path.starts_with("/v2/") {
            let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let opened = given.is_some_and(|given| self.secret.opens_registry(given));
            return if opened { Ok(Caller::Client) } else { Err(Box::new(fault::registry_login())) };
        }
        Err(plain(UNSIGNED))
    }

    /// Applies a fault to a call. If the fault lets the call run, it runs even if the client no longer waits.
    async fn fail(
        self: Arc<Self>,
        asked: Asked,
        met: Met,
        protocol: Protocol,
        service: &str,
    ) -> Result<Response<Body>, Dropped> {
        const DROPPED: Dropped = Dropped("dropped by a fault");
        let pause = Duration::from_millis(met.ms);
        match met.effect {
            Effect::Throttle => return Ok(fault::throttled(protocol, service)),
            Effect::Error => return Ok(fault::failed(protocol)),
            Effect::Drop => return Err(DROPPED),
            // Ends with the connection, when the client disconnects or the daemon stops.
            Effect::Hold => std::future::pending().await,
            Effect::Delay | Effect::DropAnswer | Effect::Late => {}
        }
        let Some(asked) = whole(asked).await else { return Err(DROPPED) };
        let late = met.effect != Effect::DropAnswer;
        let this = Arc::clone(&self);
        let done = tokio::spawn(async move {
            if late {
                tokio::time::sleep(pause).await;
            }
            this.pass(asked).await
        });
        match met.effect {
            Effect::Delay => done.await.map_err(|_| DROPPED),
            Effect::DropAnswer => {
                // The call has run when there is a response.
                let _ = done.await;
                Err(DROPPED)
            }
            _ => Err(DROPPED),
        }
    }

    /// Forwards a request, and refreshes the load balancer if the request can have changed it.
    async fn pass(&self, asked: Asked) -> Response<Body> {
        let Asked { parts, body, call } = asked;
        let balancing = call.as_ref().filter(|(_, call)| call.service == "elasticloadbalancing");
        let action = balancing.map(|(_, call)| call.action.clone()).unwrap_or_default();
        let group = balancing.and_then(|(_, call)| call.resources.iter().find(|arn| arn.contains(":targetgroup/")));
        if action == "DescribeTargetHealth"
            && let Some(targets) = group.and_then(|group| self.balancer.health(group))
        {
            return health::answer_targets(&targets);
        }
        let response = match self.send(parts, body).await {
            Ok(response) => response,
            Err(why) => {
                let text = format!("MiniStack did not respond: {why}\nSee its log: local-cloud logs ministack\n");
                return fault::answer(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", text, None);
            }
        };
        if !action.is_empty() && !action.starts_with("Describe") && response.status().is_success() {
            // When the client reads the response, the targets are current; the nodes follow the rules with their delay.
            if let Err(error) = self.balancer.refresh().await {
                tracing::warn!("cannot refresh the load balancer: {error}");
            }
        }
        response
    }

    async fn send(&self, parts: Parts, body: Body) -> Result<Response<Body>, String> {
        let mut request = Request::from_parts(parts, body);
        remove_hop_by_hop(request.headers_mut());
        // A header of this connection only: hyper requests the body from the client when it is read.
        request.headers_mut().remove(header::EXPECT);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri: Result<Uri, _> = format!("{}{path}", self.upstream).parse();
        *request.uri_mut() = uri.map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let (mut parts, body) = response.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        guard::close(&mut parts.headers);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// The paths that a task requests with its own token instead of a signature: metadata, and the credentials of its role.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>
fn is_metadata(path: &str) -> bool {
    path.starts_with("/v4/") || path.starts_with("/v2/credentials/")
}

/// Parses an API call. Reads the body only if it holds the action and is not long. `None` if the client disconnected
/// meanwhile.
async fn read(parts: Parts, body: Incoming, caller: Caller) -> Option<Asked> {
    let Some(protocol) = call::protocol(&parts) else {
        return Some(Asked { parts, body: body.boxed_unsync(), call: None });
    };
    let told = body.size_hint().exact().is_some_and(|length| length <= call::READ_LIMIT);
    let (body, text) = if told && matches!(protocol, Protocol::Query | Protocol::Json) {
        let bytes = body.collect().await.ok()?.to_bytes();
        (full(bytes.clone()), bytes)
    } else {
        (body.boxed_unsync(), Bytes::new())
    };
    let call = call::read(protocol, caller, &parts, &text).map(|call| (protocol, call));
    Some(Asked { parts, body, call })
}

/// Reads the whole body of a request, so that the request no longer needs its connection.
async fn whole(asked: Asked) -> Option<Asked> {
    let limit = usize::try_from(call::READ_LIMIT).unwrap_or(usize::MAX);
    let bytes = Limited::new(asked.body, limit).collect().await.ok()?.to_bytes();
    Some(Asked { body: full(bytes), ..asked })
}
