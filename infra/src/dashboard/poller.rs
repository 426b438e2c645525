//! Reads the state of the stack and of a run, and makes what the viewers see. One for all of them; where nobody looks,
//! nothing is read. Must not know HTTP.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::request::Op;
use model::steering::SteeringAnswer;
use model::{Color, steering};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::Frame;
use super::view::{Problem, View};
use crate::error::{Error, Result};
use crate::report::{self, Format, Place, Run};
use crate::runs::{BEGIN_LIMIT, steer};
use crate::status::Status;

/// Between two looks at the stack: a dozen calls that AWS counts.
const STATUS_PERIOD: Duration = Duration::from_secs(2);

/// The pause between two reads of a run in progress.
const RUN_PERIOD: Duration = Duration::from_millis(250);

/// Longest time for one look. Beyond it the cloud counts as not reachable.
const PATIENCE: Duration = Duration::from_secs(12);

/// What a person asked for, with the state that they saw when they confirmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Cutover or rollback.
    pub op: Op,
    /// Who becomes prod.
    pub to: Color,
    /// The prod environment on the page: the request is refused if it has changed since.
    pub expect: Color,
}

/// A request of a person to a run in progress.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steer {
    /// Abort, pause or promote.
    pub op: Op,
    /// The run that they saw.
    pub run: String,
}

/// The source of the poller's data, and the requests that it can send.
pub trait Source {
    /// The result of `bluegreen status`.
    fn status(&self) -> impl Future<Output = Result<Status>>;
    /// A run with its probes.
    fn run(&self, id: &str) -> impl Future<Output = Result<Option<Run>>>;
    /// Begins a run; returns its id.
    fn begin(&self, new_run: NewRun) -> impl Future<Output = Result<String>>;
    /// Tells a run something; returns what the function answered.
    fn tell(&self, reported: Steer) -> impl Future<Output = Result<SteeringAnswer>>;
}

/// What the server asks of the poller.
#[derive(Debug)]
pub enum Command {
    /// Somebody has begun to look.
    Look,
    /// Somebody wants a run.
    Begin(NewRun, oneshot::Sender<Result<String>>),
    /// A request to a run.
    Tell(Steer, oneshot::Sender<Result<String>>),
    /// Somebody wants a run's report.
    Report(String, oneshot::Sender<Result<String>>),
}

/// The poller.
pub struct Poller<S> {
    source: S,
    place: Place,
    view: View,
    /// The run that is followed, and since when.
    followed: Option<(String, Instant)>,
    next_status: Instant,
    frames: watch::Sender<Arc<Frame>>,
    commands: mpsc::Receiver<Command>,
}

impl<S: Source> Poller<S> {
    /// A poller that feeds `frames`.
    pub fn new(source: S, place: Place, frames: watch::Sender<Arc<Frame>>, commands: mpsc::Receiver<Command>) -> Self {
        let view = View { stack: place.stack.clone(), ..View::default() };
        Self { source, place, view, followed: None, next_status: Instant::now(), frames, commands }
    }

    /// Works until the server is gone.
    pub async fn run(mut self) {
        self.look().await;
        loop {
            let next = if self.followed.is_some() { Instant::now() + RUN_PERIOD } else { self.next_status };
            let watched = self.frames.receiver_count() > 1;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = sleep_until(next), if watched => self.look().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Look => self.look().await,
            Command::Begin(new_run, answer) => {
                let result = self.begin(new_run).await;
                // Who asked may have gone; the run goes on and everyone sees it.
                let _ = answer.send(result);
                self.look().await;
            }
            Command::Tell(reported, answer) => {
                let result = self.tell(reported).await;
                let _ = answer.send(result);
                self.look().await;
            }
            Command::Report(id, answer) => {
                let result = self.report(&id).await;
                let _ = answer.send(result);
            }
        }
    }

