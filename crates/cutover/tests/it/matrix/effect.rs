//! The possible faults of a call. Must not know any call.

use super::call::Point;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::retry::ErrorKind;
use std::time::Duration;

/// Whether a call is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    Never,
    First,
    /// Four seconds after the answer.
    Late,
}

/// An error of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Internal,
    Unavailable,
    Throttled,
    Denied,
    Expired,
    /// Another conditional write is in progress.
    Conflict,
    /// The condition does not hold.
    Precondition,
}

/// The response that the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Refused(Refusal),
    Dropped,
    Reset,
    NotHttp,
    Garbage,
    Empty,
    Half,
    Truth,
}

/// The fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub name: &'static str,
    pub happens: Happens,
    pub says: Says,
    /// Time until the caller gets it.
    pub after: Duration,
}

/// Delay of an effect that comes late: less than the time that a run waits for a write that was not answered.
pub const LATE: Duration = Duration::from_secs(4);

const fn effect(name: &'static str, happens: Happens, says: Says, after_ms: u64) -> Effect {
    Effect { name, happens, says, after: Duration::from_millis(after_ms) }
}

use Happens::{First, Late, Never};
use Says::{Dropped, Empty, Garbage, Half, NotHttp, Refused, Reset, Truth};

/// All of them.
pub const EFFECTS: [Effect; 22] = [
    effect("HTTP 500", Never, Refused(Refusal::Internal), 0),
    effect("HTTP 500 after the call took effect", First, Refused(Refusal::Internal), 0),
    effect("HTTP 503", Never, Refused(Refusal::Unavailable), 0),
    effect("throttled", Never, Refused(Refusal::Throttled), 0),
    effect("access denied", Never, Refused(Refusal::Denied), 0),
    effect("expired token", Never, Refused(Refusal::Expired), 0),
    effect("409", Never, Refused(Refusal::Conflict), 0),
    effect("412", Never, Refused(Refusal::Precondition), 0),
    effect("connection dropped before the call took effect", Never, Dropped, 0),
    effect("connection dropped after the call took effect", First, Dropped, 0),
    effect("connection dropped, and the call takes effect 4 s later", Late, Dropped, 0),
    effect("connection reset before the call took effect", Never, Reset, 0),
    effect("connection reset after the call took effect", First, Reset, 0),
    effect("a response that is not HTTP", Never, NotHttp, 0),
    effect("garbage, and the call had no effect", Never, Garbage, 0),
    effect("garbage after the call took effect", First, Garbage, 0),
    effect("an empty 200", First, Empty, 0),
    effect("half a body", First, Half, 0),
    effect("stalled for 90 s before the call took effect", Never, Dropped, 90_000),
    effect("stalled for 90 s after the call took effect", First, Dropped, 90_000),
    effect("answered after 2.5 s", First, Truth, 2500),
    effect("answered after 12 s", First, Truth, 12_000),
];

impl Effect {
    /// Whether it applies to a call and differs from every other fault: 409 and 412 are responses to conditional
    /// writes; whether the call took effect matters only for writes; a response without a body cannot be truncated.
    pub fn fits(&self, point: Point) -> bool {
        let same = |other: &&Self| (other.says, other.after) == (self.says, self.after);
        match self.says {
            Refused(Refusal::Conflict | Refusal::Precondition) => point.is_conditional(),
            Half => !point.is_conditional(),
            _ => point.writes() || EFFECTS.iter().find(same) == Some(self),
        }
    }
}

/// The errors of the HTTP client, as the SDK's client reports them.
pub fn broken(says: Says) -> ConnectorError {
    let transient = Some(ErrorKind::TransientError);
    match says {
        Reset => ConnectorError::io("connection reset by peer".into()),
        NotHttp => ConnectorError::other("invalid HTTP version parsed".into(), None),
        _ => ConnectorError::other("connection closed before message completed".into(), transient),
    }
}
