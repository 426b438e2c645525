//! Follows a run that moves traffic, with Ctrl-C: the first detaches, the second aborts the run.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::Holder;
use model::Record;
use model::request::Op;
use tokio::time::sleep;

use super::{Follower, Order, steer};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::{INTERRUPTED, Signal};
use crate::session::{Session, print_json, print_text};
use crate::ui::{CutoverProgress, JsonProgress, Style, render_evidence};

/// For how long a second Ctrl-C is waited for.
const SECOND: Duration = Duration::from_secs(5);

/// The pause between two tries to abort a run that has not started yet.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Sends the request to the function, and follows the run.
pub async fn run(session: &Session, order: Order) -> Result<ExitCode> {
    let (context, json) = (&session.context, session.json);
    let asked = Asked::default();
    let mut follower = Shown::new(json, asked.clone());
    let work = Box::pin(async {
        let record = super::run(context, &order, &mut follower).await?;
        end(&record, super::verdict(&record), json)
    });
    Box::pin(attended(work, &asked, session)).await
}

/// Who shows a run.
pub fn follower(json: bool) -> Box<dyn Follower> {
    if json { Box::new(JsonProgress::default()) } else { Box::new(CutoverProgress::new(Style::of_stderr())) }
}

/// Prints how a run ended.
pub fn end(record: &Record, verdict: Option<Error>, json: bool) -> Result<()> {
    if json {
        print_json(record)?;
    }
    match verdict {
        Some(error) => Err(error),
        None if json => Ok(()),
        None => {
            let style = Style::of_stdout();
            let mut text = style.wrapped(&record.message, 0) + "\n";
            for line in render_evidence(record).lines() {
                text.push_str(&format!("  {}\n", style.wrapped(line.trim_start(), 2)));
            }
            print_text(&text)
        }
    }
}

/// Follows a run to its end, or until the user detaches.
async fn attended(
    mut work: std::pin::Pin<Box<impl Future<Output = Result<()>>>>,
    asked: &Asked,
    session: &Session,
) -> Result<ExitCode> {
    let left = || Ok(ExitCode::from(INTERRUPTED));
    let signal = tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        signal = session.next_signal() => signal,
    };
    let Some(id) = asked.id() else {
        eprintln!("\ninterrupted. No run was started, and no traffic was moved.");
        return left();
    };
    if signal == Signal::Terminate {
        eprintln!("\ninterrupted. The cutover continues without this command: bluegreen status shows its result.");
        return left();
    }
    eprintln!(
        "\nThe cutover continues without this command. Press Ctrl-C again within {} s, or run bluegreen abort, to \
         stop it and send users back to the old side.",
        SECOND.as_secs()
    );
    tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        () = sleep(SECOND) => {
            eprintln!("\ninterrupted. bluegreen status shows the result.");
            return left();
        }
        signal = session.next_signal() => if signal == Signal::Terminate { return left(); },
    }
    eprintln!("\nstopping run {id} ...");
    let mut told = std::pin::pin!(tell_to_abort(&session.context, asked));
    let mut done = false;
    loop {
        tokio::select! {
            result = &mut work => return result.map(|()| ExitCode::SUCCESS),
            () = &mut told, if !done => done = true,
            _ = session.next_signal() => {
                eprintln!("\ninterrupted. The run continues without this command: bluegreen status shows its result.");
                return left();
            }
        }
    }
}

/// Aborts the run, and repeats that until the run accepts it. A run that has not started yet cannot be aborted.
async fn tell_to_abort(context: &Context, asked: &Asked) {
    let mut said = None;
    loop {
        let why = match steer::tell(context, Op::Abort, asked.id()).await {
            Ok(answer) if answer.accepted => return eprintln!("\n{}", answer.message),
            Ok(answer) => answer.message,
            Err(error) => error.message().to_owned(),
        };
        if said.as_ref() != Some(&why) {
            eprintln!("\n{why}");
            said = Some(why);
        }
        sleep(TRY_AGAIN).await;
    }
}

/// The id of the run that was asked for last.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Option<String>>>);

impl Asked {
    fn id(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, id: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = id.map(str::to_owned);
    }
}

/// Shows a run, and keeps its id.
struct Shown {
    progress: Box<dyn Follower>,
    asked: Asked,
}

impl Shown {
    fn new(json: bool, asked: Asked) -> Self {
        Self { progress: follower(json), asked }
    }
}

impl Follower for Shown {
    fn waiting(&mut self, holder: &Holder) {
        // A run that lost the race for the lease does nothing more.
        self.asked.set(None);
        self.progress.waiting(holder);
    }

    fn asked(&mut self, id: &str) {
        self.asked.set(Some(id));
    }

    fn reconnecting(&mut self) {
        self.progress.reconnecting();
    }

    fn progress(&mut self, record: &Record) {
        self.progress.progress(record);
    }
}
