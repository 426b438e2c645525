//! The one list of what a run can ask for: each question with the type of its answer, whether it only waits, and its name
//! in the record. Must not know when a question is asked or how it is answered.
//!
//! A new step of a run begins here. The compiler then names the other places: the executor that answers the question, and
//! the model in the tests. The stage that asks it handles the answer.

use super::{Listener, Place, Route, Subject};
use model::Color;
use model::record::{Outcome, StepKind};
use std::convert::Infallible;

/// A question and the type of its answer: the only way to build an [`Answer`], so that an answer of the wrong type does not
/// compile.
pub trait Ask: Copy + Into<Question> {
    /// What can come of it.
    type Answer;

    /// The answer to this question.
    fn answer(self, answer: Self::Answer) -> Answer;
}

/// Declares the questions. `wait` marks a question that only waits: a signal may call it off at any time.
macro_rules! questions {
    ($($(#[$doc:meta])* $kind:ident $name:ident $(($($field:ty),+))? => $answer:ty;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub struct $name $(($(pub $field),+))?;

            impl From<$name> for Question {
                fn from(question: $name) -> Self {
                    Self::$name(question)
                }
            }

            impl Ask for $name {
                type Answer = $answer;

                fn answer(self, answer: $answer) -> Answer {
                    Answer::$name(self, answer)
                }
            }
        )+

        /// Something that a run asks for, one at a time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Question {
            $($(#[$doc])* $name($name),)+
        }

        /// A question with its answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Answer {
            $($(#[$doc])* $name($name, $answer),)+
        }

        impl Question {
            /// Whether it only waits: then a signal may call it off.
            pub const fn is_wait(self) -> bool {
                match self {
                    $(Self::$name(_) => questions!(@is_wait $kind),)+
                }
            }
        }

        impl Answer {
            /// The question that it answers.
            pub fn question(self) -> Question {
                match self {
                    $(Self::$name(question, _) => question.into(),)+
                }
            }
        }
    };
    (@is_wait wait) => { true };
    (@is_wait call) => { false };
}

questions! {
    /// Looks for a record with the id of this run.
    call LoadRun => Result<StoredRun, LedgerDown>;
    /// Acquires the lease, and looks for an interrupted run.
    call AcquireLease => Result<LeaseAnswer, LedgerDown>;
    /// Creates the record of this run.
    call Claim => Result<ClaimAnswer, LedgerDown>;
    /// Finds where a rollback goes: to this environment if there is one, otherwise to where the last cutover came from.
    call FindWayBack(Option<Color>) => Result<Option<WayBack>, LedgerDown>;
    /// Finds where prod was last, as the ledger says.
    call FindLastProd => Result<Option<Color>, LedgerDown>;
    /// Reads both listeners.
    call ReadListeners => Result<ListenersRead, Unreadable>;
    /// Checks that the environment's service is stable, its target group is sound and its targets are healthy.
    call Inspect(Color) => Eligibility;
    /// Probes this environment through the dev listener.
    wait Gate(Color) => GateAnswer;
    /// Waits until the baseline of prod is probed.
    wait AwaitBaseline => BaselineAnswer;
    /// Records that listeners will be written, before the first write.
    call SaveIntent => Saved;
    /// Reads whether every environment that this route reaches has a healthy target now.
    call CheckHealth(Route) => TargetHealth;
    /// Makes a listener send its requests to this route. Dev is never split.
    call Write(Listener, Route) => WriteAnswer;
    /// Waits for the duration of this step of the shift, and until the load balancer follows it.
    wait AwaitHold(u8) => HoldAnswer;
    /// Waits until a person promotes the shift. Only a signal ends this.
    wait AwaitPromotion => Infallible;
    /// Waits until every address of the load balancer follows, or until the time for that is over.
    wait AwaitSettle => ();
    /// Waits until the only environment that traffic can go to has a healthy target, while there is time.
    wait AwaitHealthy(Route) => TargetHealth;
    /// Waits until every probe is answered.
    wait AwaitProbes => ProbesAnswer;
    /// Records that the new side is verified.
    call SaveVerified => Saved;
    /// Waits until no earlier write can take effect any more.
    wait AwaitQuiet => ();
    /// Writes this outcome into the record of the interrupted run.
    call SaveRecovered(Outcome) => Saved;
    /// Writes this outcome into the record of this run.
    call SaveOutcome(Outcome) => Saved;
    /// Releases the lease.
    call Release => ();
}

impl Question {
    /// The step of this question in the record, with its name for people; `None` for one that is too short to be of interest.
    pub fn step(self) -> Option<(StepKind, String)> {
        let (kind, name) = match self {
            Self::AcquireLease(_) => (StepKind::Lease, "take the lease".to_owned()),
            Self::FindWayBack(_) => (StepKind::Ledger, "find the way back".to_owned()),
            Self::FindLastProd(_) => (StepKind::Ledger, "find where prod was".to_owned()),
            Self::ReadListeners(_) => (StepKind::Listeners, "read the listeners".to_owned()),
            Self::Inspect(Inspect(color)) => (StepKind::Inspect, format!("inspect {color}")),
            Self::Gate(Gate(color)) => (StepKind::Gate, format!("probe {color} through dev")),
            Self::AwaitBaseline(_) => (StepKind::Baseline, "probe prod before".to_owned()),
            Self::CheckHealth(CheckHealth(Route::All(color))) => {
                (StepKind::Inspect, format!("read the health of {color}"))
            }
            Self::CheckHealth(CheckHealth(Route::Split { .. })) => {
                (StepKind::Inspect, "read the health of both".to_owned())
            }
            Self::Write(Write(listener, route)) => (StepKind::Write, format!("write {} {route}", listener.as_str())),
            Self::AwaitHold(_) => (StepKind::Hold, "hold".to_owned()),
            Self::AwaitPromotion(_) => (StepKind::Hold, "wait for promotion".to_owned()),
            Self::AwaitHealthy(AwaitHealthy(route)) => (StepKind::Wait, format!("wait until {route} is healthy")),
            Self::AwaitSettle(_) => (StepKind::Settle, "settle".to_owned()),
            Self::AwaitProbes(_) => (StepKind::Verify, "verify".to_owned()),
            Self::AwaitQuiet(_) => (StepKind::Wait, "wait for late writes".to_owned()),
            Self::SaveRecovered(_) => (StepKind::Record, "record the interrupted run".to_owned()),
            Self::LoadRun(_)
            | Self::Claim(_)
            | Self::SaveIntent(_)
            | Self::SaveVerified(_)
            | Self::SaveOutcome(_)
            | Self::Release(_) => return None,
        };
        Some((kind, name))
    }
}

/// The ledger cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LedgerDown;

/// The load balancer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unreadable;

/// What the ledger has under the id of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredRun {
    /// No record.
    Absent,
    /// A record that is final.
    Final,
    /// A record that is not final: the run is in progress, or was interrupted.
    Unfinished,
}

/// Whether this run has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseAnswer {
    /// It has. If a run was interrupted, it has to be recovered first.
    Acquired(Option<Subject>),
    /// Another holder has it.
    Held,
}

/// Whether this run has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimAnswer {
    /// It is created.
    Created,
    /// The id had a record before. If that run was interrupted after its first write, it has to be recovered.
    Taken(Option<Subject>),
}

