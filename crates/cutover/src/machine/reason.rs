//! Why a run did not go ahead, or went back. Must not know the texts for it: those are the messages of a run.

use super::Alarm;

/// Why a run did not go ahead, or went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Another run holds the lease.
    LeaseHeld,
    /// The ledger cannot be read or written.
    LedgerDown,
    /// A listener forwards to something else than the two target groups.
    ListenersNotUnderstood,
    /// AWS did not answer a read, so nothing is known.
    NotRead,
    /// Prod has no rule, and nothing says where it was.
    NoRule,
    /// Prod is split between both environments, and no record says why.
    Split,
    /// Prod is not what the caller believes.
    NotExpected,
    /// No cutover to go back from.
    NoWayBack,
    /// The environment to go back to runs another release than the one that was live.
    Replaced,
    /// The service or the targets of the target environment are not eligible for traffic.
    Ineligible,
    /// The target environment failed its gate.
    GateFailed,
    /// Prod failed before anything was written.
    BaselineFailed,
    /// The target environment reports no version, and prod does.
    NoVersion,
    /// Probes failed after the first write.
    ProbesFailed,
    /// The load balancer does not follow a step of the shift.
    NotSettled,
    /// The new side answers, but too slowly.
    TooSlow,
    /// A person aborted the run.
    Aborted,
    /// Too little time is left.
    DeadlineNear,
    /// The lease was lost.
    LeaseLost,
    /// The load balancer refused a write.
    WriteRejected,
    /// A write did not take effect in [`super::TRIES`] tries.
    WriteUnknown,
    /// The environment that traffic has to go to has no healthy targets.
    Unhealthy,
    /// The listeners differ from what was written, at the end, each time they are read.
    NotConfirmed,
    /// An answer did not belong to the question: an error in this program.
    WrongAnswer,
}

impl From<Alarm> for Reason {
    fn from(alarm: Alarm) -> Self {
        match alarm {
            Alarm::ProbesFailed => Self::ProbesFailed,
            Alarm::DeadlineNear => Self::DeadlineNear,
            Alarm::LeaseLost => Self::LeaseLost,
            Alarm::Aborted => Self::Aborted,
        }
    }
}
