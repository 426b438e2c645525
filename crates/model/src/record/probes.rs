//! What the probes of a run showed: counts, percentiles, failures, and a single probe. Must not know how probes are sent.

use super::Phase;
#[cfg(doc)]
use super::WHOLE_FAILURES;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// The addresses that the load balancer's name resolved to, at any time of the run.
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
    /// How long each address of the load balancer took to follow the last write of the way forward.
    pub lag: Vec<AddressLag>,
    /// The same of the way back.
    pub lag_back: Vec<AddressLag>,
    /// With 95 % confidence the error rate was below this, from 0 to 1: the rule of three, 3/n, where none of n failed,
    /// and the exact one-sided bound of Clopper and Pearson where some did. Absent without probes, and if the run did not send all that were planned: where it ended
    /// because of a failure, the number of probes says nothing of a rate.
    pub bound95: Option<f64>,
    /// The first failed probes, whole; [`WHOLE_FAILURES`] at most.
    pub failures: Vec<Sample>,
    /// Latency of the last answered probes in ms, oldest first, 60 at most: a sparkline's data.
    pub recent_ms: Vec<f64>,
    /// Key of the object beside the record with every single probe ([`super::Samples`]); absent in older records.
    pub samples: Option<String>,
}

/// How long an address of the load balancer took to follow a write of prod. Times are milliseconds from the write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressLag {
    /// The address.
    pub address: String,
    /// When the last probe was due that it answered as before the write; absent if there was none.
    pub last_old_ms: Option<u64>,
    /// When it had answered several probes in a row as it should; absent if it never did.
    pub followed_ms: Option<u64>,
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

/// A failed probe, in one line.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} to {}: ", self.sequence, self.address)?;
        if let Some(failure) = self.failure {
            write!(f, "{failure}")?;
        }
        write!(f, " ({})", self.detail.as_deref().unwrap_or_default())
    }
}

/// The kind of connection of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
