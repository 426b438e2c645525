//! One clock for a run: wall time that advances with tokio's monotonic clock, so that an adjustment of the system clock
//! cannot shorten a lease, and so that it follows the paused time of tests. Create one for each invocation: Lambda
//! freezes a function between invocations, and the clock would be behind
//! (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>). Must not know what is timed.

use jiff::Timestamp;
use model::time::later;
use tokio::time::Instant;

/// Wall time at its creation, plus the monotonic time since then.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    mono: Instant,
}

impl Clock {
    /// A clock that starts at the time of the system.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that starts at `wall`.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, mono: Instant::now() }
    }

    /// The wall time.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The wall time at `instant`, in whole milliseconds.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let exact = later(self.wall, instant.saturating_duration_since(self.mono));
        Timestamp::from_millisecond(exact.as_millisecond()).unwrap_or(exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::between;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_moves_with_tokios_time() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now().as_millisecond(), 1500);
        assert_eq!(between(Timestamp::UNIX_EPOCH, clock.now()), Duration::from_millis(1500));
    }
}
