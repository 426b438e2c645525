//! The AWS endpoint: everything passes through to MiniStack unchanged, except what MiniStack gets wrong and what a fault
//! says. It keeps a journal of the calls, and tells the load balancer at once when one may have changed it.

mod call;
mod fault;
mod health;
mod journal;

pub(crate) use call::{Call, Caller};
pub(crate) use fault::{Effect, Fault, Faults};
pub(crate) use journal::{Entry, Journal};

use crate::balancer::Balancer;
use crate::balancer::remove_hop_by_hop;
use crate::error::{Error, Result, chain};
use crate::http_client::{self, Body, HttpClient, full};
use crate::process::port_owner;
use bytes::Bytes;
use call::Protocol;
use fault::Met;
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// As much of a request's head as is read. Signed requests with presigned tokens in them are long.
const HEAD_LIMIT: usize = 64 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// The endpoint's state, shared by its connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// `127.0.0.1:PORT` of MiniStack.
    upstream: String,
    client: HttpClient,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Dropped(&'static str);

impl std::fmt::Display for Dropped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Dropped {}

/// A request, read as far as it is understood.
struct Asked {
    parts: Parts,
    body: Body,
    call: Option<(Protocol, Call)>,
}

/// Binds the endpoint's port on the loopback; 0 takes a free one.
pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        let owner = port_owner(port).map(|owner| format!(" by {owner}")).unwrap_or_default();
        Error::new(format!("port 127.0.0.1:{port} is taken{owner}: {error}"))
            .hint("end what uses it, or choose another port: local-cloud up --endpoint-port PORT")
    })
}

impl Gateway {
    /// An endpoint in front of the MiniStack on `port`.
    pub(crate) fn new(port: u16, balancer: Arc<Balancer>) -> Arc<Self> {
        Arc::new(Self {
            upstream: format!("127.0.0.1:{port}"),
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
            // Without it a response in two writes waits for the client's delayed acknowledgement.
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
        let Some(asked) = read(parts, body).await else { return Err(Dropped("the request broke off")) };
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

    /// A call that meets a fault. What it still does, it does even where its client does not wait for it.
    async fn fail(
        self: Arc<Self>,
        asked: Asked,
        met: Met,
        protocol: Protocol,
        service: &str,
    ) -> Result<Response<Body>, Dropped> {
        const DROPPED: Dropped = Dropped("dropped, as a fault says");
        let pause = Duration::from_millis(met.ms);
        match met.effect {
            Effect::Throttle => return Ok(fault::throttled(protocol, service)),
            Effect::Error => return Ok(fault::failed(protocol)),
            Effect::Drop => return Err(DROPPED),
            // Ends with the connection: the client gives up, or the daemon does.
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
                // It has happened once there is an answer.
                let _ = done.await;
                Err(DROPPED)
            }
            _ => Err(DROPPED),
        }
    }

    /// Passes a request on, and lets the load balancer know where it may have changed something.
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
                let text = format!("MiniStack did not answer: {why}\nSee: local-cloud logs ministack\n");
                return fault::answer(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", text, None);
            }
        };
        if !action.is_empty() && !action.starts_with("Describe") && response.status().is_success() {
            // Whoever reads the answer finds targets as they are now; the nodes follow the rules when they do.
            if let Err(error) = self.balancer.refresh().await {
                tracing::warn!("the load balancer is behind: {error}");
            }
        }
        response
    }

    async fn send(&self, parts: Parts, body: Body) -> Result<Response<Body>, String> {
        let mut request = Request::from_parts(parts, body);
        remove_hop_by_hop(request.headers_mut());
        // It concerns this connection: hyper asks the client for the body when it is read.
        request.headers_mut().remove(header::EXPECT);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority(self.upstream.as_str()).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let (mut parts, body) = response.into_parts();
        remove_hop_by_hop(&mut parts.headers);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// Reads what is an API call; only the bodies that say what is asked, and none that is long. `None` where the client went
/// away meanwhile.
async fn read(parts: Parts, body: Incoming) -> Option<Asked> {
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
    let call = call::read(protocol, &parts, &text).map(|call| (protocol, call));
    Some(Asked { parts, body, call })
}

/// A request with all of its body here, so that it no longer needs its connection.
async fn whole(asked: Asked) -> Option<Asked> {
    let limit = usize::try_from(call::READ_LIMIT).unwrap_or(usize::MAX);
    let bytes = Limited::new(asked.body, limit).collect().await.ok()?.to_bytes();
    Some(Asked { body: full(bytes), ..asked })
}
