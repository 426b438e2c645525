//! One call of the command: its context, its output, and its handling of Ctrl-C.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard};

use crate::commands::Verb;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interrupt::{INTERRUPTED, Signal, Signals};
use crate::prompt::{Choice, Prompt};
use crate::ui::{Keyboard, Style};
use deploy::Stage;

/// One call of the command.
pub struct Session {
    /// What every verb works with.
    pub context: Context,
    /// Whether results are printed as JSON.
    pub json: bool,
    /// The person at the terminal.
    pub prompt: Prompt,
    signals: Mutex<Option<Signals>>,
}

impl Session {
    /// A call that listens to no signal yet.
    pub fn new(context: Context, json: bool, prompt: Prompt) -> Self {
        Self { context, json, prompt, signals: Mutex::new(None) }
    }

    /// Runs a command to its end, or until the user detaches.
    pub async fn run(&self, verb: &Verb) -> Result<ExitCode> {
        *self.signals.lock().await = Some(Signals::listen()?);
        if verb.handles_interrupts() {
            return Box::pin(verb.run(self)).await;
        }
        let mut work = std::pin::pin!(verb.run(self));
        let mut asked = false;
        loop {
            let why = tokio::select! {
                result = &mut work => return result,
                signal = self.next_signal() => {
                    let stage = self.context.control.stage();
                    if signal == Signal::Terminate || stage == Stage::Before || !Keyboard::is_there() {
                        return Ok(self.leave(verb).await);
                    }
                    None
                }
                why = self.context.control.asked(), if !asked => Some(why),
            };
            asked |= why.is_some();
            let choice = tokio::select! {
                result = &mut work => return result,
                choice = self.prompt.choose(self.context.control.stage(), why.as_deref()) => choice,
                // A second Ctrl-C leaves at once.
                _ = self.next_signal() => Choice::Detach,
            };
            match choice {
                Choice::Cancel => self.context.control.cancel(),
                Choice::Detach => return Ok(self.leave(verb).await),
                Choice::GoOn => {}
            }
        }
    }

    /// Waits for the next signal.
    pub async fn next_signal(&self) -> Signal {
        let mut signals: MutexGuard<'_, Option<Signals>> = self.signals.lock().await;
        match signals.as_mut() {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        }
    }

    /// Detaches from the operation in progress, and prints the consequences.
    async fn leave(&self, verb: &Verb) -> ExitCode {
        self.prompt.hold_screen();
        let state = self.context.after_interruption().await;
        self.say_last(&verb.interrupted(state.as_ref()));
        ExitCode::from(INTERRUPTED)
    }

    /// Prints the last text of a command that ends before its work does.
    pub fn say_last(&self, text: &str) {
        self.prompt.hold_screen();
        crate::ui::say(&format!("\n{text}\n"));
    }

    /// Prints a result: as JSON if that is asked for, else as `text` says it.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T, Style) -> String) -> Result<()> {
        if self.json { print_json(value) } else { print_text(&text(value, Style::of_stdout())) }
    }
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::failed("cannot write JSON").because(error))?;
    print_text(&format!("{text}\n"))
}

/// A value as one line of JSON.
pub fn json_line(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|error| Error::failed("cannot write JSON").because(error))?;
    Ok(text + "\n")
}

/// Prints. A reader that has gone (`| head`) has seen what it wanted.
pub fn print_text(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}
