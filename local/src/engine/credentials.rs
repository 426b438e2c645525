//! Credentials and metadata of a task at the address of ECS, 169.254.170.2. Each task has this service for itself and gets
//! only what is its own.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>

use crate::error::chain;
use crate::http_client::{self, Body, HttpClient};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

const ADDRESS: &str = "http://169.254.170.2";
/// The variables of MiniStack that lead to its endpoint, and those of ECS in their place.
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const METADATA_URI: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// The size limit of the head of a request, and the time in which it must be there.
const HEAD_LIMIT: usize = 16 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What a container gets from this service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// The path of its credentials, and the token for MiniStack, which the task does not know.
    credentials: Option<(String, String)>,
    /// The path of its metadata.
    metadata: Option<String>,
}

/// The environment of a container as on ECS: with a path at the address of ECS in place of a URL and a token. And what the
/// container gets there.
pub(super) fn as_on_ecs(environment: &[String]) -> (Vec<String>, Access) {
    let value = |wanted: &str| {
        let mut pairs = environment.iter().filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    let path = |name: &str| {
        let url: http::Uri = value(name)?.parse().ok()?;
        Some(url.path().to_owned())
    };
    let access = Access { credentials: path(FULL_URI).zip(value(TOKEN)), metadata: path(METADATA_URI) };
    let replaced = |name: &str| match name {
        FULL_URI | TOKEN => access.credentials.is_some(),
        METADATA_URI => access.metadata.is_some(),
        _ => false,
    };
    let mut own: Vec<String> = environment.to_vec();
    own.retain(|pair| !pair.split_once('=').is_some_and(|(name, _)| replaced(name)));
    own.extend(access.credentials.iter().map(|(path, _)| format!("{RELATIVE_URI}={path}")));
    own.extend(access.metadata.iter().map(|path| format!("{METADATA_URI}={ADDRESS}{path}")));
    (own, access)
}

/// How MiniStack answers a request of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Admitted {
    /// With this token: credentials.
    WithToken(String),
    /// Without a token: metadata.
    Freely,
}

/// The service of one task.
#[derive(Debug)]
pub(super) struct TaskService {
    /// The URL of the socket of MiniStack.
    upstream: String,
    client: HttpClient,
    containers: Mutex<Vec<Access>>,
}

impl TaskService {
    pub(super) fn new(upstream: &str) -> Arc<Self> {
        Arc::new(Self { upstream: upstream.to_owned(), client: http_client::client(), containers: Mutex::default() })
    }

    /// Lets the task get what belongs to one of its containers.
    pub(super) fn allow(&self, access: Access) {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }

    /// Serves the task until the future is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!("cannot accept a request for credentials: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let this = Arc::clone(&this);
                    async move { Ok::<_, Infallible>(this.answer(&request).await) }
                });
                let mut server = hyper::server::conn::http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_LIMIT);
                if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!("a connection for credentials ended: {}", chain(&error));
                }
            });
        }
    }

    /// Whether a path belongs to this task. `None` if it belongs to another task, or to nobody.
    fn admit(&self, path: &str) -> Option<Admitted> {
        let containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.iter().find_map(|access| match access {
            Access { credentials: Some((own, token)), .. } if own == path => Some(Admitted::WithToken(token.clone())),
            Access { metadata: Some(own), .. } => {
                let rest = path.strip_prefix(own.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some(Admitted::Freely)
            }
            Access { .. } => None,
        })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        let path = request.uri().path();
        let Some(admitted) = self.admit(path) else {
            return plain(StatusCode::NOT_FOUND, "this task has no such credentials or metadata\n".to_owned());
        };
        match self.forward(path, admitted).await {
            Ok(response) => response,
            Err(why) => plain(StatusCode::BAD_GATEWAY, format!("MiniStack did not respond: {why}\n")),
        }
    }

    async fn forward(&self, path: &str, admitted: Admitted) -> Result<Response<Body>, String> {
        let mut request = Request::get(format!("{}{path}", self.upstream)).header(header::HOST, "localhost");
        if let Admitted::WithToken(token) = admitted {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(http_client::empty()).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| chain(&error))?.to_bytes();
        let mut answer = Response::new(http_client::full(body));
        *answer.status_mut() = status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(http_client::full(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[&str]) -> Vec<String> {
        list.iter().map(|pair| (*pair).to_owned()).collect()
    }

    #[test]
    fn the_environment_leads_to_the_address_of_ecs_and_has_no_token() {
        let given = pairs(&[
            "A=1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:4566/v2/credentials/one",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN=secret",
            "ECS_CONTAINER_METADATA_URI_V4=http://127.0.0.1:4566/v4/two",
        ]);
        let (own, access) = as_on_ecs(&given);
        let expected = [
            "A=1",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/one",
            "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/two",
        ];
        assert_eq!(own, expected);
        assert_eq!(access.credentials, Some(("/v2/credentials/one".into(), "secret".into())));
        assert_eq!(as_on_ecs(&pairs(&["A=1", "B"])), (pairs(&["A=1", "B"]), Access::default()));
    }

    #[tokio::test]
    async fn a_task_gets_its_own_paths_and_no_others() {
        let service = TaskService::new("unix://none");
        service.allow(Access {
            credentials: Some(("/v2/credentials/one".into(), "secret".into())),
            metadata: Some("/v4/two".into()),
        });
        assert_eq!(service.admit("/v2/credentials/one"), Some(Admitted::WithToken("secret".to_owned())));
        for metadata in ["/v4/two", "/v4/two/task", "/v4/two/stats"] {
            assert_eq!(service.admit(metadata), Some(Admitted::Freely), "{metadata}");
        }
        for foreign in ["/v2/credentials/two", "/v2/credentials/one/", "/v4/twofold", "/v4/", "/", "/_ministack/state"]
        {
            assert_eq!(service.admit(foreign), None, "{foreign}");
        }
    }
}
