//! The pause between two reads of a state: short at first, longer while nothing changes.

use std::time::{Duration, Instant};

/// The shortest pause, for services that respond within a few milliseconds.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest pause: CloudFormation's and ECS's own steps take seconds, and their APIs are throttled per account.
const LONGEST: Duration = Duration::from_secs(2);

/// A pause that grows by half with each round in which nothing changed, and is never shorter than the look before it took:
/// an AWS that is far away or busy is asked less often than a local cloud.
#[derive(Debug)]
pub struct Poll {
    pause: Duration,
    /// When the last pause ended.
    looked: Instant,
}

impl Default for Poll {
    fn default() -> Self {
        Self { pause: SHORTEST, looked: Instant::now() }
    }
}

impl Poll {
    /// Something changed: read again soon.
    pub fn progress(&mut self) {
        self.pause = SHORTEST;
    }

    /// The pause before the next look, after one that took this long; it makes the one after it longer.
    fn next_pause(&mut self, took: Duration) -> Duration {
        let pause = self.pause.max(took).min(LONGEST);
        self.pause = (self.pause * 3 / 2).min(LONGEST);
        pause
    }

    /// Waits for the pause before the next look.
    pub async fn wait(&mut self) {
        let pause = self.next_pause(self.looked.elapsed());
        tokio::time::sleep(pause).await;
        self.looked = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_limit_and_starts_again_on_progress() {
        let mut poll = Poll::default();
        assert_eq!(poll.next_pause(Duration::ZERO), SHORTEST);
        assert!(poll.next_pause(Duration::ZERO) > SHORTEST);
        for _ in 0..20 {
            poll.next_pause(Duration::ZERO);
        }
        assert_eq!(poll.next_pause(Duration::ZERO), LONGEST);
        poll.progress();
        assert_eq!(poll.next_pause(Duration::ZERO), SHORTEST);
    }

    #[test]
    fn who_answers_slowly_is_asked_less_often_within_the_limit() {
        let mut poll = Poll::default();
        let slow = Duration::from_millis(80);
        assert_eq!(poll.next_pause(slow), slow);
        assert!(poll.next_pause(Duration::ZERO) < slow, "a look that was slow once");
        assert_eq!(poll.next_pause(LONGEST * 2), LONGEST);
    }
}
