//! The dashboard's HTTP: the page, its events, a run's report, and the two requests that change something.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Bytes, Data, Path, Query};
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, middleware};
use futures_util::stream;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::frame::Frame;
use super::guard::{Guard, Refusal};
use super::poller::{Command, NewRun, Steer};
use super::view::Problem;
use crate::error::{Doing, Error, Kind, Result};
use crate::report::STYLE;

/// Nothing but this page's own files; nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The report brings its style sheet with it. The script only loads the report.
const REPORT_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; \
                             base-uri 'none'; form-action 'none'; \
                             frame-ancestors 'none'";

/// Between two signs of life to a viewer: it finds out that a viewer has gone, and the viewer that we have.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Largest body of a request: a command is a few dozen bytes.
const LARGEST_BODY: usize = 1024;

/// What every request needs.
#[derive(Clone)]
pub struct Shared {
    /// Who may speak.
    pub guard: Guard,
    /// What viewers see. Shared, so that every other receiver is a viewer: without viewers, nothing is read.
    pub frames: Arc<watch::Receiver<Arc<Frame>>>,
    /// The poller's ear.
    pub commands: mpsc::Sender<Command>,
}

/// Starts to serve on a listener.
pub fn start(listener: TcpListener, shared: Shared) -> Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(shared.clone()))
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .wrap(
                middleware::DefaultHeaders::new()
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::REFERRER_POLICY, "no-referrer"))
                    .add((header::CACHE_CONTROL, "no-store")),
            )
            .route("/", web::get().to(page))
            .route("/style.css", web::get().to(style))
            .route("/app.js", web::get().to(script))
            .route("/events", web::get().to(events))
            .route("/report.js", web::get().to(report_script))
            .route("/runs/{id}", web::get().to(report))
            .route("/runs/{id}/report", web::get().to(report_document))
            .route("/runs", web::post().to(begin))
            .route("/told", web::post().to(tell))
    });
    let server = server.workers(1).disable_signals().listen(listener).doing(|| "serve the dashboard".to_owned())?;
    Ok(server.run())
}

#[derive(Deserialize)]
struct Entry {
    token: Option<String>,
}

/// The page. With the secret in the address it has content at once. Without it, as after a reload, it is empty, and its
/// script, which has kept the secret, asks for the content.
async fn page(request: HttpRequest, shared: Data<Shared>, entry: Query<Entry>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_host(&request) {
        return refuse(refusal);
    }
    let frame = match entry.token.as_deref() {
        Some(token) if shared.guard.knows(token) => Arc::clone(&shared.frames.borrow()),
        Some(_) => return refuse(Refusal::Secret),
        None => Arc::new(Frame::default()),
    };
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(document(&frame).into_string())
}

fn refuse(refusal: Refusal) -> HttpResponse {
    let words = match refusal {
        Refusal::Host => "the dashboard only accepts requests to its own address on this machine",
        Refusal::Secret => "session token missing: open the URL printed by bluegreen dashboard",
        Refusal::Origin => "cross-origin request rejected",
    };
    HttpResponse::Forbidden().content_type(ContentType::plaintext()).body(words)
}

async fn style(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    asset(&request, &shared, "text/css; charset=utf-8", format!("{STYLE}\n{}", include_str!("dashboard.css")))
}

async fn script(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    asset(&request, &shared, "text/javascript; charset=utf-8", include_str!("dashboard.js").to_owned())
}

fn asset(request: &HttpRequest, shared: &Shared, kind: &str, body: String) -> HttpResponse {
    // A file of the program, the same for everybody.
    match shared.guard.check_host(request) {
        Ok(()) => HttpResponse::Ok().content_type(kind).body(body),
        Err(refusal) => refuse(refusal),
    }
}

/// The frames as they come, for as long as the viewer stays.
async fn events(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_read(&request) {
        return refuse(refusal);
    }
    let mut frames = watch::Receiver::clone(&shared.frames);
    frames.mark_changed();
    // A full ear has its hands full with the same.
    let _ = shared.commands.try_send(Command::Look);
    let events = stream::unfold(frames, |mut frames| async move {
        let event = match timeout(HEARTBEAT, frames.changed()).await {
            Ok(Ok(())) => frames.borrow_and_update().event(),
            Ok(Err(_)) => return None,
            Err(_) => "event: alive\ndata: \n\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(Bytes::from(event)), frames))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(events))
}

async fn report_script(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    asset(&request, &shared, "text/javascript; charset=utf-8", include_str!("report.js").to_owned())
}

/// The page of a report: empty until its script has asked for the report with the secret.
async fn report(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_host(&request) {
        return refuse(refusal);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "Report" } script src="/report.js" defer {} }
            body { p id="problem" role="status" { noscript { "Enable JavaScript to see the report." } } }
        }
    };
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, REPORT_POLICY))
        .body(page.into_string())
}

