//! Repeats a registry's operation that failed for a moment. Must not know what the operations are.

use std::time::Duration;

use oci_client::errors::OciDistributionError;
use tokio::time::sleep;

use crate::error::Step;
use crate::registry_error::ErrorFacts;

/// Four tries within about 1.5 s: enough for a dropped connection or a throttled second, no more.
pub(crate) const TRIES: Tries = Tries { count: 4, first_pause: Duration::from_millis(200) };

/// How often to try, and how long to pause before the second try; each later pause is twice as long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    pub count: u32,
    pub first_pause: Duration,
}

/// The step that failed, and the client's error.
pub(crate) type Failed = (Step, OciDistributionError);

impl Tries {
    /// As in production, but without the pauses.
    #[cfg(test)]
    pub const AT_ONCE: Self = Self { first_pause: Duration::ZERO, ..TRIES };

    /// Tries an operation until it succeeds, fails for good, or was tried often enough.
    pub async fn attempt<T>(
        self,
        step: Step,
        operation: impl AsyncFn() -> Result<T, OciDistributionError>,
    ) -> Result<T, Failed> {
        let mut pause = self.first_pause;
        let mut left = self.count;
        loop {
            left -= 1;
            match operation().await {
                Err(error) if left > 0 && ErrorFacts::from(&error).is_transient() => sleep(pause).await,
                outcome => return outcome.map_err(|error| (step, error)),
            }
            pause *= 2;
        }
    }
}