    async fn begin(&mut self, new_run: NewRun) -> Result<String> {
        if !matches!(new_run.op, Op::Cutover | Op::Rollback) {
            return Err(Error::usage(format!("the dashboard does not support {}", new_run.op)));
        }
        if self.followed.is_some() {
            return Err(Error::refused("a run is already in progress").hint("wait for it to end"));
        }
        let id = within(self.source.begin(new_run)).await?;
        self.followed = Some((id.clone(), Instant::now()));
        self.view.asked = Some(new_run);
        Ok(id)
    }

    async fn tell(&mut self, reported: Steer) -> Result<String> {
        if steering::Command::of(reported.op).is_none() {
            return Err(Error::usage(format!("{} is not a request to a run", reported.op)));
        }
        if self.followed.as_ref().is_none_or(|(id, _)| *id != reported.run) {
            return Err(Error::refused("the run is no longer in progress"));
        }
        let answer = within(self.source.tell(reported)).await?;
        if let Some(error) = steer::refusal(&answer) {
            return Err(error);
        }
        self.view.reported = Some(answer.message.clone());
        Ok(answer.message)
    }

    async fn report(&self, id: &str) -> Result<String> {
        let run = within(self.source.run(id)).await?;
        let run = run.ok_or_else(|| Error::usage(format!("run {id} does not exist")))?;
        report::render(&run, &self.place(), Format::Html)
    }

    fn place(&self) -> Place {
        let prod_url = self.view.status.as_ref().map_or_else(String::new, |status| status.prod_url.clone());
        Place { prod_url, ..self.place.clone() }
    }

    /// Reads what is due and shows it.
    async fn look(&mut self) {
        if Instant::now() >= self.next_status {
            let result = within(self.source.status()).await;
            self.next_status = Instant::now() + STATUS_PERIOD;
            self.take_status(result);
        }
        if let Some((id, since)) = self.followed.clone() {
            let result = within(self.source.run(&id)).await;
            self.take_run(result, since);
        }
        let frame = Frame::of(&self.view);
        self.frames.send_if_modified(|shown| {
            let changed = **shown != *frame;
            if changed {
                *shown = frame;
            }
            changed
        });
    }

    fn take_status(&mut self, result: Result<Status>) {
        let status = match result {
            Ok(status) => status,
            Err(error) => return self.view.problem = Some(Problem::of(&error)),
        };
        self.view.problem = None;
        // What is followed is read more often than the status, so it is never older.
        if self.followed.is_none()
            && let Some(latest) = status.runs.first()
        {
            let known = self.view.run.as_ref().is_some_and(|run| run.record.id == latest.id && run.record.is_final());
            if !known {
                // Its probes are read with it; one that has ended is not read again.
                self.followed = Some((latest.id.clone(), Instant::now()));
            }
        }
        self.view.status = Some(status);
    }

    fn take_run(&mut self, result: Result<Option<Run>>, since: Instant) {
        match result {
            Ok(Some(run)) => {
                if run.record.is_final() {
                    self.unfollow();
                } else if run.record.interrupted {
                    // It was stopped before it finished; the status shows that when its lease has expired.
                    (self.followed, self.view.reported) = (None, None);
                }
                self.view.asked = None;
                self.view.run = Some(run);
                self.view.problem = None;
            }
            Ok(None) if since.elapsed() > BEGIN_LIMIT => {
                self.unfollow();
                let error = Error::failed("the requested run has not started")
                    .because("the function was invoked but has not written a record")
                    .hint("check the log of the cutover function (nothing was changed)");
                self.view.problem = Some(Problem::of(&error));
            }
            Ok(None) => {}
            Err(error) => self.view.problem = Some(Problem::of(&error)),
        }
    }

    /// Looks at the whole stack at once: its roles have changed.
    fn unfollow(&mut self) {
        self.followed = None;
        self.view.asked = None;
        self.view.reported = None;
        self.next_status = Instant::now();
    }
}

/// The result, or an error after a timeout.
async fn within<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => Err(Error::failed(format!("no response within {} s", PATIENCE.as_secs()))
            .hint("check the network: AWS cannot be reached; this page retries automatically")),
    }
}
