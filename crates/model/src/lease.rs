//! What the lease's object says: who may change the stack or its traffic, and for how long. Must not know how it is taken.

use crate::Process;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// The longest that a lease lives without a renewal, whatever it says.
pub const LONGEST_LIFE: Duration = Duration::from_mins(30);
/// The life of a lease that was written before leases said it.
const OLD_LIFE: Duration = Duration::from_secs(30);

/// What a lease is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The listeners are being swapped.
    Cutover,
    /// The stack is being changed.
    Deployment,
    /// The idle environment's tasks are being ended.
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

/// What the lease's object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// Id of the run or deployment that holds it.
    pub holder: String,
    /// What it is held for.
    pub purpose: Purpose,
    /// Since when, by the holder's clock: for people, believed and not compared.
    #[serde(deserialize_with = "believed")]
    pub since: Timestamp,
    /// Number of this lease: greater than that of every lease before.
    #[serde(default)]
    pub epoch: u64,
    /// Until when, unless renewed, by the holder's clock: for people and for versions before `life_ms`, believed and not
    /// compared. Where it was ended by somebody else, the beginning of 1970.
    #[serde(deserialize_with = "believed")]
    pub expires: Timestamp,
    /// For how long each renewal holds, in milliseconds; absent where an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// Whether the holder has given it back.
    pub released: bool,
    /// Holders before this one that never gave it back, oldest first; their runs may need to be put right.
    #[serde(default)]
    pub interrupted: Vec<String>,
    /// A different text for every acquisition.
    pub writer: String,
    /// The process that holds it, where that is a command's: others on the same machine see that it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// A time that nothing is decided by: one that cannot be is the end of all times.
fn believed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.parse().unwrap_or(Timestamp::MAX))
}

impl LeaseInfo {
    /// For how long a renewal holds.
    pub fn life(&self) -> Duration {
        let life = match (self.life_ms, self.purpose) {
            (Some(ms), _) => Duration::from_millis(ms),
            (None, Purpose::Deployment) => LONGEST_LIFE,
            (None, Purpose::Cutover | Purpose::Sleep) => OLD_LIFE,
        };
        life.min(LONGEST_LIFE)
    }

    /// Whether it was given back, or ended by somebody else.
    pub fn is_over(&self) -> bool {
        self.released || self.expires <= Timestamp::UNIX_EPOCH
    }

    /// The same, ended without being given back: whoever takes it next has to know of the runs that it remembers.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { expires: Timestamp::UNIX_EPOCH, life_ms: Some(0), ..self }
    }
}
