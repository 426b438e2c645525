//! The routes, limits, and headers of the app. Must not know about processes or the environment.

use std::cell::Cell;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, Service as _, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{App, Error, FromRequest, HttpRequest, HttpResponse, Resource, error, rt, web};
use futures_util::future::{Either, LocalBoxFuture, Ready, TryFutureExt as _, ready};

use crate::page::Page;
use crate::{ApiFormat, Name, Version};

/// The largest request body that is read (and ignored, because no route uses it), in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The largest target and header fields together, in bytes.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// The number of requests on a connection, after which it is closed. The answers to requests that a client sends without
/// reading stay in memory: this bounds them.
pub const MAX_REQUESTS_PER_CONNECTION: u32 = 1000;
/// Time limit for a client to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The app in one version: `/`, `/api`, and `/healthz` for GET and HEAD. Every response, including errors, has
/// `x-app-version` and the security headers.
pub fn app(
    version: &'static Version,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let (page, headers) = (Page::of(version), headers(version));
    App::new()
        .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
        .service(get("/", move |request| answer(StatusCode::OK, HTML, page.with(&greeting(version, request)))))
        .service(get("/api", move |request| {
            let message = greeting(version, request);
            match version.api {
                ApiFormat::Text => answer(StatusCode::OK, TEXT, message),
                ApiFormat::Json => answer(StatusCode::OK, JSON, serde_json::Value::from(message).to_string()),
            }
        }))
        .service(get("/healthz", |_| answer(StatusCode::OK, TEXT, "ok")))
        .default_service(web::to(|_: IgnoredBody| async { answer(StatusCode::NOT_FOUND, TEXT, "not found\n") }))
        .wrap_fn(move |request, service| {
            let headers = headers.clone();
            let last = request.conn_data::<RequestCount>().is_some_and(RequestCount::count);
            let answered = if head_bytes(&request) > MAX_HEAD_BYTES {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                let refusal = answer(status, TEXT, "request header too large\n");
                Either::Left(ready(Ok(request.into_response(refusal))))
            } else {
                Either::Right(service.call(request))
            };
            answered.map_ok(move |mut response| {
                for (name, value) in headers {
                    response.headers_mut().insert(name, value);
                }
                if last {
                    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                response
            })
        })
}

/// The number of requests on a connection.
#[derive(Debug)]
pub struct RequestCount {
    count: Cell<u32>,
    connection: Option<TcpStream>,
}

impl RequestCount {
    /// Counts the requests on a connection.
    pub const fn new(connection: Option<TcpStream>) -> Self {
        Self { count: Cell::new(0), connection }
    }

    /// Counts a request, and says whether it is the last one.
    fn count(&self) -> bool {
        let count = self.count.get() + 1;
        self.count.set(count);
        // The client learns of the last request by its answer. One that goes on has not read the answer.
        if count > MAX_REQUESTS_PER_CONNECTION
            && let Some(connection) = &self.connection
        {
            // It fails only if the connection is closed, which is the purpose.
            let _ = connection.shutdown(Shutdown::Both);
        }
        count >= MAX_REQUESTS_PER_CONNECTION
    }
}

/// The headers of every response of a version.
fn headers(version: &'static Version) -> [(HeaderName, HeaderValue); 5] {
    [
        (HeaderName::from_static("x-app-version"), version.number),
        (header::CONTENT_SECURITY_POLICY, version.content_security_policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// A path that answers GET and HEAD, and rejects every other method by name.
fn get(path: &str, answers: impl Fn(&HttpRequest) -> HttpResponse + Clone + 'static) -> Resource {
    let handler = move |request: HttpRequest, _: IgnoredBody| ready(answers(&request));
    web::resource(path).route(web::get().to(handler.clone())).route(web::head().to(handler)).default_service(web::to(
        |_: IgnoredBody| async {
            let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            refusal
        },
    ))
}

fn greeting(version: &Version, request: &HttpRequest) -> String {
    version.greeting(&Name::from_query(request.query_string()))
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, kind)).body(body)
}

/// The size of the target and the header fields of a request, as sent.
fn head_bytes(request: &ServiceRequest) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    target + fields.sum::<usize>()
}

/// Reads the body of a request to its end and discards it, because no route uses it. A body that is too large or too
/// slow is rejected. Reading keeps the connection usable for the next request of a load balancer.
struct IgnoredBody;

impl FromRequest for IgnoredBody {
    type Error = Error;
    type Future = Either<Ready<Result<Self, Error>>, LocalBoxFuture<'static, Result<Self, Error>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if matches!(payload, Payload::None) {
            return Either::Left(ready(Ok(Self)));
        }
        let body = rt::time::timeout(BODY_TIMEOUT, web::Bytes::from_request(request, payload));
        Either::Right(Box::pin(async {
            let (status, why) = match body.await {
                Ok(Ok(_)) => return Ok(Self),
                Ok(Err(error)) if is_too_large(&error) => (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"),
                Ok(Err(_)) => (StatusCode::BAD_REQUEST, "request body is broken\n"),
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "request body came too slowly\n"),
            };
            Err(InternalError::from_response(why, answer(status, TEXT, why)).into())
        }))
    }
}

fn is_too_large(error: &Error) -> bool {
    matches!(error.as_error(), Some(error::PayloadError::Overflow))
}
