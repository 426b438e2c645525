//! The dashboard's HTTP: the page, its events, a run's report, and the two requests that change something.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Bytes, Data, Json, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, middleware};
use futures_util::stream;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
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

/// The report brings its style sheet with it.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
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
            .app_data(web::JsonConfig::default().limit(LARGEST_BODY))
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
            .route("/runs/{id}", web::get().to(report))
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

/// The page. With the secret in the address it gives the cookie, and the address without the secret.
async fn page(request: HttpRequest, shared: Data<Shared>, entry: Query<Entry>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_host(&request) {
        return refuse(refusal);
    }
    if entry.token.as_deref().is_some_and(|token| shared.guard.knows(token)) {
        let mut answer = HttpResponse::SeeOther();
        return answer.cookie(shared.guard.cookie()).insert_header((header::LOCATION, "/")).finish();
    }
    if let Err(refusal) = shared.guard.check_read(&request) {
        return refuse(refusal);
    }
    let frame = Arc::clone(&shared.frames.borrow());
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(document(&frame, shared.guard.token()).into_string())
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
    match shared.guard.check_read(request) {
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

async fn report(request: HttpRequest, shared: Data<Shared>, id: Path<String>) -> HttpResponse {
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

async fn begin(request: HttpRequest, shared: Data<Shared>, new_run: Json<NewRun>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_change(&request) {
        return refuse(refusal);
    }
    match ask(&shared, |answer| Command::Begin(*new_run, answer)).await {
        Ok(id) => HttpResponse::Accepted().json(serde_json::json!({ "id": id })),
        Err(error) => problem(&error),
    }
}

async fn tell(request: HttpRequest, shared: Data<Shared>, reported: Json<Steer>) -> HttpResponse {
    if let Err(refusal) = shared.guard.check_change(&request) {
        return refuse(refusal);
    }
    match ask(&shared, |answer| Command::Tell(reported.into_inner(), answer)).await {
        Ok(message) => HttpResponse::Accepted().json(serde_json::json!({ "message": message })),
        Err(error) => problem(&error),
    }
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
fn document(frame: &Frame, token: &str) -> Markup {
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
                meta name="bluegreen-token" content=(token);
                title { (frame.title) }
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
