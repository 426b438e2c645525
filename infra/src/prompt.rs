//! Asks the person at the terminal to confirm a change, or what to do about a change in progress.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::context::Confirmation;
use crate::deletion::{Consent, Target};
use crate::error::{Error, Result};
use crate::ui::{Keyboard, Screen, Style, render_plan};
use deploy::{Plan, Stage};

/// The person at the terminal.
#[derive(Clone)]
pub struct Prompt {
    keyboard: Arc<Keyboard>,
    screen: Option<Arc<Screen>>,
    style: Style,
}

impl Confirmation for Prompt {
    fn confirm(&self, plan: &Plan, concerns: &BTreeSet<String>) -> Result<()> {
        let _held = ScreenHold::new(self.screen.as_ref());
        eprint!("{}\n{}\n", render_plan(plan, self.style), self.style.strong("Confirmation required:"));
        for concern in concerns {
            eprintln!("  {} {concern}", self.style.bad("!"));
        }
        eprint!("Continue? [y/N] ");
        agree(self.keyboard.blocking_line().as_deref(), "nothing was deployed")
    }
}

/// An error unless the answer is yes.
pub fn agree(answer: Option<&str>, otherwise: &str) -> Result<()> {
    match answer.map(str::trim) {
        Some("y" | "Y" | "yes") => Ok(()),
        _ => Err(Error::refused(otherwise)),
    }
}

fn nobody_to_ask(question: &str) -> Error {
    Error::refused("cannot ask for confirmation: not running in a terminal").because(question)
}

/// The answer about a change in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Cancel it and roll it back.
    Cancel,
    /// Stop following it.
    Detach,
    /// Keep following it.
    GoOn,
}

impl Prompt {
    /// Asks on standard error, beside this live screen.
    pub fn new(screen: Option<Arc<Screen>>, style: Style) -> Self {
        Self { keyboard: Arc::default(), screen, style }
    }

    /// Stops drawing for good.
    pub fn hold_screen(&self) {
        if let Some(screen) = &self.screen {
            screen.hold();
        }
    }

    /// Asks whether a stack is to be deleted: by its name if it serves users or is protected. An error if it is not, or if
    /// nobody can be asked.
    pub async fn consent(&self, target: &Target) -> Result<Consent> {
        let (question, name) = (target.question(), &target.stack.name);
        if !Keyboard::is_there() {
            let flag = if target.needs_name() { format!("--confirm {name}") } else { "--yes".to_owned() };
            return Err(nobody_to_ask(&question).hint(format!("if this is intended, pass {flag} (make: YES=1)")));
        }
        self.put(&question);
        if target.needs_name() {
            eprint!("Type the name of the stack to delete it: ");
            return match self.keyboard.line().await.as_deref().map(str::trim) {
                Some(typed) if typed == name => Ok(Consent::Named),
                _ => Err(Error::refused("nothing was deleted")),
            };
        }
        eprint!("Continue? [y/N] ");
        agree(self.keyboard.line().await.as_deref(), "nothing was deleted").map(|()| Consent::Yes)
    }

    /// Asks for confirmation. An error, with the text `otherwise`, if it is refused, or if nobody can be asked.
    pub async fn agree_to(&self, question: &str, otherwise: &str) -> Result<()> {
        if !Keyboard::is_there() {
            return Err(nobody_to_ask(question).hint("if this is intended, pass --yes"));
        }
        self.put(question);
        eprint!("Continue? [y/N] ");
        agree(self.keyboard.line().await.as_deref(), otherwise)
    }

    fn put(&self, question: &str) {
        let lines: Vec<String> = question.lines().map(|line| self.style.wrapped(line, 0)).collect();
        eprintln!("{}", lines.join("\n"));
    }

    /// Asks what to do about a change in progress, and shows the reason for the question if there is one.
    pub async fn choose(&self, stage: Stage, why: Option<&str>) -> Choice {
        let _held = ScreenHold::new(self.screen.as_ref());
        if let Some(why) = why {
            eprintln!("{} {why}", self.style.bad("!"));
        }
        let can_cancel = matches!(stage, Stage::Updating | Stage::Waiting);
        let cancel = if can_cancel { "  c      cancel the change and roll it back\n" } else { "" };
        eprint!(
            "What now?\n{cancel}  d      detach: the change continues without this command\n  Enter  keep following it\n{} ",
            self.style.strong(">")
        );
        match self.keyboard.line().await.as_deref().map(str::trim) {
            Some("c" | "C" | "cancel") if can_cancel => Choice::Cancel,
            // A closed terminal counts as detached.
            Some("d" | "D" | "detach") | None => Choice::Detach,
            Some(_) => Choice::GoOn,
        }
    }
}

/// The screen is held while this lives.
struct ScreenHold<'a>(Option<&'a Arc<Screen>>);

impl<'a> ScreenHold<'a> {
    fn new(screen: Option<&'a Arc<Screen>>) -> Self {
        if let Some(screen) = screen {
            screen.hold();
        }
        Self(screen)
    }
}

impl Drop for ScreenHold<'_> {
    fn drop(&mut self) {
        if let Some(screen) = self.0 {
            screen.resume();
        }
    }
}
