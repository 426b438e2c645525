//! The commands that people can give a run in progress: go back, stay at a step of a shift, go on with the next step.
//! Must not know how a run handles them.

use crate::request::Op;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A command for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Send traffic back to the old side, and end.
    Abort,
    /// Stay at this step of the shift until promoted.
    Pause,
    /// Go on with the next step of the shift now.
    Promote,
}

impl Command {
    /// The command of an operation; `None` if the operation is not a command.
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
    /// Who gave it: free text, which is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
    /// A unique text, so that the same command given again is a new one.
    pub id: String,
}

/// What the function answers to `abort`, `pause` and `promote`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringAnswer {
    /// The run that gets the command; `None` if no run is in progress.
    pub run: Option<String>,
    /// Whether the run will read it. The run's record shows what the run does then.
    pub accepted: bool,
    /// What was done, or why nothing was.
    pub message: String,
    /// What to do next, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
