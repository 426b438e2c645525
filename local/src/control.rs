//! The API that the commands use to query and control a running local cloud: faults, the lag, and the journal, over a
//! Unix socket.

use crate::error::{Context, Error, Result};
use crate::gateway::{Caller, Fault, Gateway};
use crate::http_client::full;
use crate::task_fault::TaskFault;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The path of every request.
const PATH: &str = "/";
/// The size limit of a request body.
const QUESTION_LIMIT: usize = 64 * 1024;
/// Time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question to a running local cloud.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// The calls after the call with a number. Answered with a list of entries.
    Calls { after: u64, caller: Option<Caller> },
    /// The forwarded ports. Answered with a list of sets, one of which is free.
    Forwards,
    /// Add a fault of API calls. Answered with the fault and its id.
    AddFault(Fault),
    /// List the faults of API calls.
    Faults,
    /// Add a fault of tasks. Answered with the fault and its id.
    AddTaskFault(TaskFault),
    /// List the faults of tasks.
    TaskFaults,
    /// Set the lag of the last node of the load balancer, in milliseconds. Answered with the lag and its id.
    SetLag(u64),
    /// The lag, or null if there is none.
    Lag,
    /// Remove the fault or lag with an id, or all. Answered with the number of removed entries.
    ClearFaults(Option<u64>),
}

/// Serves questions until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, gateway: Arc<Gateway>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let gateway = Arc::clone(&gateway);
                async move { Ok::<_, Infallible>(answer(&gateway, request).await) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to the control socket ended: {error}");
            }
        });
    }
}

async fn answer(gateway: &Gateway, request: Request<Incoming>) -> Response<crate::http_client::Body> {
    let body = Limited::new(request.into_body(), QUESTION_LIMIT).collect().await;
    let question = body
        .map_err(|error| error.to_string())
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string()));
    let answered = match question {
        Ok(question) => answer_question(gateway, question).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    let (status, bytes) = match answered {
        Ok(bytes) => (StatusCode::OK, bytes),
        Err(why) => (StatusCode::BAD_REQUEST, why.into_bytes()),
    };
    let mut response = Response::new(full(Bytes::from(bytes)));
    *response.status_mut() = status;
    response
}

async fn answer_question(gateway: &Gateway, question: Question) -> serde_json::Result<Vec<u8>> {
    match question {
        Question::Calls { after, caller } => serde_json::to_vec(&gateway.journal.after(after, caller)),
        Question::Forwards => serde_json::to_vec(&gateway.balancer.forwards().await),
        Question::AddFault(fault) => serde_json::to_vec(&gateway.faults.add(fault)),
        Question::Faults => serde_json::to_vec(&gateway.faults.list()),
        Question::AddTaskFault(fault) => serde_json::to_vec(&gateway.balancer.faults().add(fault)),
        Question::TaskFaults => serde_json::to_vec(&gateway.balancer.faults().list()),
        Question::SetLag(ms) => serde_json::to_vec(&gateway.balancer.set_lag(ms)),
        Question::Lag => serde_json::to_vec(&gateway.balancer.lag()),
        Question::ClearFaults(id) => {
            let rules = gateway.faults.clear(id) + gateway.balancer.faults().clear(id);
            serde_json::to_vec(&(rules + gateway.balancer.clear_lag(id)))
        }
    }
}

/// Sends a question to a running local cloud.
pub(crate) async fn ask<T: DeserializeOwned>(socket: &Path, question: &Question) -> Result<T> {
    let body = serde_json::to_vec(question).context(|| "cannot encode a question".into())?;
    request(socket, Method::POST, PATH, Bytes::from(body)).await
}

/// Sends a request to a Unix socket of the daemon and reads the JSON answer.
pub(crate) async fn request<T: DeserializeOwned>(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<T> {
    let shown = socket.display();
    let failed = || format!("no answer from {shown}");
    let asked = async {
        let stream = UnixStream::connect(socket).await.context(|| format!("cannot reach {shown}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context(failed)?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(http::header::HOST, "local-cloud");
        let request = request.body(Full::new(body)).context(failed)?;
        let response = sender.send_request(request).await.context(failed)?;
        let status = response.status();
        let body = response.into_body().collect().await.context(failed)?.to_bytes();
        if !status.is_success() {
            return Err(Error::new(format!("the daemon answered {status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Error::new(format!("cannot read the answer of the daemon: {error}"))
                .hint("the daemon is probably another version of this program: local-cloud down, then local-cloud up")
        })
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(Error::new("the daemon does not answer").hint("local-cloud down, then local-cloud up")))
}
