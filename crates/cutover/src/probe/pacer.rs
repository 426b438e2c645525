//! Waits with a precision below one millisecond. The timers of Tokio tick once per millisecond and may be another
//! millisecond late, which would count as latency of the site. Must not know what the wait is for.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Longer than the delay of Tokio's timers on a machine that is not busy.
const COARSE: Duration = Duration::from_millis(3);

/// Waits until `due`: most of the time with Tokio, and the rest in a thread, whose sleep is exact to some microseconds.
pub(super) async fn until(due: Instant) {
    sleep_until(due.checked_sub(COARSE).unwrap_or(due)).await;
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        // An error means that the runtime ends, and the loop that waits ends with it.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(left)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_ends_early_and_never_waits_for_what_is_past() {
        for wait in [0, 1, 2, 5].map(Duration::from_millis) {
            let due = Instant::now() + wait;
            until(due).await;
            assert!(Instant::now() >= due, "{wait:?}");
        }
        let began = Instant::now();
        until(began.checked_sub(Duration::from_mins(1)).unwrap_or(began)).await;
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
