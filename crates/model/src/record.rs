//! The record of a run: the object that the ledger holds during the run and after it, that the function answers, and
//! that the CLI shows. The JSON format is stable: fields are added, never changed, and a field that is absent or
//! unknown does not make a record unreadable. Must not know how a run is executed.
//!
//! A record holds what a verdict needs and stays small, because it is written every 500 ms: counts, percentiles, the
//! first failures, the writes. Every single probe is in a separate object beside it, [`Samples`], which is also written
//! during the run. All times in `…_ms` and `…_us` count from [`Record::started`], so that writes and probes share one
//! axis.

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
/// Number of failed probes that a record holds in full.
pub const WHOLE_FAILURES: usize = 20;

/// The record of a run, live and final.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a format for people and programs, in which each has its name")]
pub struct Record {
    /// Version of this format, [`SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub id: String,
    /// The operation that the request asks for.
    pub op: Op,
    /// The outcome; absent while the run is in progress.
    pub outcome: Option<Outcome>,
    /// The phase that the run is in, or that it ended in.
    pub phase: Phase,
    /// The environment that was prod before.
    pub from: Option<Color>,
    /// The environment that prod moves to.
    pub to: Option<Color>,
    /// The environment that prod pointed at when it was last read or written.
    pub prod: Option<Color>,
    /// The environment that dev pointed at when it was last read or written.
    pub dev: Option<Color>,
    /// The percentage of prod's requests that `to` gets while a gradual shift splits them; absent if one environment
    /// gets all. During the shift, `prod` is the old side.
    pub weight: Option<u8>,
    /// What happened and where traffic is, in one sentence.
    pub message: String,
    /// What to do next, if anything.
    pub hint: Option<String>,
    /// Whether a listener may have been written.
    #[serde(default)]
    pub wrote: bool,
    /// Whether the new side was verified. An interrupted run is completed if it was; otherwise traffic goes back.
    #[serde(default)]
    pub verified: bool,
    /// The versions that were seen.
    #[serde(default)]
    pub versions: Versions,
    /// The releases of both environments, if their services report them.
    #[serde(default)]
    pub releases: Releases,
    /// When it began.
    pub started: Timestamp,
    /// When this record was last written.
    pub updated: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Milliseconds from the beginning to the end, or to the last update.
    #[serde(default)]
    pub duration_ms: u64,
    /// The steps of the run, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Every write of a listener, those of a rollback included, in order: the marks on a chart of the probes.
    #[serde(default)]
    pub writes: Vec<ListenerWrite>,
    /// The probes of the target environment before anything was written.
    pub gate: Option<ProbeCounts>,
    /// The probes of prod.
    pub probes: Option<ProbeReport>,
    /// The run that recovered this interrupted run.
    pub recovered_by: Option<String>,
    /// The interrupted runs that this run recovered first.
    #[serde(default)]
    pub recovered: Vec<String>,
    /// Whether the run has not ended, and the record was not written for longer than a live run ever takes. Readers of
    /// the ledger compute this; it is never stored.
    #[serde(default, skip_serializing_if = "is_not")]
    pub interrupted: bool,
    /// The request as it was understood.
    pub request: Request,
    /// Whether the outcome is in the ledger. False only in the answer of a function that lost its lease or its ledger.
    /// Then the next run that acquires the lease decides what happens with this run.
    #[serde(default = "yes")]
    pub recorded: bool,
    /// Who writes this record: a different text for every invocation.
    #[serde(default)]
    pub writer: String,
    /// The epoch of the lease under which it was last written; 0 if there was none. Only a run with a later lease may
    /// take the record over.
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

/// Versions, as the version header reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// The version of prod before the first write.
    pub old: Option<String>,
    /// The version of the target environment, or the version that the request demands.
    pub new: Option<String>,
    /// The version in the latest answer.
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

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the step does, for programs; absent in a record of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StepKind>,
    /// Its name for people, such as `write dev green`.
    pub name: String,
    /// Milliseconds from the beginning of the run.
    pub start_ms: u64,
    /// Milliseconds from the beginning of the run; absent while the step is in progress.
    pub end_ms: Option<u64>,
    /// Its result, if there is more to say: an error, or a number of healthy targets.
    pub note: Option<String>,
}

impl Step {
    /// What it does. In a record of an older version, it is derived from the name, for the kinds that readers need.
    pub fn kind(&self) -> Option<StepKind> {
        self.kind.or(match self.name.as_str() {
            "take the lease" => Some(StepKind::Lease),
            "probe prod before" => Some(StepKind::Baseline),
            "settle" => Some(StepKind::Settle),
            "verify" => Some(StepKind::Verify),
            name if name.starts_with("write ") => Some(StepKind::Write),
            _ => None,
        })
    }
}

/// What a step of a run does. The name for people may change; this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Acquires the lease.
    Lease,
    /// Looks in the ledger for the environment to go back to, or for the last prod.
    Ledger,
    /// Reads the listeners.
    Listeners,
    /// Reads the service and the targets of an environment.
    Inspect,
    /// Probes an environment through dev.
    Gate,
    /// Probes prod before the first write.
    Baseline,
    /// Writes a listener.
    Write,
    /// Holds a step of a shift, or waits for its promotion.
    Hold,
    /// Waits until the load balancer follows.
    Settle,
    /// Waits for the probes after that.
    Verify,
    /// Waits until targets are healthy, or until no late write can take effect.
    Wait,
    /// Writes the record of an interrupted run.
    Record,
}

/// One write of a listener. Times are microseconds from the beginning of the run, as those of the probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerWrite {
    /// The listener.
    pub listener: Listener,
    /// The environment that it points at.
    pub to: Color,
    /// The percentage of requests that `to` gets; the other environment gets the rest. 100 except in a step of a
    /// gradual shift.
    pub weight: u8,
    /// The run's phase: `swap_dev`, `shift` and `swap_prod` are the way forward, `roll_back` the way back.
    pub phase: Phase,
    /// When the call began.
    pub start_us: u64,
    /// When it was answered or timed out; absent while it is in progress.
    pub end_us: Option<u64>,
    /// Its result.
    pub result: WriteResult,
}

/// The result of a write of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteResult {
    /// It is in progress.
    Pending,
    /// The load balancer accepted it.
    Done,
    /// It was not answered: it may have taken effect, or may do so later. The listener is read and written again.
    Unknown,
    /// The load balancer rejected it; nothing was changed.
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

    /// Whether the run is in progress, as far as the ledger shows.
    pub const fn is_running(&self) -> bool {
        !self.is_final() && !self.interrupted
    }

    /// The outcome, `running` or `interrupted`, in one word.
    pub const fn state(&self) -> &'static str {
        match self.outcome {
            Some(outcome) => outcome.as_str(),
            None if self.interrupted => "interrupted",
            None => "running",
        }
    }
}