/// Where a rollback goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WayBack {
    /// The environment that was prod before the last cutover.
    pub to: Color,
    /// Whether that environment runs another release now than the one that was live.
    pub replaced: bool,
}

/// Where both listeners send requests. A place is unknown if it is not one of the two target groups, or, for dev, if it is
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenersRead {
    /// Where prod sends requests.
    pub prod: Place<Route>,
    /// Where dev sends requests.
    pub dev: Place<Color>,
}

impl ListenersRead {
    /// Whether both are understood.
    pub const fn is_known(self) -> bool {
        self.prod.is_known() && self.dev.is_known()
    }
}

/// Whether an environment may get traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Eligibility {
    /// It may.
    Eligible,
    /// It may not.
    Ineligible,
    /// AWS did not answer.
    Unreadable,
}

/// What the gate showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateAnswer {
    /// All probes succeeded.
    Passed,
    /// A probe failed.
    Failed,
}

/// What the baseline showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BaselineAnswer {
    /// Prod answers well.
    Passed,
    /// Prod fails already.
    Failed,
    /// Prod reports a version, and the target environment reported none.
    NoVersion,
}

/// Whether a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saved {
    /// It is.
    Done,
    /// It is not, or nobody knows.
    Failed,
    /// It is not: another run has taken the record over.
    Taken,
}

/// Whether every environment in question has a healthy target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetHealth {
    /// Every one has.
    Healthy,
    /// One has none.
    Unhealthy,
    /// AWS did not answer.
    Unreadable,
}

/// What came of a write of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteAnswer {
    /// It has taken effect.
    Done,
    /// It may take effect now, later or never.
    Unknown,
    /// The load balancer refused it, so it never takes effect.
    Rejected,
    /// It was not sent, because the lease is not held for long enough.
    NoLease,
}

/// How a step of the shift ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldAnswer {
    /// Its time is over, and the load balancer follows it.
    Elapsed,
    /// The load balancer does not follow it, long after the write.
    NotSettled,
}

/// What the probes showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbesAnswer {
    /// Every probe was answered, and not too many failed.
    Passed,
    /// The same, but the answers were too slow.
    TooSlow,
    /// The series ended without a verdict.
    Failed,
}
