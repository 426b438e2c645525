//! The record of a run: what the ledger holds while it runs and for ever after, what the function answers, and what
//! the CLI shows. A stable JSON format: fields are added, never changed, and one that is absent or unknown does not make a
//! record unreadable. Must not know how a run is carried out.
//!
//! A record holds what a verdict needs and stays small, because it is written every 500 ms: counts, percentiles, the
//! first failures, the writes. Every single probe is in an object of its own beside it, [`Samples`], live as well.
//! All times in `…_ms` and `…_us` count from [`Record::started`], so that writes and probes go on one axis.

mod phase;
mod probes;
mod samples;

pub use phase::{Outcome, Phase};
pub use probes::{AddressLag, Connection, Failure, Percentiles, ProbeCounts, ProbeReport, Sample};
pub use samples::{COLUMNS, Samples};

use crate::Color;
use crate::request::{Op, Request};
use crate::route::Listener;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the format, in [`Record::schema`].
pub const SCHEMA: u32 = 1;
/// How many failed probes a record holds whole.
pub const WHOLE_FAILURES: usize = 20;

/// The record of a run, live and final.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a format for people and programs, in which each has its name")]
pub struct Record {
    /// Version of this format, [`SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub id: String,
    /// What was asked for.
    pub op: Op,
    /// How it ended; absent while it runs.
    pub outcome: Option<Outcome>,
    /// Where it is, or how it ended.
    pub phase: Phase,
    /// The environment that was prod before.
    pub from: Option<Color>,
    /// The environment that was to become prod.
    pub to: Option<Color>,
    /// The environment that prod pointed at when last read or written.
    pub prod: Option<Color>,
    /// The environment that dev pointed at when last read or written.
    pub dev: Option<Color>,
    /// The percentage of prod's requests that `to` gets while a progressive shift splits them; absent where one
    /// environment gets all. `prod` is the old side meanwhile.
    pub weight: Option<u8>,
    /// What happened and where traffic is, in one sentence.
    pub message: String,
    /// What to do next, if anything.
    pub hint: Option<String>,
    /// Whether a listener may have been written.
    #[serde(default)]
    pub wrote: bool,
    /// Whether the new side was verified: an interrupted run that was is rolled forward, any other back.
    #[serde(default)]
    pub verified: bool,
    /// The versions that were seen.
    #[serde(default)]
    pub versions: Versions,
    /// The releases of both environments, as far as their services tell.
    #[serde(default)]
    pub releases: Releases,
    /// When it began.
    pub started: Timestamp,
    /// When this record was last written.
    pub updated: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Milliseconds from begin to end, or to the last update.
    #[serde(default)]
    pub duration_ms: u64,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Every write of a listener, those of a rollback included, in order: the marks on a chart of the probes.
    #[serde(default)]
    pub writes: Vec<ListenerWrite>,
    /// The probes of the target environment before anything was written.
    pub gate: Option<ProbeCounts>,
    /// The probes of prod.
    pub probes: Option<ProbeReport>,
    /// The run that put this interrupted one right.
    pub recovered_by: Option<String>,
    /// The interrupted runs that this one put right first.
    #[serde(default)]
    pub recovered: Vec<String>,
    /// Whether it has not ended and was not written for longer than a run that lives ever takes. Who reads the ledger finds
    /// that out: it is never stored.
    #[serde(default, skip_serializing_if = "is_not")]
    pub interrupted: bool,
    /// The request as it was understood.
    pub request: Request,
    /// Whether the outcome is in the ledger. False only in the answer of a function that lost its lease or its ledger:
    /// what becomes of the run is decided by whoever takes the lease next.
    #[serde(default = "yes")]
    pub recorded: bool,
    /// Who writes this record: a different text for every invocation.
    #[serde(default)]
    pub writer: String,
    /// The lease under which it was last written; 0 where that took none. Only a later one may take the record over.
    #[serde(default)]
    pub epoch: u64,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_not(value: &bool) -> bool {
    !*value
}

/// Versions, as the version header told them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// What prod answered before the first write.
    pub old: Option<String>,
    /// What the target environment answers, or what the request demanded.
    pub new: Option<String>,
    /// What the latest answered probe said.
    pub seen: Option<String>,
}

/// Numbers of releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Releases {
    /// Of the environment that was prod before.
    pub old: Option<u64>,
    /// Of the environment that was to become prod.
    pub new: Option<u64>,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What, such as `write dev green`.
    pub name: String,
    /// Milliseconds from the run's begin.
    pub start_ms: u64,
    /// Milliseconds from the run's begin; absent while it is under way.
    pub end_ms: Option<u64>,
    /// What came of it where that needs words: an error, a number of healthy targets.
    pub note: Option<String>,
}

/// One write of a listener. Times are microseconds from the run's begin, as those of the probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerWrite {
    /// The listener.
    pub listener: Listener,
    /// The environment that it was pointed at.
    pub to: Color,
    /// The percentage of requests that `to` gets by it; the other environment gets the rest. 100 but for a step of a
    /// progressive shift.
    pub weight: u8,
    /// The run's phase: `swap_dev`, `shift` and `swap_prod` are the way forward, `roll_back` the way back.
    pub phase: Phase,
    /// When the call began.
    pub start_us: u64,
    /// When it was answered, or given up; absent while it is under way.
    pub end_us: Option<u64>,
    /// What came of it.
    pub result: WriteResult,
}

/// What came of a write of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteResult {
    /// It is under way.
    Pending,
    /// The load balancer took it.
    Done,
    /// It was not answered: it may have happened, or happen later. It is read back and written again.
    Unknown,
    /// The load balancer refused it; nothing was changed.
    Rejected,
}

impl Record {
    /// A record of a run that begins at `now`.
    pub fn begin(id: String, request: Request, now: Timestamp, writer: String) -> Self {
        Self {
            schema: SCHEMA,
            id,
            op: request.op,
            outcome: None,
            phase: Phase::Idle,
            from: None,
            to: request.to,
            prod: None,
            dev: None,
            weight: None,
            message: "It has begun.".to_owned(),
            hint: None,
            wrote: false,
            verified: false,
            versions: Versions::default(),
            releases: Releases::default(),
            started: now,
            updated: now,
            finished: None,
            duration_ms: 0,
            steps: Vec::new(),
            writes: Vec::new(),
            gate: None,
            probes: None,
            recovered_by: None,
            recovered: Vec::new(),
            interrupted: false,
            request,
            recorded: true,
            writer,
            epoch: 0,
        }
    }

    /// Whether the run has ended.
    pub const fn is_final(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether it goes on, as far as the ledger tells.
    pub const fn is_running(&self) -> bool {
        !self.is_final() && !self.interrupted
    }

    /// How it ended, or that it runs, or that it was interrupted, in one word.
    pub const fn state(&self) -> &'static str {
        match self.outcome {
            Some(outcome) => outcome.as_str(),
            None if self.interrupted => "interrupted",
            None => "running",
        }
    }
}
