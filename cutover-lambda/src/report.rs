//! The record of a run: what the ledger holds while it runs and for ever after, what the function answers, and what
//! the CLI shows. A stable JSON format: fields are added, never
//! changed, and one that is absent or unknown does not make a record unreadable. Must not know how a run is carried out.

use crate::Color;
use crate::request::{Op, Request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of the format, in [`Record::schema`].
pub const SCHEMA: u32 = 1;
/// How many failed probes a record holds whole.
pub const WHOLE_FAILURES: usize = 20;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Traffic is where it was asked to be, and verified.
    Done,
    /// Traffic was there already; nothing was written.
    Noop,
    /// Nothing was written on purpose: this was a plan, and it would have gone ahead.
    Planned,
    /// It failed, and traffic is back where it was.
    RolledBack,
    /// It failed, and traffic was left on the new side: the old side has no healthy targets, or the caller asked to hold.
    Held,
    /// It was not begun; nothing was written.
    Refused,
    /// It could not be brought to an end; `reconcile` is needed.
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

    /// Whether the caller got what was asked for.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Noop | Self::Planned)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a run is, in the order of a run that goes well; the last ones end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has happened yet.
    #[default]
    Idle,
    /// Takes the lease.
    Locked,
    /// Puts an interrupted run right before its own work.
    Recover,
    /// Reads listeners, services and health.
    Preflight,
    /// Probes the target environment through the dev listener.
    Gate,
    /// Probes prod as it was before.
    Baseline,
    /// Points dev at the old side.
    SwapDev,
    /// Points prod at the new side: the commit point.
    SwapProd,
    /// Lets the load balancer follow; either version is fine, a bad status never.
    Settle,
    /// Only the new version is right.
    Verify,
    /// Points prod, then dev, back.
    RollBack,
    /// Makes sure that the listeners are as they should be before it ends.
    Confirm,
    /// Ended well.
    Done,
    /// Ended with traffic back where it was.
    RolledBack,
    /// Ended with traffic left on the new side.
    Held,
    /// Ended before it began.
    Refused,
    /// Ended without a consistent state.
    Failed,
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

/// The record of a run, live and final.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The probes of the target environment before anything was written.
    pub gate: Option<ProbeCounts>,
    /// The probes of prod.
    pub probes: Option<ProbeReport>,
    /// The run that put this interrupted one right.
    pub recovered_by: Option<String>,
    /// The interrupted runs that this one put right first.
    #[serde(default)]
    pub recovered: Vec<String>,
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

/// How many probes there were and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeCounts {
    /// Due so far.
    pub due: u32,
    /// Sent on the wire.
    pub sent: u32,
    /// Answered well.
    pub ok: u32,
    /// Not answered well, or not sent.
    pub failed: u32,
    /// Sent later than scheduled by more than 10 ms.
    pub late: u32,
}

/// The probes of prod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeReport {
    /// All of them.
    pub counts: ProbeCounts,
    /// Those of kept-alive connections, where old routes linger.
    pub kept_alive: ProbeCounts,
    /// Those of fresh connections.
    pub fresh: ProbeCounts,
    /// The addresses that the load balancer's name resolved to.
    pub addresses: Vec<String>,
    /// Latency of the probes due before the first write.
    pub before: Percentiles,
    /// Latency of the probes due from the first write until settled, or until rolled back.
    pub during: Percentiles,
    /// Latency of the probes due after.
    pub after: Percentiles,
    /// When the new version first answered: milliseconds from the run's begin.
    pub first_new_ms: Option<u64>,
    /// When the old version last answered: milliseconds from the run's begin.
    pub last_old_ms: Option<u64>,
    /// How often an answer of the old version came after one of the new: 0 where the switch was clean.
    pub flip_flops: u32,
    /// With 95 % confidence the error rate was below this: the rule of three, 3/n, where none of n failed.
    pub bound95: Option<f64>,
    /// The first failed probes, whole; [`WHOLE_FAILURES`] at most.
    pub failures: Vec<Sample>,
    /// Latency of the last answered probes in ms, oldest first, 60 at most: a sparkline's data.
    pub recent_ms: Vec<f64>,
}

/// Latency of a group of probes, from the scheduled instant to the last byte, in milliseconds. Exact, from all samples
/// that were answered, good or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    /// Number of samples.
    pub count: u32,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Slowest.
    pub max: Option<f64>,
}

/// One probe. Times are microseconds from the run's begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its number, from 0.
    pub sequence: u32,
    /// The run's phase when it was due.
    pub phase: Phase,
    /// When it was due.
    pub scheduled_us: u64,
    /// When it was sent; absent where it was not.
    pub sent_us: Option<u64>,
    /// When the answer's head was there.
    pub first_byte_us: Option<u64>,
    /// When the answer was complete, or it failed.
    pub done_us: u64,
    /// The address it was sent to.
    pub address: String,
    /// The kind of connection it used.
    pub connection: Connection,
    /// The answer's status code.
    pub status: Option<u16>,
    /// The answer's version header.
    pub version: Option<String>,
    /// Bytes of the answer's body that were read.
    pub bytes: u64,
    /// Why it failed; absent where it did not.
    pub failure: Option<Failure>,
    /// The failure in words.
    pub detail: Option<String>,
}

/// The kind of connection of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// One that is kept for the next probe.
    KeptAlive,
    /// A new one for this probe alone.
    Fresh,
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection.
    Connect,
    /// No complete answer in time.
    Timeout,
    /// The connection broke before the answer was complete.
    Broken,
    /// A status code that is not a success.
    Status,
    /// Settled, and another version than the expected one answered.
    Version,
    /// Too many probes were under way.
    NotSent,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "no connection",
            Self::Timeout => "no complete answer in time",
            Self::Broken => "connection broke",
            Self::Status => "bad status",
            Self::Version => "wrong version",
            Self::NotSent => "not sent: too many under way",
        })
    }
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
            message: "It has begun.".to_owned(),
            hint: None,
            wrote: false,
            verified: false,
            versions: Versions::default(),
            started: now,
            updated: now,
            finished: None,
            duration_ms: 0,
            steps: Vec::new(),
            gate: None,
            probes: None,
            recovered_by: None,
            recovered: Vec::new(),
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
}
