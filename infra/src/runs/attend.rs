//! Follows a run that moves traffic, with Ctrl-C: the first detaches, the second aborts the run.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deploy::{Event, EventKind, Listener, Poll};
use model::Record;
use model::request::Op;
use tokio::time::sleep;

use super::{Order, steer};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::{INTERRUPTED, Signal};
use crate::session::{Session, print_json, print_text};
use crate::ui::{Style, render_evidence};

/// For how long a second Ctrl-C is waited for.
const SECOND: Duration = Duration::from_secs(5);

/// Sends the request to the function, and follows the run.
pub async fn run(session: &Session, order: Order) -> Result<ExitCode> {
    let (context, json) = (&session.context, session.json);
    let asked = Asked::default();
    let listener = Noted { shown: &*context.listener, asked: &asked };
    let work = Box::pin(async {
        let record = super::run(context, &order, &listener).await?;
        end(&record, super::verdict(&record), json)
    });
    Box::pin(attended(work, &asked, session)).await
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
    let left = |text: &str| {
        session.say_last(text);
        Ok(ExitCode::from(INTERRUPTED))
    };
    let signal = tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        signal = session.next_signal() => signal,
    };
    let Some(id) = asked.id() else {
        return left("interrupted. No run was started, and no traffic was moved.");
    };
    if signal == Signal::Terminate {
        return left("interrupted. The cutover continues without this command: bluegreen status shows its result.");
    }
    session.context.listener.note(format!(
        "The cutover continues without this command. Press Ctrl-C again within {} s, or run bluegreen abort, to stop it \
         and send users back to the old side.",
        SECOND.as_secs()
    ));
    tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        () = sleep(SECOND) => return left("interrupted. bluegreen status shows the result."),
        signal = session.next_signal() => if signal == Signal::Terminate {
            return left("interrupted. bluegreen status shows the result.");
        },
    }
    session.context.listener.note(format!("stopping run {id} ..."));
    let mut reported = std::pin::pin!(tell_to_abort(&session.context, asked));
    let mut done = false;
    loop {
        tokio::select! {
            result = &mut work => return result.map(|()| ExitCode::SUCCESS),
            () = &mut reported, if !done => done = true,
            _ = session.next_signal() => {
                return left("interrupted. The run continues without this command: bluegreen status shows its result.");
            }
        }
    }
}

/// Aborts the run, and repeats that until the run accepts it. A run that has not started yet cannot be aborted.
async fn tell_to_abort(context: &Context, asked: &Asked) {
    let mut said = None;
    let mut poll = Poll::default();
    loop {
        let why = match steer::tell(context, Op::Abort, asked.id()).await {
            Ok(answer) if answer.accepted => return context.listener.note(answer.message),
            Ok(answer) => answer.message,
            Err(error) => error.message().to_owned(),
        };
        if said.as_ref() != Some(&why) {
            context.listener.note(why.clone());
            said = Some(why);
        }
        poll.wait().await;
    }
}

/// The id of the run that was requested last.
#[derive(Default)]
struct Asked(Mutex<Option<String>>);

impl Asked {
    fn id(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, id: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

/// Passes events on, and notes the id of the run.
struct Noted<'a> {
    shown: &'a dyn Listener,
    asked: &'a Asked,
}

impl Listener for Noted<'_> {
    fn on(&self, event: &Event) {
        match &event.kind {
            // A run that lost the race for the lease does nothing more.
            EventKind::Waiting { .. } => self.asked.set(None),
            EventKind::Requested { run } => self.asked.set(Some(run.clone())),
            _ => {}
        }
        self.shown.on(event);
    }
}
