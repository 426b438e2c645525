//! Control of a change in progress: the caller of the engine sees its stage and can request its cancellation.
//! Must not know who requests it, nor how.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// What to do if an update cannot succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum OnFailure {
    /// Ask what to do.
    Ask,
    /// Cancel the update and roll the stack back.
    #[default]
    Cancel,
    /// Wait for CloudFormation and ECS.
    Wait,
}

/// How far the engine is, as far as cancelling goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is being changed: leaving leaves nothing behind.
    #[default]
    Before,
    /// The stack is being updated, which can be cancelled.
    Updating,
    /// The stack is being created, deleted or rolled back, which cannot be cancelled.
    Changing,
    /// The stack is up to date and its environments are becoming stable; the change can be rolled back.
    Waiting,
}

/// Shared by the engine and its caller.
#[derive(Debug)]
pub struct Control {
    on_failure: OnFailure,
    stage: watch::Sender<Stage>,
    /// How many are at a stage: both environments are waited for concurrently.
    entered: AtomicUsize,
    cancelled: watch::Sender<bool>,
    needs_decision: watch::Sender<Option<String>>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new(OnFailure::default())
    }
}

impl Control {
    /// A control for one command.
    pub fn new(on_failure: OnFailure) -> Self {
        let (stage, _) = watch::channel(Stage::Before);
        let (cancelled, _) = watch::channel(false);
        let (needs_decision, _) = watch::channel(None);
        Self { on_failure, stage, entered: AtomicUsize::new(0), cancelled, needs_decision }
    }

    /// How far the engine is.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Requests to cancel the change.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Waits until the engine finds that the update cannot succeed and needs a decision; returns the reason.
    pub async fn asked(&self) -> String {
        let mut needs_decision = self.needs_decision.subscribe();
        match needs_decision.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // It cannot close while this holds the sender.
            _ => std::future::pending().await,
        }
    }

    /// Says how far the engine is, until the last guard is dropped.
    pub(super) fn enter(&self, stage: Stage) -> Entered<'_> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.stage.send_replace(stage);
        Entered { control: self }
    }

    /// Waits for a request to cancel.
    pub(super) async fn cancelled(&self) {
        // It cannot close while this holds the sender.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Whether a request to cancel is pending.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// The update cannot succeed: cancels it, or asks, as configured by `--on-failure`.
    pub(super) fn give_up(&self, why: &str) {
        match self.on_failure {
            OnFailure::Cancel => self.cancel(),
            OnFailure::Ask => {
                self.needs_decision.send_replace(Some(why.to_owned()));
            }
            OnFailure::Wait => {}
        }
    }

    /// What was asked for has been done: what follows is not meant by it.
    pub fn done(&self) {
        self.over(true);
    }

    /// The cancellable stage is over. A late request to cancel is kept and applies to the next stage.
    pub(super) fn over(&self, cancelled: bool) {
        if cancelled {
            self.cancelled.send_replace(false);
        }
        self.needs_decision.send_replace(None);
    }
}

/// The engine is at a stage while this lives.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    control: &'a Control,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.control.entered.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.control.stage.send_replace(Stage::Before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_cancels_and_a_person_is_asked() {
        let script = Control::new(OnFailure::Cancel);
        script.give_up("no");
        assert!(script.is_cancelled());
        let person = Control::new(OnFailure::Ask);
        person.give_up("no");
        assert!(!person.is_cancelled());
        assert!(person.needs_decision.borrow().is_some());
        let patient = Control::new(OnFailure::Wait);
        patient.give_up("no");
        assert!(!patient.is_cancelled() && patient.needs_decision.borrow().is_none());
    }

    #[test]
    fn a_wish_to_cancel_that_came_too_late_stays() {
        let control = Control::default();
        control.cancel();
        control.over(false);
        assert!(control.is_cancelled());
        control.over(true);
        assert!(!control.is_cancelled());
    }

    #[test]
    fn a_stage_ends_with_its_last_guard() {
        let control = Control::default();
        let (blue, green) = (control.enter(Stage::Waiting), control.enter(Stage::Waiting));
        drop(green);
        assert_eq!(control.stage(), Stage::Waiting);
        drop(blue);
        assert_eq!(control.stage(), Stage::Before);
    }
}
