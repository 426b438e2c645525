//! One clock for a run: wall time that moves with tokio's monotonic one, so that a step of the system's clock cannot
//! shorten a lease, and so that tests with paused time see it move. Make one for each invocation: a function that was
//! frozen in between would be behind. Must not know what is timed.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// Wall time as of its making, plus the monotonic time since.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    mono: Instant,
}

impl Clock {
    /// A clock that shows the system's time now.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that shows `wall` now.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, mono: Instant::now() }
    }

    /// The wall time.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The wall time at `instant`, in whole milliseconds.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let exact =
            self.wall.saturating_add(signed(instant.saturating_duration_since(self.mono))).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(exact.as_millisecond()).unwrap_or(exact)
    }
}

/// `timestamp + duration`, or the end of time.
pub fn later(timestamp: Timestamp, duration: Duration) -> Timestamp {
    timestamp.saturating_add(signed(duration)).unwrap_or(Timestamp::MAX)
}

/// Time from `from` until `to`; zero where `to` is not after it.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_moves_with_tokios_time() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now().as_millisecond(), 1500);
        assert_eq!(between(Timestamp::UNIX_EPOCH, clock.now()), Duration::from_millis(1500));
        assert_eq!(between(clock.now(), Timestamp::UNIX_EPOCH), Duration::ZERO);
        assert_eq!(later(clock.now(), Duration::from_millis(500)).as_second(), 2);
    }
}
