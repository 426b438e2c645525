//! The decisions of a run: a pure function from a state and an answer to the next state. The function runs it, a model
//! checker explores it, property tests drive it. Must not know clocks, I/O, randomness, or how something is done: time
//! arrives as answers and signals, and errors arrive as one of a few kinds.
//!
//! A state always names what comes next ([`State::next`]): one [`Question`], or the end. [`State::answer`] takes the answer
//! to exactly that question. A [`Signal`] may arrive at any time ([`State::interrupt`]): it calls off a question that only
//! waits ([`Question::is_wait`]), and is remembered while anything else is in progress.
//!
//! | module | content |
//! |---|---|
//! | [`question`] | the one list of questions, with the type of each answer and its name in the record |
//! | `stage` | the stages of a run, each with its data, and the phase that the record shows |
//! | `opening`, `preparing`, `moving`, `restoring`, `confirming`, `ending` | what each stage does with the answers to its questions |
//! | `writing` | how a listener is written, in every stage that writes |
//! | `target` | which write comes next |
//! | `signal` | what may arrive at any time, and what follows |

mod confirming;
mod ending;
mod moving;
mod opening;
mod preparing;
pub mod question;
mod reason;
mod restoring;
mod shift;
mod signal;
mod stage;
mod target;
#[cfg(test)]
mod tests;
mod writing;

use model::Color;
use model::record::{Outcome, Phase};
use model::request::OnFail;
pub use model::route::{Listener, Place, Route};
pub use question::{Answer, Ask, Question, WayBack};
pub use reason::Reason;
pub use shift::Shift;
pub use signal::{Alarm, Interrupt, Signal};
use stage::{Opening, Progress, Stage, Swap, UnknownWrite};
pub use target::Goal;

/// Tries of one write, with a read after each that may not have taken effect.
pub const TRIES: u8 = 3;
/// How many times the listeners are read at the end, and written again if a late write changed them.
pub const CONFIRMATIONS: u8 = 3;

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Swap to a target, or to the idle environment.
    Cutover,
    /// Swap to the environment that the last successful cutover came from.
    Rollback,
    /// Only recover an interrupted run and put the listeners in order.
    Reconcile,
    /// A cutover without lease and writes.
    Plan,
}

/// What the request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The kind of run.
    pub kind: Kind,
    /// The environment that becomes prod; the idle one if absent.
    pub to: Option<Color>,
    /// The environment that the caller believes prod to be.
    pub expect: Option<Color>,
    /// What to do if probes fail after prod is written.
    pub on_fail: OnFail,
    /// The shares of prod that the new side gets before it gets all.
    pub shift: Shift,
    /// Whether a rollback may go to another release than the one that was live, and a reconcile trusts `to` instead of the
    /// ledger.
    pub force: bool,
}

/// An interrupted run that has to be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The environment that was prod before it.
    pub from: Color,
    /// The environment that it moved prod to.
    pub to: Color,
    /// Whether it had verified the new side.
    pub verified: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// With this outcome, which is in the record.
    Recorded(Outcome),
    /// The id has a record already: that is the answer.
    Stored,
    /// Without a recorded outcome, because the lease or the ledger was lost. The next run that acquires the lease recovers it.
    Abandoned,
}

/// What a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// It asks this, and waits for the answer.
    Ask(Question),
    /// It ends like this.
    Finish(Finish),
}

/// The state of a run: what is valid in every stage, and the stage with its own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    asked: Asked,
    stage: Stage,
    next: Next,
    /// What the record shows.
    phase: Phase,
    /// Whether this run holds the lease.
    leased: bool,
    /// Whether prod is being probed.
    probing: bool,
    prod: Place<Route>,
    dev: Place<Color>,
    unknown_write: UnknownWrite,
    /// What this run does with traffic, once that is known.
    swap: Option<Swap>,
    /// Failed tries of the current write or read, in a row.
    tries: u8,
    /// An alarm that is not handled yet.
    alarm: Option<Alarm>,
    /// A person wants the shift to stay at its step.
    paused: bool,
    reason: Option<Reason>,
}

