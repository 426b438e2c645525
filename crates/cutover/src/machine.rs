//! The decisions of a run: a pure function of state and event to state and effects. The function runs it, a model
//! checker explores it, property tests drive it. Must not know clocks, I/O, randomness, or how an effect is done:
//! time arrives as events, and errors arrive as one of a few kinds.
//!
//! One effect at a time waits for its answer; the others ([`Effect::answers`] is false) are done on the way. Events
//! that nobody asked for ([`Event::ProbesFailed`], [`Event::DeadlineNear`], [`Event::LeaseLost`], and what a person tells the run:
//! [`Event::Aborted`], [`Event::Paused`], [`Event::Promoted`]) may arrive at any time: they interrupt a wait
//! ([`Effect::is_wait`]), and are remembered while anything else is under way.

mod end;
mod prepare;
mod shift;
mod steps;
mod target;
mod write;

use model::Color;
use model::record::{Outcome, Phase};
use model::request::OnFail;
pub use model::route::{Listener, Place, Route};
pub use shift::Shift;
pub use target::Goal;

/// Tries of one write, with a read after each that may not have happened.
pub const TRIES: u8 = 3;
/// Rounds of reading the listeners at the end and putting right what a late write changed.
pub const CONFIRMATIONS: u8 = 3;

type Effects = Vec<Effect>;

/// What kind of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Swap to a target, or to the idle environment.
    Cutover,
    /// Swap to where the last successful one came from.
    Rollback,
    /// Only put right what was interrupted.
    Reconcile,
    /// A cutover without lease and writes.
    Plan,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The kind of run.
    pub kind: Kind,
    /// The environment that is to become prod; the idle one if absent.
    pub to: Option<Color>,
    /// The environment that the caller believes prod to be.
    pub expect: Option<Color>,
    /// What to do when probes fail after prod was written.
    pub on_fail: OnFail,
    /// The shares of prod that the new side gets before it gets all.
    pub shift: Shift,
    /// Whether a rollback may go to another release than the one that was live, and a reconcile believes `to` and not the
    /// ledger.
    pub force: bool,
}

/// An interrupted run that has to be put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The environment that was prod before it.
    pub from: Color,
    /// The environment that was to become prod.
    pub to: Color,
    /// Whether it had verified the new side.
    pub verified: bool,
}

/// Why a run did not go ahead, or went back. The words are the report's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Someone else holds the lease.
    LeaseHeld,
    /// The ledger could not be read or written.
    LedgerDown,
    /// The listeners forward to something else than the two target groups.
    ListenersNotUnderstood,
    /// AWS did not answer: nothing can be said of what was to be read.
    NotRead,
    /// Prod has no rule, and nothing says where it was.
    NoRule,
    /// Prod is split between both sides, and no record says why.
    Split,
    /// Prod is not what the caller believes.
    NotExpected,
    /// No cutover to go back from.
    NoWayBack,
    /// The environment to go back to runs another release than the one that was live.
    Replaced,
    /// The target environment's service or targets are not fit.
    Ineligible,
    /// The target environment failed its gate.
    GateFailed,
    /// Prod was failing before anything was written.
    BaselineFailed,
    /// The target environment tells no version, and prod does.
    NoVersion,
    /// Probes failed after the first write.
    ProbesFailed,
    /// The load balancer does not follow a step of the shift.
    NotSettled,
    /// The new side answers, and too slowly.
    TooSlow,
    /// A person told the run to abort.
    Aborted,
    /// Too little time is left.
    DeadlineNear,
    /// The lease was lost.
    LeaseLost,
    /// The load balancer refused a write.
    WriteRejected,
    /// A write did not take effect in [`TRIES`] tries.
    WriteUnknown,
    /// The side that was to get the traffic has no healthy targets.
    Unhealthy,
    /// The listeners are not as they should be at the end, again and again.
    NotConfirmed,
}

