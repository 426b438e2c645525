//! What "deployed" means: the expected image runs, as often as wanted, steadily, and the load balancer finds it healthy.
//! (Which version then answers is asked in `version`.)
//!
//! CloudFormation's COMPLETE is not enough: ECS's circuit breaker may have gone back to the version before.

use std::time::{Duration, Instant};

use model::color::Color;

use super::control::{Control, Stage};
use super::event::Listener;
use super::evidence::Evidence;
use super::poll::Poll;
use super::service::{Reality, Watch, healthy_targets};
use super::silence::Silence;
use crate::cloud::Cloud;
use crate::error::{Error, Result, RolloutFailure};
use model::event::EventKind;
use stack::outputs::Outputs;

/// What an environment should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which environment.
    pub color: Color,
    /// The image by digest.
    pub image: String,
}

impl Reality {
    pub(super) fn is_as(&self, expected: &Expected) -> bool {
        self.image.as_deref() == Some(expected.image.as_str())
            && self.complete
            && self.desired > 0
            && self.running >= self.desired
            && self.leaving == 0
            && usize::try_from(self.desired).is_ok_and(|desired| self.healthy >= desired)
    }
}

/// Waits until an environment runs what is expected.
///
/// The error contains the cause, with the reasons and last lines of the failed tasks.
pub async fn wait_until_steady(
    cloud: &Cloud,
    outputs: &Outputs,
    expected: &Expected,
    limit: Duration,
    (control, listener): (&Control, &dyn Listener),
) -> Result<()> {
    let color = expected.color;
    let Some(service) = outputs.service(color) else {
        return Err(Error::NoService { color });
    };
    let mut evidence = Evidence::new(Watch::new(cloud, outputs, color, service), expected);
    let _waiting = control.enter(Stage::Waiting);
    let began = Instant::now();
    let mut poll = Poll::default();
    let mut silence = Silence::default();
    loop {
        let (reality, news) = match Box::pin(evidence.look(listener)).await {
            Ok(Some(seen)) => seen,
            Ok(None) => return Err(Error::ServiceGone { color }),
            // What cannot be seen is not steady, and not failed either; a person can still cancel.
            Err(error) if control.is_cancelled() => return Err(error),
            Err(error) => {
                silence.continues(error, listener)?;
                poll.wait().await;
                continue;
            }
        };
        silence.ended(listener);
        if reality.is_as(expected) {
            return Ok(());
        }
        if news {
            poll.progress();
        }
        let why = if control.is_cancelled() {
            Some("it was cancelled".to_owned())
        } else {
            evidence.should_abort(&reality).or_else(|| verdict(&reality, expected, began.elapsed() > limit))
        };
        if let Some(reason) = why {
            let unread = evidence.tell_failures(listener).await.err();
            listener.send(EventKind::RolloutFailed { color, reason: reason.clone() });
            let failure = RolloutFailure { color, failures: evidence.failures(), reason, unread };
            return Err(Error::RolloutFailed(Box::new(failure)));
        }
        poll.wait().await;
    }
}

/// Why waiting longer is pointless after the stack's update is through, if it is.
fn verdict(reality: &Reality, expected: &Expected, too_late: bool) -> Option<String> {
    if let Some(failure) = &reality.failure {
        return Some(failure.clone());
    }
    if reality.complete && reality.image.as_ref().is_some_and(|image| *image != expected.image) {
        return Some("ECS rolled back to the previous version because the new tasks kept failing".to_owned());
    }
    too_late.then(|| {
        format!(
            "timed out with {} of {} tasks running and {} healthy",
            reality.running, reality.desired, reality.healthy
        )
    })
}

/// An environment at a moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Tasks that run, of whatever version.
    pub running: i32,
    /// Tasks that should.
    pub desired: i32,
    /// Targets that the load balancer finds healthy.
    pub healthy: usize,
    /// Whether it is as expected but for its tasks, of which none run and none should.
    pub asleep: bool,
    /// The difference from the expected state, as text.
    pub fault: Option<String>,
}

/// Reads an environment once, and compares it with the expected state.
pub async fn observe(cloud: &Cloud, outputs: &Outputs, expected: &Expected) -> Result<Observed> {
    let fault = |text: &str| Some(text.to_owned());
    let Some(service) = outputs.service(expected.color) else {
        let healthy = healthy_targets(cloud, outputs.target_group(expected.color)).await?;
        return Ok(Observed { healthy, ..Observed::default() });
    };
    let Some(reality) = Watch::new(cloud, outputs, expected.color, service).look().await? else {
        let healthy = healthy_targets(cloud, outputs.target_group(expected.color)).await?;
        return Ok(Observed { healthy, fault: fault("the service is gone"), ..Observed::default() });
    };
    let fault = if reality.is_as(expected) {
        None
    } else if let Some(failure) = &reality.failure {
        fault(failure)
    } else if reality.image.as_deref() != Some(expected.image.as_str()) {
        fault("runs a different image than the stack defines")
    } else {
        Some(format!("{} of {} running, {} healthy", reality.running, reality.desired, reality.healthy))
    };
    let running = reality.running + reality.leaving;
    let asleep = reality.desired == 0 && running == 0 && reality.image.as_deref() == Some(expected.image.as_str());
    Ok(Observed { asleep, running, desired: reality.desired, healthy: reality.healthy, fault })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        Expected { color: Color::Blue, image: "app@sha256:2".to_owned() }
    }

    fn reality() -> Reality {
        Reality {
            image: Some("app@sha256:2".to_owned()),
            running: 2,
            leaving: 0,
            desired: 2,
            healthy: 2,
            complete: true,
            failure: None,
            unfit: Vec::new(),
            messages: Vec::new(),
        }
    }

    #[test]
    fn everything_in_place_is_deployed() {
        assert!(reality().is_as(&expected()));
    }

    #[test]
    fn each_thing_that_lacks_is_not_deployed() {
        assert!(!Reality { image: Some("app@sha256:1".to_owned()), ..reality() }.is_as(&expected()));
        assert!(!Reality { running: 1, ..reality() }.is_as(&expected()));
        assert!(!Reality { healthy: 1, ..reality() }.is_as(&expected()));
        assert!(!Reality { leaving: 2, healthy: 4, ..reality() }.is_as(&expected()));
        assert!(!Reality { complete: false, ..reality() }.is_as(&expected()));
        assert!(!Reality { desired: 0, running: 0, healthy: 0, ..reality() }.is_as(&expected()));
    }

    #[test]
    fn a_service_that_went_back_is_not_waited_for() {
        let back = Reality { image: Some("app@sha256:1".to_owned()), ..reality() };
        assert!(verdict(&back, &expected(), false).is_some_and(|reason| reason.contains("rolled back")));
    }

    #[test]
    fn time_runs_out() {
        let slow = Reality { healthy: 0, complete: false, ..reality() };
        assert!(verdict(&slow, &expected(), true).is_some_and(|reason| reason.contains("timed out")));
    }
}
