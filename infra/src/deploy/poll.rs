//! How long to wait between two looks at something: short at first, longer while nothing changes.

use std::time::Duration;

/// The first pause. The local cloud answers in a few milliseconds, so a person should not wait longer than this.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause: CloudFormation's and ECS's own steps take seconds, and their APIs are throttled per account.
const LONGEST: Duration = Duration::from_secs(2);

/// A pause that grows by half with each round in which nothing changed.
#[derive(Debug)]
pub struct Poll {
    pause: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self { pause: FIRST }
    }
}

impl Poll {
    /// Something changed: look again soon.
    pub fn progress(&mut self) {
        self.pause = FIRST;
    }

    /// The pause before the next look, which makes the one after it longer.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST);
        pause
    }

    /// Waits for the pause before the next look.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_limit_and_starts_again_on_progress() {
        let mut poll = Poll::default();
        assert_eq!(poll.next_pause(), FIRST);
        assert!(poll.next_pause() > FIRST);
        for _ in 0..20 {
            poll.next_pause();
        }
        assert_eq!(poll.next_pause(), LONGEST);
        poll.progress();
        assert_eq!(poll.next_pause(), FIRST);
    }
}
