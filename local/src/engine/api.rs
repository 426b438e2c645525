//! The API of the engine on its Unix socket: the part of the Docker Engine API that MiniStack uses, and the status.

use super::container::{Container, Phase, TaskReport};
use super::output::Stream;
use super::wire::{self, CreateBody, Filters};
use super::{CreateError, Engine};
use crate::error::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// The path of the status, beside the paths of Docker.
pub(crate) const STATUS_PATH: &str = "/local-cloud/status";

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Parameters = BTreeMap<String, String>;

/// The response of [`STATUS_PATH`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EngineStatus {
    pub(crate) tasks: Vec<TaskReport>,
    /// The last images that could not be pulled, with the cause.
    pub(crate) pull_failures: Vec<String>,
}

/// Binds the socket, and replaces one of an earlier run.
pub(crate) fn bind(path: &Path) -> Result<UnixListener> {
    // This process holds the file lock of the instance, so no other process listens on the socket.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).context(|| format!("cannot listen on {}", path.display()))
}

/// Serves the API until the task is dropped.
pub(crate) async fn serve(listener: UnixListener, engine: Arc<Engine>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let engine = Arc::clone(&engine);
                // If the client disconnects, a start or a stop must still complete.
                async move {
                    let answered = tokio::spawn(async move { engine.answer(request).await }).await;
                    Ok::<_, Infallible>(answered.unwrap_or_else(|error| {
                        failure(StatusCode::INTERNAL_SERVER_ERROR, &format!("the request was aborted: {error}"))
                    }))
                }
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!("a connection to the engine ended: {error}");
            }
        });
    }
}

impl Engine {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = crate::form::decode_path(without_version(parts.uri.path()));
        let parameters = wire::parameters(parts.uri.query().unwrap_or(""));
        let get = parts.method == Method::GET;
        if let Some(rest) = path.strip_prefix("/containers/") {
            return match (parts.method, rest.rsplit_once('/')) {
                (Method::POST, None) if rest == "create" => self.answer_create(&parameters, body).await,
                (Method::GET, None) if rest == "json" => self.answer_list(&parameters),
                (Method::DELETE, None) => self.answer_remove(rest, &parameters).await,
                (method, Some((id, action))) => self.answer_container(&method, id, action, &parameters).await,
                _ => not_found(&path),
            };
        }
        match path.as_str() {
            "/_ping" => text("OK"),
            "/version" if get => answer(StatusCode::OK, &wire::version()),
            "/info" if get => {
                answer(StatusCode::OK, &json!({ "ServerVersion": env!("CARGO_PKG_VERSION"), "OSType": "linux" }))
            }
            "/images/create" if parts.method == Method::POST => self.answer_pull(&parameters).await,
            STATUS_PATH if get => {
                let status = EngineStatus { tasks: self.reports(), pull_failures: self.pull_failures() };
                answer(StatusCode::OK, &json!(status))
            }
            _ => self.answer_image(&parts.method, &path, &parameters).await,
        }
    }

    async fn answer_image(&self, method: &Method, path: &str, parameters: &Parameters) -> Response<Body> {
        let named = |prefix: &str, suffix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        if let Some(name) = named("/distribution/", "/json") {
            return match self.images.resolve(name).await {
                Ok(digest) => answer(StatusCode::OK, &json!({ "Descriptor": { "digest": digest }, "Platforms": [] })),
                Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
            };
        }
        if let (&Method::GET, Some(name)) = (method, named("/images/", "/json")) {
            return match self.images.find(name) {
                Some(image) => answer(StatusCode::OK, &wire::image(&image)),
                None => no_such_image(name),
            };
        }
        if let (&Method::POST, Some(name)) = (method, named("/images/", "/tag")) {
            let Some(image) = self.images.find(name) else { return no_such_image(name) };
            let tag = parameters.get("tag").map_or("latest", String::as_str);
            let new = format!("{}:{tag}", parameters.get("repo").map_or("", String::as_str));
            return match self.images.tag(&image, &new) {
                Ok(()) => nothing(StatusCode::CREATED),
                Err(error) => failure(StatusCode::BAD_REQUEST, error.message()),
            };
        }
        not_found(path)
    }

    async fn answer_pull(&self, parameters: &Parameters) -> Response<Body> {
        let name = parameters.get("fromImage").map_or("", String::as_str);
        let name = match parameters.get("tag").filter(|tag| !tag.is_empty()) {
            Some(digest) if digest.starts_with("sha256:") => format!("{name}@{digest}"),
            Some(tag) => format!("{name}:{tag}"),
            None => name.to_owned(),
        };
        match self.pull(&name).await {
            Ok(digest) => text(&format!("{}\n", json!({ "status": format!("Digest: {digest}") }))),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
        }
    }

    async fn answer_create(&self, parameters: &Parameters, body: Incoming) -> Response<Body> {
        let Ok(body) = body.collect().await else {
            return failure(StatusCode::BAD_REQUEST, "the request was aborted");
        };
        let body: CreateBody = match serde_json::from_slice(&body.to_bytes()) {
            Ok(body) => body,
            Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("not a container: {error}")),
        };
        match self.create(body.wish(parameters.get("name").cloned().unwrap_or_default())) {
            Ok(container) => answer(StatusCode::CREATED, &json!({ "Id": container.id, "Warnings": [] })),
            Err(CreateError::NoSuchImage(name)) => no_such_image(&name),
            Err(CreateError::Other(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
        }
    }

    fn answer_list(&self, parameters: &Parameters) -> Response<Body> {
        let all = parameters.get("all").is_some_and(|all| matches!(all.as_str(), "1" | "true" | "True"));
        let filters = Filters::parse(parameters.get("filters").map_or("", String::as_str));
        let wanted = |found: &&Arc<Container>| {
            (all || wire::status(found.phase()) == "running") && filters.match_labels(&found.labels)
        };
        let list: Vec<Value> = self.list().iter().filter(wanted).map(|found| wire::listed(found)).collect();
        answer(StatusCode::OK, &Value::Array(list))
    }

    async fn answer_remove(&self, id: &str, parameters: &Parameters) -> Response<Body> {
        let Some(container) = self.find(id) else { return no_such_container(id) };
        if container.phase() != Phase::Exited && container.phase() != Phase::Created {
            if !parameters.get("force").is_some_and(|force| matches!(force.as_str(), "1" | "true" | "True")) {
                return failure(StatusCode::CONFLICT, "the container is running: stop it first, or force its removal");
            }
            self.stop(&container, Duration::ZERO).await;
        }
        self.remove(&container);
        nothing(StatusCode::NO_CONTENT)
    }

    async fn answer_container(
        self: &Arc<Self>,
        method: &Method,
        id: &str,
        action: &str,
        parameters: &Parameters,
    ) -> Response<Body> {
        if (method, id, action) == (&Method::GET, wire::SELF_NAME, "json") {
            return answer(StatusCode::OK, &wire::inspect_self());
        }
        let Some(container) = self.find(id) else { return no_such_container(id) };
        match (method.as_str(), action) {
            ("GET", "json") => answer(StatusCode::OK, &wire::inspect(&container)),
            ("GET", "logs") => logs(&container, parameters),
            ("POST", "start") if container.phase() != Phase::Created => nothing(StatusCode::NOT_MODIFIED),
            ("POST", "start") => match self.start(&container).await {
                Ok(()) => nothing(StatusCode::NO_CONTENT),
                Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
            },
            ("POST", "stop") if container.phase() == Phase::Exited => nothing(StatusCode::NOT_MODIFIED),
            ("POST", "stop") => {
                let seconds = parameters.get("t").and_then(|t| t.parse().ok()).unwrap_or(10);
                self.stop(&container, Duration::from_secs(seconds)).await;
                nothing(StatusCode::NO_CONTENT)
            }
            ("POST", "kill") => {
                self.kill(&container).await;
                nothing(StatusCode::NO_CONTENT)
            }
            ("POST", "wait") => {
                let code = container.ended().await.exit_code.unwrap_or(-1);
                answer(StatusCode::OK, &json!({ "StatusCode": code }))
            }
            _ => not_found(&format!("/containers/{id}/{action}")),
        }
    }
}

