//! Arithmetic with points in time that saturates instead of failing. Must not read a clock.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// `timestamp + duration`, or the end of time.
pub fn later(timestamp: Timestamp, duration: Duration) -> Timestamp {
    timestamp.saturating_add(signed(duration)).unwrap_or(Timestamp::MAX)
}

/// Time from `from` until `to`; zero if `to` is not after `from`.
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

    #[test]
    fn it_saturates() {
        let second = later(Timestamp::UNIX_EPOCH, Duration::from_millis(1500));
        assert_eq!(second.as_millisecond(), 1500);
        assert_eq!(between(Timestamp::UNIX_EPOCH, second), Duration::from_millis(1500));
        assert_eq!(between(second, Timestamp::UNIX_EPOCH), Duration::ZERO);
        assert_eq!(later(second, Duration::MAX), Timestamp::MAX);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
