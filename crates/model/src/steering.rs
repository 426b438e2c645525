//! What people can tell a run that is under way: to turn back, to stay at a step of a shift, to go on with the next one.
//! Must not know how a run heeds it.

use crate::request::Op;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Send traffic back where it was, and end.
    Abort,
    /// Stay at this step of the shift until promoted.
    Pause,
    /// Go on with the next step of the shift now.
    Promote,
}

impl Command {
    /// The command of an operation; none of one that is a run of its own.
    pub const fn of(op: Op) -> Option<Self> {
        match op {
            Op::Abort => Some(Self::Abort),
            Op::Pause => Some(Self::Pause),
            Op::Promote => Some(Self::Promote),
            _ => None,
        }
    }
}

/// The last command that a run was given, as it is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The command.
    pub command: Command,
    /// Who gave it: free text, believed and not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// A different text for every one, so that the same command given again is a new one.
    pub id: String,
}

/// What the function answers to `abort`, `pause` and `promote`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringAnswer {
    /// The run that was told; none if none is under way.
    pub run: Option<String>,
    /// Whether the run will read it. What it does then is in its record.
    pub accepted: bool,
    /// What was done, or why nothing was.
    pub message: String,
    /// What to do next, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