impl State {
    /// A run that has done nothing yet.
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            stage: Stage::Opening(Opening { stored: false, subject: None }),
            next: Next::Ask(question::LoadRun.into()),
            phase: Phase::Locked,
            leased: false,
            probing: false,
            prod: Place::Unknown,
            dev: Place::Unknown,
            unknown_write: UnknownWrite::None,
            swap: None,
            tries: 0,
            alarm: None,
            paused: false,
            reason: None,
        }
    }

    /// The state after this answer. An answer to anything else than [`State::next`] is a programming error: it panics in
    /// debug builds. Otherwise the run goes to a recorded end with [`Reason::WrongAnswer`].
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Self {
        self.next =
            if self.next == Next::Ask(answer.question()) { self.answered(answer) } else { self.wrong_answer(answer) };
        // The next question is not asked yet, so an alarm can still overrule it.
        if let Some(next) = self.handle_alarm() {
            self.next = next;
        }
        self
    }

    /// The stage that asked handles the answer.
    fn answered(&mut self, answer: Answer) -> Next {
        match self.stage {
            Stage::Opening(opening) => self.opening(opening, answer),
            Stage::Preparing(preparing) => self.preparing(preparing, answer),
            Stage::Moving(moving) => self.moving(moving, answer),
            Stage::Verifying => self.verifying(answer),
            Stage::Restoring(target) => self.restoring(target, answer),
            Stage::Confirming(confirming) => self.confirming(confirming, answer),
            Stage::Failing(_) => self.failing(answer),
            Stage::Saving(work) => self.saving(work, answer),
            Stage::Releasing(finish) => self.releasing(finish, answer),
        }
    }

    fn ask(&mut self, question: impl Into<Question>) -> Next {
        let question = question.into();
        self.phase = self.phase_of(question);
        Next::Ask(question)
    }

    fn enter(&mut self, stage: Stage, question: impl Into<Question>) -> Next {
        self.stage = stage;
        self.ask(question)
    }

    /// Whether this run only puts the listeners in order.
    fn is_reconcile(&self) -> bool {
        self.asked.kind == Kind::Reconcile
    }

    /// What the request asks for.
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    /// What comes next.
    pub const fn next(&self) -> Next {
        self.next
    }

    /// The phase that the record shows.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Where prod and dev send requests, as far as known.
    pub const fn listeners(&self) -> (Option<Route>, Option<Color>) {
        (self.prod.at(), self.dev.at())
    }

    /// Which environment this run takes traffic from, and which one it gives traffic to.
    pub fn swap(&self) -> (Option<Color>, Option<Color>) {
        (self.swap.map(|swap| swap.from), self.swap.map(|swap| swap.to))
    }

    /// Whether this run may have written a listener for its own swap.
    pub fn wrote(&self) -> bool {
        self.swap.is_some_and(|swap| swap.progress != Progress::Planned)
    }

    /// Whether the new side is verified.
    pub fn verified(&self) -> bool {
        self.swap.is_some_and(|swap| matches!(swap.progress, Progress::Verified { .. }))
    }

    /// Why it did not go ahead, or went back.
    pub const fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Whether prod failed before the first write of a rollback.
    pub fn old_is_bad(&self) -> bool {
        self.swap.is_some_and(|swap| swap.old_is_bad)
    }

    /// Whether a person asked to abort after the new side was verified.
    pub fn abort_too_late(&self) -> bool {
        self.swap.is_some_and(|swap| swap.progress == Progress::Verified { abort_too_late: true })
    }

    /// Whether the shift stays at its step until it is promoted.
    pub const fn is_paused(&self) -> bool {
        matches!(self.next, Next::Ask(Question::AwaitPromotion(_)))
    }

    /// Whether prod has to be probed now.
    pub const fn is_probing(&self) -> bool {
        self.probing
    }

    /// How it ended.
    pub const fn finish(&self) -> Option<Finish> {
        match self.next {
            Next::Finish(finish) => Some(finish),
            Next::Ask(_) => None,
        }
    }

    /// Whether a failed probe would have a consequence now. A rollback away from a failing side counts failures only
    /// after the good side has had time to settle.
    pub fn counts_probes(&self) -> bool {
        match self.phase {
            Phase::SwapDev | Phase::Shift | Phase::SwapProd | Phase::Settle => !self.old_is_bad(),
            Phase::Verify => true,
            _ => false,
        }
    }
}