async fn report_document(request: HttpRequest, shared: Data<Shared>, id: Path<String>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_read(&request) {
        return refuse(refusal);
    }
    match ask(&shared, |answer| Command::Report(id.into_inner(), answer)).await {
        Ok(page) => HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((header::CONTENT_SECURITY_POLICY, REPORT_POLICY))
            .body(page),
        Err(error) => problem(&error),
    }
}

async fn begin(request: HttpRequest, shared: Data<Shared>, body: Bytes) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_change(&request) {
        return refuse(refusal);
    }
    let new_run: NewRun = match read(&request, &body) {
        Ok(new_run) => new_run,
        Err(refusal) => return *refusal,
    };
    match ask(&shared, |answer| Command::Begin(new_run, answer)).await {
        Ok(id) => HttpResponse::Accepted().json(serde_json::json!({ "id": id })),
        Err(error) => problem(&error),
    }
}

async fn tell(request: HttpRequest, shared: Data<Shared>, body: Bytes) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_change(&request) {
        return refuse(refusal);
    }
    let steer: Steer = match read(&request, &body) {
        Ok(steer) => steer,
        Err(refusal) => return *refusal,
    };
    match ask(&shared, |answer| Command::Tell(steer, answer)).await {
        Ok(message) => HttpResponse::Accepted().json(serde_json::json!({ "message": message })),
        Err(error) => problem(&error),
    }
}

/// Parses the JSON body of a request that was permitted.
fn read<T: DeserializeOwned>(request: &HttpRequest, body: &[u8]) -> Result<T, Box<HttpResponse>> {
    let refuse = |why: String| Box::new(HttpResponse::BadRequest().content_type(ContentType::plaintext()).body(why));
    if request.content_type() != "application/json" {
        return Err(refuse("the request must be of the type application/json".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| refuse(format!("cannot parse the request: {error}")))
}

/// Asks the poller and waits for its answer.
async fn ask<T>(shared: &Shared, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
    let (answer, answered) = oneshot::channel();
    let gone = || Error::failed("the dashboard is shutting down");
    shared.commands.send(command(answer)).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn problem(error: &Error) -> HttpResponse {
    let mut answer = match error.kind() {
        Kind::Usage => HttpResponse::NotFound(),
        Kind::Refused => HttpResponse::Conflict(),
        Kind::Failed | Kind::RolledBack => HttpResponse::BadGateway(),
    };
    answer.json(Problem::of(error))
}

/// The page with the parts of a frame in their places.
fn document(frame: &Frame) -> Markup {
    let part = |id: &str| {
        let html = frame.parts.iter().find(|(name, _)| *name == id).map(|(_, html)| html.clone());
        // The parts were made by our own templates, which escape.
        PreEscaped(html.unwrap_or_default())
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (if frame.title.is_empty() { "bluegreen" } else { &frame.title }) }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
                script src="/app.js" defer {}
            }
            body class="dashboard" {
                a class="skip" href="#environments" { "Skip to the environments" }
                header class="top" {
                    div id="about" { (part("about")) }
                    p id="connection" role="status" { noscript { "This page is a snapshot. Enable JavaScript for live updates." } }
                }
                p id="announcement" class="unseen" role="status" aria-live="polite" {}
                main {
                    div id="notices" { (part("notices")) }
                    section id="environments" aria-label="Environments" tabindex="-1" { (part("environments")) }
                    section id="actions" aria-label="Actions" {}
                    section id="steering" aria-label="Run in progress" {}
                    section id="run" aria-label="Cutover" { (part("run")) }
                    section id="history" aria-label="Last runs" { (part("history")) }
                }
                dialog id="confirm" aria-labelledby="confirm-title" aria-describedby="confirm-text" {
                    h2 id="confirm-title" {}
                    p id="confirm-text" {}
                    p id="confirm-problem" class="fault" role="alert" {}
                    div class="buttons" {
                        button type="button" id="confirm-no" { "Do not move traffic" }
                        button type="button" id="confirm-yes" class="certain" {}
                    }
                }
                footer { "bluegreen dashboard · only this machine can open this page" }
            }
        }
    }
}
