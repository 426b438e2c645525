//! How long a start waits after earlier starts failed. Pure.
//!
//! Without a circuit breaker, MiniStack restarts a failing task at once, without a limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A circuit breaker needs at least three failures, so the first three have no delay.
const FREE_FAILURES: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(5);
/// A task that ran this long counts as started.
const LIVED: Duration = Duration::from_secs(10);
/// Failures older than this do not delay the next start.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// Consecutive failures of each task definition or image.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: BTreeMap<String, (u32, Instant)>,
}

impl Backoff {
    /// The delay of the next start of `what`.
    pub(crate) fn delay(&self, what: &str, now: Instant) -> Duration {
        match self.failures.get(what) {
            Some((count, last)) if now.duration_since(*last) < FORGOTTEN => delay_after(*count),
            _ => Duration::ZERO,
        }
    }

    /// Records that `what` failed, and how long it ran.
    pub(crate) fn failed(&mut self, what: &str, lived: Duration, now: Instant) {
        let (count, last) = self.failures.entry(what.to_owned()).or_insert((0, now));
        let fresh = lived >= LIVED || now.duration_since(*last) >= FORGOTTEN;
        *count = if fresh { 1 } else { *count + 1 };
        *last = now;
    }
}

fn delay_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None | Some(0) => Duration::ZERO,
        Some(more) => FIRST_DELAY.saturating_mul(1 << (more - 1).min(16)).min(MAX_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failures_a_circuit_breaker_needs_are_not_delayed_and_later_ones_ever_longer() {
        let delays: Vec<u128> = (0..9).map(|failures| delay_after(failures).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 500, 1000, 2000, 4000, 5000]);
    }

    #[test]
    fn a_task_that_had_lived_starts_over() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.failed("web:1", Duration::ZERO, now);
        }
        assert!(backoff.delay("web:1", now) > Duration::ZERO);
        assert_eq!(backoff.delay("web:2", now), Duration::ZERO);
        backoff.failed("web:1", Duration::from_mins(1), now);
        assert_eq!(backoff.delay("web:1", now), Duration::ZERO);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.failed("web:1", Duration::ZERO, now);
        }
        assert_eq!(backoff.delay("web:1", now + FORGOTTEN), Duration::ZERO);
    }
}
