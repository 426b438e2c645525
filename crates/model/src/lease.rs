//! The content of the lease: who may change the stack or its traffic, and for how long. Must not know how it is
//! acquired.

use crate::Process;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// The maximum life of a lease without a renewal, regardless of its content.
pub const LONGEST_LIFE: Duration = Duration::from_mins(30);
/// The life of a lease of a version that did not write `life_ms`.
const OLD_LIFE: Duration = Duration::from_secs(30);

/// What a lease is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The listeners are being swapped.
    Cutover,
    /// The stack is being changed.
    Deployment,
    /// The tasks of the idle environment are being stopped.
    Sleep,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cutover => "cutover",
            Self::Deployment => "deployment",
            Self::Sleep => "scaling of the idle environment",
        })
    }
}

/// The content of the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// Id of the run or deployment that holds it.
    pub holder: String,
    /// What it is held for.
    pub purpose: Purpose,
    /// When it was acquired, by the holder's clock: only for people, never compared.
    #[serde(deserialize_with = "believed")]
    pub since: Timestamp,
    /// Number of this lease, greater than that of every earlier lease.
    #[serde(default)]
    pub epoch: u64,
    /// When it expires unless renewed, by the holder's clock: only for people and for versions before `life_ms`, never
    /// compared. The beginning of 1970 if another party ended it.
    #[serde(deserialize_with = "believed")]
    pub expires: Timestamp,
    /// The life of each renewal, in milliseconds; absent if an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// Whether the holder has released it.
    pub released: bool,
    /// Earlier holders that never released it, oldest first; their runs may need recovery.
    #[serde(default)]
    pub interrupted: Vec<String>,
    /// A different text for every acquisition.
    pub writer: String,
    /// The process that holds it, if it is a command: others on the same machine can detect that it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// A time that no decision depends on. An invalid time is read as the latest possible time.
fn believed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.parse().unwrap_or(Timestamp::MAX))
}

impl LeaseInfo {
    /// The life of a renewal.
    pub fn life(&self) -> Duration {
        let life = match (self.life_ms, self.purpose) {
            (Some(ms), _) => Duration::from_millis(ms),
            (None, Purpose::Deployment) => LONGEST_LIFE,
            (None, Purpose::Cutover | Purpose::Sleep) => OLD_LIFE,
        };
        life.min(LONGEST_LIFE)
    }

    /// Whether it was released, or ended by another party.
    pub fn is_over(&self) -> bool {
        self.released || self.expires <= Timestamp::UNIX_EPOCH
    }

    /// The same lease, ended but not released: the next holder must know of the runs that it remembers.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { expires: Timestamp::UNIX_EPOCH, life_ms: Some(0), ..self }
    }
}
