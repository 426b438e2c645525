//! Faults of the modeled system: their numbers, and errors in the environment of the machine that the properties must
//! detect.

use super::checks;

/// The number of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Invocations that are killed.
    pub crashes: u8,
    /// Calls that fail, in every possible way.
    pub faults: u8,
    /// Changes of a side's health.
    pub flips: u8,
    /// Alarms of failing probes or a near deadline.
    pub alarms: u8,
    /// Leases that are not renewed in time although their holder is alive.
    pub losses: u8,
    /// Rules that a person deletes.
    pub deletions: u8,
    /// Writes of prod that the load balancer applies late.
    pub lags: u8,
    /// Aborts that a person asks for.
    pub aborts: u8,
}

impl Budget {
    pub const NONE: Self =
        Self { crashes: 0, faults: 0, flips: 0, alarms: 0, losses: 0, deletions: 0, lags: 0, aborts: 0 };

    pub const EXPLORED: [Self; 8] = [
        Self { crashes: 2, flips: 1, alarms: 1, ..Self::NONE },
        Self { crashes: 1, faults: 1, alarms: 1, ..Self::NONE },
        Self { faults: 2, alarms: 1, ..Self::NONE },
        Self { faults: 1, flips: 2, alarms: 1, ..Self::NONE },
        Self { faults: 1, alarms: 1, losses: 1, ..Self::NONE },
        Self { crashes: 1, alarms: 1, deletions: 1, ..Self::NONE },
        Self { crashes: 1, alarms: 1, lags: 2, ..Self::NONE },
        Self { flips: 1, faults: 1, aborts: 1, ..Self::NONE },
    ];
}

/// An error in the surroundings of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Health is not read: every side counts as healthy.
    NoHealthGuard,
    /// The lease may expire while a write can still land.
    LeaseShorterThanWrite,
    /// The lease is acquired although another holder has it.
    NoLease,
    /// A write that was not answered counts as done.
    UnknownIsDone,
    /// The end does not wait for late writes.
    NoQuiet,
    /// The intent is not written before the first write.
    NoIntent,
    /// Interrupted runs are not recovered.
    NoRecovery,
    /// The new side counts as verified before it was.
    VerifiedTooEarly,
    /// A record is overwritten although it is final.
    NoConditionalRecord,
    /// An interrupted run is recovered before its record is taken over.
    NoTakeOver,
    /// A record is taken over although it was written under a later lease.
    NoEpoch,
    /// A split prod is read as if green, which had all of it before, still had all of it.
    SplitIsWhole,
    /// A step of a shift checks only the health of the new side.
    HalfHealthGuard,
    /// The ledger returns the place of dev instead of that of prod.
    LastProdIsDev,
    /// Settling does not wait for the load balancer.
    NoSettling,
    /// An interrupted run is read with its sides exchanged.
    SubjectTurned,
    /// An abort is ignored.
    DeafToAborts,
}

impl Mutant {
    /// Each with a property that it violates, and the positions of the pair and the budget that show it.
    pub const ALL: [(Self, &'static str, usize, usize); 17] = [
        (Self::NoHealthGuard, checks::HEALTHY, 0, 0),
        (Self::LeaseShorterThanWrite, checks::ONE_WRITER, 0, 1),
        (Self::NoLease, checks::ONE_WRITER, 0, 0),
        (Self::UnknownIsDone, checks::CONSISTENT, 0, 1),
        (Self::NoQuiet, checks::CONSISTENT, 0, 1),
        (Self::NoIntent, checks::RECOVERABLE, 0, 0),
        (Self::NoRecovery, checks::AWAY, 4, 0),
        (Self::VerifiedTooEarly, checks::RECOVERABLE, 0, 0),
        (Self::NoConditionalRecord, checks::ONE_OUTCOME, 0, 4),
        (Self::NoTakeOver, checks::CONSISTENT, 0, 4),
        (Self::NoEpoch, checks::RECOVERABLE, 6, 4),
        (Self::SplitIsWhole, checks::UNSPLIT, 6, 0),
        (Self::HalfHealthGuard, checks::HEALTHY, 6, 0),
        (Self::LastProdIsDev, checks::RECOVERABLE, 0, 5),
        (Self::NoSettling, checks::FOLLOWED, 0, 6),
        (Self::SubjectTurned, checks::RECOVERABLE, 4, 0),
        (Self::DeafToAborts, checks::ABORTED, 0, 7),
    ];
}
