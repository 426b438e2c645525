//! The stages of a run, each with the data that is valid in it, and the phase that the record shows for it. Must not know
//! when a run goes from one stage to the next.

use super::question::{CheckHealth, Question, SaveOutcome, Write};
use super::{Finish, Goal, Listener, Route, State, Subject, WayBack};
use model::Color;
use model::record::{Outcome, Phase};

/// Where a run is, in the order of a run that succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Acquires the lease and creates the record.
    Opening(Opening),
    /// Checks everything before the first write.
    Preparing(Preparing),
    /// Writes the listeners towards the new side.
    Moving(Moving),
    /// Waits for the verdict of the probes.
    Verifying,
    /// Writes the listeners to where they have to be: back, in order, or as an interrupted run requires.
    Restoring(Target),
    /// Reads the listeners once more before the end, and writes them again if they differ.
    Confirming(Confirming),
    /// Has failed, and waits until no write can take effect any more.
    Failing(Work),
    /// Records the outcome.
    Saving(Work),
    /// Releases the lease; then it ends like this.
    Releasing(Finish),
}

/// What [`Stage::Opening`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    /// The id has a record already. That record is the answer, after the interrupted run is recovered.
    pub stored: bool,
    /// The interrupted run that has to be recovered.
    pub subject: Option<Subject>,
}

/// What [`Stage::Preparing`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Preparing {
    /// How the interrupted run ended that this run has just recovered.
    pub recovered: Option<Outcome>,
    /// Where a rollback goes, after the ledger has answered that.
    pub way_back: Option<WayBack>,
}

/// What [`Stage::Moving`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moving {
    /// The step of the shift. After the last step, the new side gets all of prod.
    pub shift_step: u8,
}

/// What the listeners are restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// The run that this is for.
    pub work: Work,
    /// Where the listeners have to point.
    pub goal: Goal,
    /// Where prod goes if it has no rule, or if it is split and the other side is not healthy.
    pub fallback: Option<Color>,
}

/// What [`Stage::Confirming`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Confirming {
    /// What the listeners are compared with.
    pub target: Target,
    /// How many times this stage has begun.
    pub round: u8,
    /// The listeners differed, and are written again.
    pub repairing: bool,
}

/// The run that something is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// This run.
    Own,
    /// An interrupted run, which this run recovers first.
    Recovery(Recovery),
}

/// An interrupted run that is being recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recovery {
    /// The interrupted run.
    pub subject: Subject,
    /// The id of this run has a record already. That record is the answer after the recovery.
    pub stored: bool,
}

/// What this run does with traffic, once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Swap {
    /// The environment that is prod before.
    pub from: Color,
    /// The environment that becomes prod.
    pub to: Color,
    /// How far the swap is.
    pub progress: Progress,
    /// Prod failed before the first write of a rollback.
    pub old_is_bad: bool,
}

/// How far a swap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    /// Nothing is written.
    Planned,
    /// A listener may be written.
    Written,
    /// The new side is verified.
    Verified {
        /// A person asked to abort after that.
        abort_too_late: bool,
    },
}

/// Whether a write whose result is unknown can still change a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UnknownWrite {
    /// Every write was answered.
    None,
    /// One was not, and it may still take effect.
    MayLand,
    /// One was not, and it cannot take effect any more.
    Expired,
}

impl Swap {
    pub(crate) const fn new(from: Color, to: Color) -> Self {
        Self { from, to, progress: Progress::Planned, old_is_bad: false }
    }
}

impl Stage {
    /// The run that this stage works for.
    pub(crate) const fn work(self) -> Work {
        match self {
            Self::Restoring(target) | Self::Confirming(Confirming { target, .. }) => target.work,
            Self::Failing(work) | Self::Saving(work) => work,
            Self::Opening(_) | Self::Preparing(_) | Self::Moving(_) | Self::Verifying | Self::Releasing(_) => Work::Own,
        }
    }

    /// Where the listeners have to point.
    pub(crate) const fn goal(self) -> Goal {
        match self {
            Self::Restoring(target) | Self::Confirming(Confirming { target, .. }) => target.goal,
            _ => Goal::Forward,
        }
    }

    /// Where prod goes if it has no rule, or if it is split and the other side is not healthy.
    pub(crate) const fn fallback(self) -> Option<Color> {
        match self {
            Self::Restoring(target) | Self::Confirming(Confirming { target, .. }) => target.fallback,
            _ => None,
        }
    }
}

impl State {
    /// What the record shows while this is asked. The only place that maps stages to phases.
    pub(super) fn phase_of(&self, question: Question) -> Phase {
        match self.stage {
            Stage::Opening(_) => Phase::Locked,
            Stage::Preparing(_) => match question {
                Question::Gate(_) => Phase::Gate,
                Question::AwaitBaseline(_) | Question::SaveIntent(_) => Phase::Baseline,
                _ => Phase::Preflight,
            },
            Stage::Moving(_) => match question {
                Question::Write(Write(Listener::Dev, _)) => Phase::SwapDev,
                Question::Write(Write(Listener::Prod, route)) | Question::CheckHealth(CheckHealth(route)) => {
                    if matches!(route, Route::Split { .. }) { Phase::Shift } else { Phase::SwapProd }
                }
                Question::AwaitHold(_) | Question::AwaitPromotion(_) => Phase::Shift,
                Question::AwaitSettle(_) => Phase::Settle,
                _ => self.phase,
            },
            Stage::Verifying => Phase::Verify,
            Stage::Restoring(_) => {
                if self.only_puts_in_order() {
                    Phase::Recover
                } else {
                    Phase::RollBack
                }
            }
            Stage::Confirming(Confirming { target, repairing, .. }) => {
                let recovers = matches!(target.work, Work::Recovery(_)) || (repairing && self.only_puts_in_order());
                if recovers { Phase::Recover } else { Phase::Confirm }
            }
            Stage::Saving(_) => match question {
                Question::SaveOutcome(SaveOutcome(outcome)) => outcome.into(),
                _ => self.phase,
            },
            Stage::Failing(_) | Stage::Releasing(_) => self.phase,
        }
    }

    /// Whether the writes in this stage only put listeners in order, for this run or an interrupted one.
    fn only_puts_in_order(&self) -> bool {
        let recovers = matches!(self.stage.work(), Work::Recovery(_));
        recovers || self.is_reconcile() || self.current_swap().is_none()
    }
}
