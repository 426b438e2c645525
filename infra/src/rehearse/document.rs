//! What a rehearsal found, as data: the JSON that programs get, and all that the texts and pages for people say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report::Run;

/// How a version fails in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Respond later than the probe timeout.
    Slow,
    /// Respond with status 500.
    #[value(name = "5xx")]
    #[serde(rename = "5xx")]
    Errors,
    /// Crash on a request.
    Crash,
    /// Run out of memory: the tasks are killed with exit code 137, as on Fargate.
    Oom,
    /// Fail every health check.
    NeverHealthy,
}

/// From which moment on it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAt {
    /// During the deployment.
    Deploy,
    /// As soon as users reach the new version, right after the swap of prod.
    Swap,
}

impl Fault {
    /// The moment that fits it best.
    pub const fn at(self) -> FaultAt {
        match self {
            Self::NeverHealthy => FaultAt::Deploy,
            Self::Slow | Self::Errors | Self::Crash | Self::Oom => FaultAt::Swap,
        }
    }
}

/// A fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Which one.
    pub kind: Fault,
    /// From when on.
    pub at: FaultAt,
    /// Of a slow version: how much later it answers.
    pub delay_ms: Option<u64>,
}

/// One side of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The version's label.
    pub version: String,
    /// The image or the program.
    pub image: String,
}

/// How the release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The new version is prod.
    Released,
    /// The deployment never became stable and was rolled back.
    DeploymentRolledBack,
    /// The cutover was refused before users could notice.
    Refused,
    /// The cutover was started and rolled back.
    RolledBack,
    /// It came to no good end.
    Failed,
}

/// The load from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadFacts {
    /// Requests a second.
    pub rate: u32,
    /// The paths that were asked for in turn.
    pub paths: Vec<String>,
    /// How long a user waits.
    pub timeout_ms: u64,
}

/// A part of the release, as users saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `before`, `deployment`, `cutover` or `after`.
    pub name: String,
    /// From when on, in milliseconds since the load began.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
    /// What was seen of it.
    #[serde(flatten)]
    pub seen: Tally,
    /// Median of the latency in milliseconds, from the instant a request was due.
    pub p50: Option<f64>,
    /// Its 99th percentile.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// One second, as users saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// Since the load began.
    pub second: u64,
    /// What was seen in it.
    #[serde(flatten)]
    pub seen: Tally,
}

/// Requests counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub requests: u32,
    /// Those that were not answered as users want it.
    pub failed: u32,
    /// Good answers by the version that they name; those that name none under an empty name.
    pub versions: BTreeMap<String, u32>,
    /// Failures by their kind.
    pub failures: BTreeMap<String, u32>,
}

/// What users saw in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// Counted.
    #[serde(flatten)]
    pub seen: Tally,
    /// The share of failed requests.
    pub share: f64,
    /// If none failed: with 95 % confidence a smaller share fails than this.
    pub bound95: Option<f64>,
    /// When the first failed request was due, in milliseconds since the load began.
    pub first_failure_ms: Option<u64>,
    /// When the last failed one was given up or answered.
    pub last_failure_ms: Option<u64>,
    /// How long failures were to be seen: from the first to the last.
    pub exposed_ms: u64,
}

/// Whether the release's own safeguards did their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safeguards {
    /// Whether deployment or cutover noticed that the version fails; null if nothing failed.
    pub noticed: Option<bool>,
    /// From the first failed user request to the first failed probe, if there are both.
    pub noticed_after_ms: Option<i64>,
    /// Whether the rollback ended the failures; null if nothing failed.
    pub saved: Option<bool>,
}

/// A task that ended and should not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedTask {
    /// `blue` or `green`, if its task definition contains it.
    pub environment: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// Its last lines.
    pub output: Vec<String>,
}

/// A rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Version of this format.
    pub schema: u32,
    /// How the release ended.
    pub ending: Ending,
    /// What that means, in one sentence.
    pub message: String,
    /// The version that was prod.
    pub from: Side,
    /// The version that was released.
    pub to: Side,
    /// What was made to fail.
    pub fault: Option<Injected>,
    /// How users were played.
    pub load: LoadFacts,
    /// When the load began.
    pub started: Timestamp,
    /// How long it went on.
    pub duration_ms: u64,
    /// What users saw in all.
    pub users: Users,
    /// Whether the release's own safeguards did their work.
    pub safeguards: Safeguards,
    /// What users saw, part by part.
    pub phases: Vec<Phase>,
    /// What users saw, second by second.
    pub seconds: Vec<Second>,
    /// Tasks that ended and should not have.
    pub tasks: Vec<EndedTask>,
    /// Settings that have no meaning on this machine and were left out.
    pub left_out: Vec<String>,
    /// The cutover's record and its probes, as `bluegreen report --format json` prints them; null if it did not come
    /// to one.
    pub run: Option<Run>,
}

impl Rehearsal {
    /// The present version of the format.
    pub const SCHEMA: u32 = 2;
}
