//! The phase of a run and its outcome: the names that records, logs, metrics and people use. Must not know how a run
//! gets there.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Traffic is at the requested environment, and is verified.
    Done,
    /// Traffic was there already; nothing was written.
    Noop,
    /// Nothing was written, because this is a plan. A cutover would go ahead.
    Planned,
    /// It failed, and traffic is back on the old side.
    RolledBack,
    /// It failed, and traffic was left on the new side: the old side has no healthy targets, or the caller asked to
    /// hold.
    Held,
    /// It did not begin; nothing was written.
    Refused,
    /// It has no consistent end; `reconcile` is needed.
    Failed,
}

impl Outcome {
    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Noop => "noop",
            Self::Planned => "planned",
            Self::RolledBack => "rolled_back",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Whether the caller got what the request asks for.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Noop | Self::Planned)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The phases, in the order of a run that succeeds. The last ones end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has happened yet.
    #[default]
    Idle,
    /// Acquires the lease.
    Locked,
    /// Recovers an interrupted run before its own work.
    Recover,
    /// Reads listeners, services and health.
    Preflight,
    /// Probes the target environment through the dev listener.
    Gate,
    /// Probes prod as it was before.
    Baseline,
    /// Points dev at the old side.
    SwapDev,
    /// Gives the new side its share of prod, step by step, and watches. Only if the request has a shift.
    Shift,
    /// Points prod at the new side: the commit point.
    SwapProd,
    /// Waits until the load balancer follows. Either version may answer, but not with a bad status.
    Settle,
    /// Only the new version may answer.
    Verify,
    /// Points prod, then dev, back.
    RollBack,
    /// Checks the listeners once more before it ends.
    Confirm,
    /// Ended well.
    Done,
    /// Ended with traffic back on the old side.
    RolledBack,
    /// Ended with traffic left on the new side.
    Held,
    /// Ended before it began.
    Refused,
    /// Ended without a consistent state.
    Failed,
}

// The phase of a run that has ended with this outcome.
impl From<Outcome> for Phase {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done | Outcome::Noop | Outcome::Planned => Self::Done,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Held => Self::Held,
            Outcome::Refused => Self::Refused,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Phase {
    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Locked => "locked",
            Self::Recover => "recover",
            Self::Preflight => "preflight",
            Self::Gate => "gate",
            Self::Baseline => "baseline",
            Self::SwapDev => "swap_dev",
            Self::Shift => "shift",
            Self::SwapProd => "swap_prod",
            Self::Settle => "settle",
            Self::Verify => "verify",
            Self::RollBack => "roll_back",
            Self::Confirm => "confirm",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