/// Something that happened: an answer to an effect, or one of those that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Begin.
    Start,
    /// There is no record under this id yet.
    RunAbsent,
    /// The record under this id is final.
    RunFinal,
    /// The record under this id is not final: it runs, or was interrupted.
    RunUnfinished,
    /// The lease is ours; an interrupted run has to be put right.
    LeaseTaken(Option<Subject>),
    /// Someone else has it.
    LeaseHeld,
    /// The ledger could not be read or written.
    LedgerDown,
    /// The record under this id is ours.
    Claimed,
    /// The id has a record already; if that was interrupted after its first write, this is what it was doing.
    ClaimTaken(Option<Subject>),
    /// Where the last cutover came from; none if there was none.
    WayBack(Option<WayBack>),
    /// Where the ledger says that prod was last.
    LastProd(Option<Color>),
    /// Where prod and dev send requests; unknown if that is something else than the two target groups, or for dev
    /// more than one.
    Listeners(Place<Route>, Place<Color>),
    /// The load balancer could not be read.
    Unreadable,
    /// The environment is fit for traffic.
    Eligible,
    /// It is not.
    Ineligible,
    /// All gate probes succeeded.
    GatePassed,
    /// A gate probe failed.
    GateFailed,
    /// Prod answered well before the first write.
    BaselinePassed,
    /// It did not.
    BaselineFailed,
    /// Prod tells its version, and the target environment told none.
    NoVersion,
    /// The record is written.
    Saved,
    /// The record could not be written.
    SaveFailed,
    /// The record belongs to another writer by now.
    SaveTaken,
    /// Every environment that was asked about has a healthy target.
    Healthy,
    /// One of them has none.
    Unhealthy,
    /// The listener is written.
    WriteDone,
    /// It may be written, now or later, or not at all.
    WriteUnknown,
    /// It was not written and will not be.
    WriteRejected,
    /// The time of this step of the shift is over, and the load balancer follows it.
    HoldElapsed,
    /// The load balancer does not follow this step, long after it was written.
    NotSettled,
    /// Every address of the load balancer follows, or the time for that is over.
    SettleElapsed,
    /// Every probe was answered, and not too many badly.
    ProbesPassed,
    /// So they were, and too slowly.
    TooSlow,
    /// No write whose fate was unknown can land any more.
    QuietElapsed,
    /// The lease is given back, or will expire.
    Released,
    /// More probes failed than are put up with.
    ProbesFailed,
    /// Only the time for a rollback is left.
    DeadlineNear,
    /// Someone else may have the lease now.
    LeaseLost,
    /// A person wants traffic to go back.
    Aborted,
    /// A person wants the shift to stay at this step.
    Paused,
    /// A person wants the shift to go on.
    Promoted,
}

/// Where a rollback goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WayBack {
    /// The environment that was prod before the last cutover.
    pub to: Color,
    /// Whether it runs another release by now than the one that was live.
    pub replaced: bool,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Look for a record under this id.
    LoadRun,
    /// Take the lease; find what was interrupted.
    AcquireLease,
    /// Create the record under this id.
    Claim,
    /// Find where the last cutover came from, or the interrupted one that was just put right, and what runs there.
    FindWayBack(Option<Color>),
    /// Find where the ledger says that prod was last.
    FindLastProd,
    /// Read both listeners.
    ReadListeners,
    /// Is this environment's service steady, its target group sound and its targets healthy?
    Inspect(Color),
    /// Probe this environment through the dev listener.
    Gate(Color),
    /// Begin to probe prod. No answer.
    StartProbes,
    /// Wait until the baseline is probed.
    AwaitBaseline,
    /// Write in the record that listeners will be written, before the first is.
    SaveIntent,
    /// Read whether every environment that requests would be sent to has healthy targets, now.
    CheckHealth(Route),
    /// Make a listener send its requests there. Dev always sends all to one side.
    Write(Listener, Route),
    /// Wait for the time of this step of the shift, and until the load balancer follows it.
    AwaitHold(u8),
    /// Wait until a person says that the shift goes on.
    AwaitPromotion,
    /// Wait until every address of the load balancer follows, or the time for that is over.
    AwaitSettle,
    /// Wait until this environment, the only one that traffic could go to, has a healthy target, while there is time.
    AwaitHealthy(Route),
    /// Wait until all probes are answered.
    AwaitProbes,
    /// Write in the record that the new side is verified.
    SaveVerified,
    /// End probing. No answer.
    StopProbes,
    /// Wait until no earlier write can land any more.
    AwaitQuiet,
    /// Write the outcome into the record of the interrupted run.
    SaveRecovered(Outcome),
    /// Write the outcome into this run's record.
    SaveOutcome(Outcome),
    /// Give the lease back.
    Release,
    /// The end. No answer.
    Finish(Finish),
}

impl Effect {
    /// Whether an event answers this effect.
    pub const fn answers(self) -> bool {
        !matches!(self, Self::StartProbes | Self::StopProbes | Self::Finish(_))
    }

    /// Whether this only waits: it may be dropped when the machine goes elsewhere.
    pub const fn is_wait(self) -> bool {
        matches!(
            self,
            Self::AwaitBaseline
                | Self::AwaitHold(_)
                | Self::AwaitPromotion
                | Self::AwaitSettle
                | Self::AwaitHealthy(_)
                | Self::AwaitProbes
                | Self::AwaitQuiet
                | Self::Gate(_)
        )
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// With this outcome, which is in the record.
    Recorded(Outcome),
    /// The id has a record already: answer that.
    Stored,
    /// Without a recorded outcome: the lease or the ledger was lost. Whoever takes the lease next puts it right.
    Abandoned,
}

/// What the machine is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Idle,
    LoadRun,
    AcquireLease,
    Claim,
    FindWayBack,
    FindLastProd,
    Preflight,
    Inspect,
    Gate,
    Baseline,
    SaveIntent,
    Read,
    Health,
    Write(Listener, Route),
    Hold,
    Paused,
    Settle,
    Probes,
    SaveVerified,
    SettleBack,
    AwaitHealthy,
    Quiet,
    Confirm,
    SaveRecovered(Outcome),
    SaveOutcome(Outcome),
    Release(Finish),
    Finished(Finish),
}

