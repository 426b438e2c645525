//! The app's routes, limits and headers. Must not know about sockets, processes or the environment.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App, Error, HttpRequest, HttpResponse, Resource, error, guard, rt, web};

use crate::{ApiFormat, Name, Version, page};

/// The largest request body that is read (and ignored: no route wants one), in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// The largest target and header fields together, in bytes.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The app in one version: `/`, `/api` and `/healthz` for GET and HEAD. Every response, refusals included, carries
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
    App::new()
        .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
        .service(get("/", move |request| {
            HttpResponse::Ok().content_type(ContentType::html()).body(page::render(version, &name(&request)))
        }))
        .service(get("/api", move |request| {
            let message = version.greeting(&name(&request));
            match version.api {
                ApiFormat::Text => text(StatusCode::OK, message),
                ApiFormat::Json => HttpResponse::Ok()
                    .content_type(ContentType::json())
                    .body(serde_json::Value::from(message).to_string()),
            }
        }))
        .service(get("/healthz", |_| text(StatusCode::OK, "ok")))
        .default_service(web::to(|| async { text(StatusCode::NOT_FOUND, "not found\n") }))
        .wrap(from_fn(within_limits))
        .wrap(
            DefaultHeaders::new()
                .add(("x-app-version", version.number))
                .add((header::CONTENT_SECURITY_POLICY, version.content_security_policy()))
                .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .add((header::REFERRER_POLICY, "no-referrer"))
                .add((header::CACHE_CONTROL, "no-store")),
        )
}

/// A path that answers GET and HEAD, and refuses every other method by name.
fn get(path: &str, answer: impl Fn(HttpRequest) -> HttpResponse + Clone + 'static) -> Resource {
    let handler = move |request| {
        let response = answer(request);
        async move { response }
    };
    web::resource(path)
        .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler))
        .default_service(web::to(|| async {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            refusal.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            refusal
        }))
}

fn name(request: &HttpRequest) -> Name {
    Name::from_query(request.query_string())
}

fn text(status: StatusCode, body: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status).content_type(ContentType::plaintext()).body(body.into())
}

/// Refuses what is too large or too slow. Reading the body to its end also keeps the connection usable for the next
/// request, which matters to a load balancer.
async fn within_limits(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refusal = if head_bytes(&request) > MAX_HEAD_BYTES {
        text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request header too large\n")
    } else {
        match rt::time::timeout(BODY_TIMEOUT, request.extract::<web::Bytes>()).await {
            Ok(Ok(_)) => {
                return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
            }
            Ok(Err(error)) if is_too_large(&error) => text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"),
            Ok(Err(_)) => text(StatusCode::BAD_REQUEST, "request body is broken\n"),
            Err(_) => text(StatusCode::REQUEST_TIMEOUT, "request body came too slowly\n"),
        }
    };
    Ok(request.into_response(refusal))
}

/// The size of the request's target and header fields as they were sent.
fn head_bytes(request: &ServiceRequest) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    target + fields.sum::<usize>()
}

fn is_too_large(error: &Error) -> bool {
    matches!(error.as_error(), Some(error::PayloadError::Overflow))
}
