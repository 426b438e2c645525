//! The verbs that move traffic, and those that tell a run what to do; and Ctrl-C while a run is followed: once leaves it to
//! itself, twice has it turn back.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use infra::commands::cutover::{Follower, Order, steer};
use infra::commands::{Context, cutover};
use infra::error::{Error, Result};
use infra::ui::{CutoverProgress, JsonProgress, Style, render_evidence};
use ledger::Holder;
use model::Record;
use model::request::{Op, Request};
use tokio::time::sleep;

use crate::cli::Verb;
use crate::interrupt::{INTERRUPTED, Signal, Signals};
use crate::{print_json, print_text};

/// For how long a second Ctrl-C is waited for.
const SECOND: Duration = Duration::from_secs(5);

/// Between two tries to abort a run that has not begun yet.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What a verb does to traffic.
pub enum Moves {
    /// It has the function carry a run out.
    Run(Box<Order>),
    /// It has the run under way, or this one, send traffic back.
    Abort(Option<String>),
    /// It tells the run under way, or this one, something else.
    Tell(Op, Option<String>),
}

impl Moves {
    pub fn of(verb: &Verb) -> Option<Self> {
        Some(match verb {
            Verb::Cutover(arguments) => Self::Run(Box::new(arguments.order())),
            Verb::Rollback(arguments) => Self::Run(Box::new(arguments.order())),
            Verb::Reconcile { to, wait } => {
                let order = Order::new(Op::Reconcile);
                let request = Request { to: *to, force: to.is_some(), ..order.request };
                Self::Run(Box::new(Order { request, wait: *wait, ..order }))
            }
            Verb::Abort(steering) => Self::Abort(steering.id.clone()),
            Verb::Pause(steering) => Self::Tell(Op::Pause, steering.id.clone()),
            Verb::Promote(steering) => Self::Tell(Op::Promote, steering.id.clone()),
            _ => return None,
        })
    }
}

pub async fn run(moves: Moves, json: bool, context: &Context, signals: &mut Signals) -> Result<ExitCode> {
    let asked = Asked::default();
    let mut follower = Shown::new(json, asked.clone());
    match moves {
        Moves::Run(order) => {
            let work = std::pin::pin!(async {
                let record = cutover::run(context, &order, &mut follower).await?;
                end(&record, cutover::verdict(&record), json)
            });
            attended(work, &asked, context, signals).await
        }
        Moves::Abort(id) => {
            let work = std::pin::pin!(async {
                match steer::abort(context, id, &mut follower).await? {
                    (_, Some(record)) => end(&record, steer::verdict(&record), json),
                    (answer, None) => {
                        if json {
                            print_json(&answer)?;
                        }
                        steer::refusal(&answer).map_or(Ok(()), Err)
                    }
                }
            });
            tokio::select! {
                result = work => result.map(|()| ExitCode::SUCCESS),
                _ = signals.next() => {
                    eprintln!("\ninterrupted. What the run was told it heeds without this command: bluegreen status.");
                    Ok(ExitCode::from(INTERRUPTED))
                }
            }
        }
        Moves::Tell(op, id) => {
            let answer = steer::tell(context, op, id).await?;
            match (json, steer::refusal(&answer)) {
                (true, _) => print_json(&answer)?,
                (false, None) => print_text(&format!("{}\n", answer.message))?,
                (false, Some(_)) => {}
            }
            steer::refusal(&answer).map_or(Ok(ExitCode::SUCCESS), Err)
        }
    }
}

/// Prints how a run ended.
fn end(record: &Record, verdict: Option<Error>, json: bool) -> Result<()> {
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

/// Follows a run to its end, or until somebody leaves it to itself.
async fn attended(
    mut work: std::pin::Pin<&mut impl Future<Output = Result<()>>>,
    asked: &Asked,
    context: &Context,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let left = || Ok(ExitCode::from(INTERRUPTED));
    let signal = tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        signal = signals.next() => signal,
    };
    let Some(id) = asked.id() else {
        eprintln!("\ninterrupted. Nothing was asked for yet, and no traffic was moved.");
        return left();
    };
    if signal == Signal::Terminate {
        eprintln!("\ninterrupted. The cutover goes on without this command: bluegreen status shows how it ends.");
        return left();
    }
    eprintln!(
        "\nThe cutover goes on without this command. Ctrl-C again within {} s, or bluegreen abort, stops it and sends \
         users back.",
        SECOND.as_secs()
    );
    tokio::select! {
        result = &mut work => return result.map(|()| ExitCode::SUCCESS),
        () = sleep(SECOND) => {
            eprintln!("\ninterrupted. bluegreen status shows how it ends.");
            return left();
        }
        signal = signals.next() => if signal == Signal::Terminate { return left(); },
    }
    eprintln!("\nstopping run {id} ...");
    let mut told = std::pin::pin!(tell_to_abort(context, asked));
    let mut done = false;
    loop {
        tokio::select! {
            result = &mut work => return result.map(|()| ExitCode::SUCCESS),
            () = &mut told, if !done => done = true,
            _ = signals.next() => {
                eprintln!("\ninterrupted. The run goes on without this command: bluegreen status shows how it ends.");
                return left();
            }
        }
    }
}

/// Tells the run that was asked for to send traffic back, until it heeds that. One that has not begun yet cannot be told.
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
        let progress: Box<dyn Follower> =
            if json { Box::new(JsonProgress::default()) } else { Box::new(CutoverProgress::new(Style::of_stderr())) };
        Self { progress, asked }
    }
}

impl Follower for Shown {
    fn waiting(&mut self, holder: &Holder) {
        // Of a run that lost the race for the lock nothing goes on.
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