/// `GET /containers/{id}/logs`: the output so far, and with `follow` new output until the container has ended.
fn logs(container: &Arc<Container>, parameters: &Parameters) -> Response<Body> {
    let on = |name: &str| parameters.get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "True"));
    let (follow, stdout, stderr) = (on("follow"), on("stdout"), on("stderr"));
    let wanted = move |stream| if stream == Stream::Stdout { stdout } else { stderr };
    let output = Arc::clone(&container.output);
    let from = parameters.get("tail").and_then(|tail| tail.parse().ok()).map_or(0, |count| output.tail_start(count));
    let watch = output.watch();
    let frames = stream::unfold((output, watch, from, false), move |(output, mut watch, from, done)| async move {
        if done {
            return None;
        }
        loop {
            watch.mark_unchanged();
            let batch = output.batch(from, wanted);
            let done = batch.end || !follow;
            if done || !batch.frames.is_empty() {
                return Some((Ok::<_, Infallible>(Frame::data(batch.frames)), (output, watch, batch.next, done)));
            }
            // The sender is in `output`, which this function holds.
            let _ = watch.changed().await;
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let multiplexed = header::HeaderValue::from_static("application/vnd.docker.multiplexed-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, multiplexed);
    response
}

/// `/v1.44/containers/json` is `/containers/json`.
fn without_version(path: &str) -> &str {
    match path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
        Some((version, _)) if version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            &path[version.len() + 2..]
        }
        _ => path,
    }
}

fn body(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn text(text: &str) -> Response<Body> {
    Response::new(body(Bytes::from(text.to_owned())))
}

fn nothing(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    answer(status, &json!({ "message": message }))
}

fn not_found(path: &str) -> Response<Body> {
    failure(StatusCode::NOT_FOUND, &format!("the engine of the local cloud does not support {path}"))
}

fn no_such_container(id: &str) -> Response<Body> {
    failure(StatusCode::NOT_FOUND, &format!("No such container: {id}"))
}

fn no_such_image(name: &str) -> Response<Body> {
    failure(StatusCode::NOT_FOUND, &format!("No such image: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_version_is_taken_off_a_path() {
        assert_eq!(without_version("/v1.44/containers/json"), "/containers/json");
        assert_eq!(without_version("/version"), "/version");
        assert_eq!(without_version("/volumes/x"), "/volumes/x");
    }
}
