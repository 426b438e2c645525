//! The results of the probes of a run: counts, percentiles, failures, and single probes. Must not know how probes are
//! sent.

use super::Phase;
#[cfg(doc)]
use super::WHOLE_FAILURES;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of probes by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeCounts {
    /// Scheduled so far.
    pub due: u32,
    /// Sent on the wire.
    pub sent: u32,
    /// Succeeded.
    pub ok: u32,
    /// Failed, or not sent.
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
    /// Those on kept-alive connections, which may follow a change later.
    pub kept_alive: ProbeCounts,
    /// Those on new connections.
    pub fresh: ProbeCounts,
    /// The addresses that the name of the load balancer resolved to at any time of the run.
    pub addresses: Vec<String>,
    /// Latency of the probes due before the first write.
    pub before: Percentiles,
    /// Latency of the probes due from the first write until settled, or until rolled back.
    pub during: Percentiles,
    /// Latency of the probes due after.
    pub after: Percentiles,
    /// When the new version first answered: milliseconds from the beginning of the run.
    pub first_new_ms: Option<u64>,
    /// When the old version last answered: milliseconds from the beginning of the run.
    pub last_old_ms: Option<u64>,
    /// How often the old version answered after the new one: 0 for a clean switch.
    pub flip_flops: u32,
    /// How long each address of the load balancer took to follow the last write of the cutover.
    pub lag: Vec<AddressLag>,
    /// The same for the rollback.
    pub lag_back: Vec<AddressLag>,
    /// Upper bound of the error rate with 95 % confidence, from 0 to 1: the rule of three, 3/n, if none of n probes
    /// failed, otherwise the exact one-sided bound of Clopper and Pearson. Absent if there were no probes, or if the
    /// run did not send all planned probes: when a run ends because of a failure, the number of probes says nothing
    /// about a rate.
    pub bound95: Option<f64>,
    /// The first failed probes in full, at most [`WHOLE_FAILURES`].
    pub failures: Vec<Sample>,
    /// Latency of the last answered probes in ms, oldest first, at most 60: the data of a sparkline.
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
    /// Scheduled time of the last probe that it answered as before the write; absent if there was none.
    pub last_old_ms: Option<u64>,
    /// When it had answered several consecutive probes as expected; absent if it never did.
    pub followed_ms: Option<u64>,
}

/// Latency of a group of probes, from the scheduled instant to the last byte, in milliseconds. Exact, from all
/// answered samples, successful or failed.
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

/// One probe. Times are microseconds from the beginning of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its number, from 0.
    pub sequence: u32,
    /// The phase of the run at its scheduled time.
    pub phase: Phase,
    /// Its scheduled time.
    pub scheduled_us: u64,
    /// When it was sent; absent if it was not.
    pub sent_us: Option<u64>,
    /// When the head of the response was received.
    pub first_byte_us: Option<u64>,
    /// When the response was complete, or when the probe failed.
    pub done_us: u64,
    /// The address that it was sent to.
    pub address: String,
    /// The kind of connection that it used.
    pub connection: Connection,
    /// The status code of the response.
    pub status: Option<u16>,
    /// The version header of the response.
    pub version: Option<String>,
    /// Bytes of the response body that were read.
    pub bytes: u64,
    /// Why it failed; absent if it succeeded.
    pub failure: Option<Failure>,
    /// Details of the failure.
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
    /// A connection that is kept for the next probe.
    KeptAlive,
    /// A new connection for this probe only.
    Fresh,
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection.
    Connect,
    /// No complete response within the timeout.
    Timeout,
    /// The connection broke before the response was complete.
    Broken,
    /// A status code that is not a success.
    Status,
    /// A version other than the expected one answered after settle.
    Version,
    /// Too many probes were in progress.
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