/// The state of a run.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; together they are the state that is checked"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) asked: Asked,
    pub(crate) step: Step,
    pub(crate) phase: Phase,
    pub(crate) goal: Goal,
    pub(crate) subject: Option<Subject>,
    /// The run whose writes are under way is the subject's, not this one's.
    pub(crate) recovering: bool,
    /// How the subject ended.
    pub(crate) recovered: Option<Outcome>,
    /// The id had a record already: answer that once the subject is put right.
    pub(crate) stored: bool,
    pub(crate) leased: bool,
    pub(crate) prod: Place<Route>,
    pub(crate) dev: Place<Color>,
    pub(crate) from: Option<Color>,
    pub(crate) to: Option<Color>,
    pub(crate) wrote: bool,
    /// A write of ours may still land.
    pub(crate) unsettled: bool,
    /// The fate of a write was unknown at some time.
    pub(crate) had_unknown_write: bool,
    pub(crate) verified: bool,
    pub(crate) confirming: bool,
    pub(crate) probing: bool,
    /// The side that a rollback goes to runs another release than the one that was live.
    pub(crate) replaced: bool,
    /// Prod was failing before the first write of a rollback.
    pub(crate) old_is_bad: bool,
    /// The shift stays at its step until it is promoted.
    pub(crate) paused: bool,
    /// It has failed; what is left is to wait for late writes.
    pub(crate) failing: bool,
    /// A person wanted to abort when it was too late for that.
    pub(crate) too_late: bool,
    /// The step of the shift that is worked on; past the last one, prod gets all to the new side.
    pub(crate) shift_step: u8,
    /// The side that a prod without a rule gets, and a split prod if the other side is not healthy.
    pub(crate) fallback: Option<Color>,
    pub(crate) tries: u8,
    pub(crate) confirmations: u8,
    /// Something that nobody asked for, to be heeded at the next answer.
    pub(crate) alarm: Option<Reason>,
    pub(crate) reason: Option<Reason>,
}

impl State {
    /// A run that has not begun.
    pub const fn new(asked: Asked) -> Self {
        Self {
            asked,
            step: Step::Idle,
            phase: Phase::Idle,
            goal: Goal::Forward,
            subject: None,
            recovering: false,
            recovered: None,
            stored: false,
            leased: false,
            prod: Place::Unknown,
            dev: Place::Unknown,
            from: None,
            to: None,
            wrote: false,
            unsettled: false,
            had_unknown_write: false,
            verified: false,
            confirming: false,
            probing: false,
            replaced: false,
            old_is_bad: false,
            paused: false,
            failing: false,
            too_late: false,
            shift_step: 0,
            fallback: None,
            tries: 0,
            confirmations: 0,
            alarm: None,
            reason: None,
        }
    }

    /// What was asked for.
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    /// Where the run is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Where prod and dev send requests, as far as known.
    pub const fn listeners(&self) -> (Option<Route>, Option<Color>) {
        (self.prod.at(), self.dev.at())
    }

    /// Where this run takes the traffic from and to.
    pub const fn swap(&self) -> (Option<Color>, Option<Color>) {
        (self.from, self.to)
    }

    /// Whether this run may have written a listener for its own swap.
    pub const fn wrote(&self) -> bool {
        self.wrote
    }

    /// Whether the new side was verified.
    pub const fn verified(&self) -> bool {
        self.verified
    }

    /// Why it did not go ahead, or went back.
    pub const fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Whether prod was failing before the first write of a rollback.
    pub const fn old_is_bad(&self) -> bool {
        self.old_is_bad
    }

    /// Whether a person wanted to abort when it was too late for that.
    pub const fn too_late(&self) -> bool {
        self.too_late
    }

    /// Whether the shift stays at its step until it is promoted.
    pub const fn is_paused(&self) -> bool {
        matches!(self.step, Step::Paused)
    }

    /// How it ended.
    pub const fn finish(&self) -> Option<Finish> {
        match self.step {
            Step::Finished(finish) => Some(finish),
            _ => None,
        }
    }

    /// Whether a failed probe would have a consequence now. A rollback away from a failing side begins to count
    /// once the good side has had time to settle.
    pub const fn counts_probes(&self) -> bool {
        match self.phase {
            Phase::SwapDev | Phase::Shift | Phase::SwapProd | Phase::Settle => !self.old_is_bad,
            Phase::Verify => true,
            _ => false,
        }
    }
}
