//! Observes an environment during a wait, and reports each change once: how many tasks run, what ECS says,
//! which tasks failed and why, which targets are unfit. Must not know who waits.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::event::Listener;
use super::service::{Reality, Watch};
use super::steady::Expected;
use crate::error::Result;
use model::event::EventKind;

/// Failed tasks of one deployment after which it counts as failed, if no task of it is healthy. The same
/// number as the circuit breaker's smallest threshold.
const FAILURES_BELIEVED: usize = 3;

/// How often ECS is asked which tasks failed: that takes two calls more, which should not delay the good news.
const FAILURES_EVERY: Duration = Duration::from_millis(500);

/// What was seen of one environment.
pub(super) struct Evidence<'a> {
    watch: Watch<'a>,
    expected: &'a Expected,
    began: Instant,
    reported: Option<(i32, i32, usize)>,
    messages: Option<HashSet<String>>,
    targets: HashSet<(String, String)>,
    failed: HashSet<String>,
    /// When ECS was last asked which tasks failed.
    asked: Instant,
    last_failure: Option<String>,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(watch: Watch<'a>, expected: &'a Expected) -> Self {
        Self {
            watch,
            expected,
            began: Instant::now(),
            reported: None,
            messages: None,
            targets: HashSet::new(),
            failed: HashSet::new(),
            asked: Instant::now(),
            last_failure: None,
        }
    }

    /// Reads the state, and reports what is new; `None` if the service is gone. The flag says whether anything is new.
    pub(super) async fn look(&mut self, listener: &dyn Listener) -> Result<Option<(Reality, bool)>> {
        let Some(reality) = self.watch.look().await? else { return Ok(None) };
        // If everything is healthy, earlier failed tasks do not matter.
        let due = self.asked.elapsed() >= FAILURES_EVERY || reality.failure.is_some();
        let failures = due && !reality.is_as(self.expected) && self.tell_failures(listener).await?;
        let news = self.tell(&reality, listener);
        Ok(Some((reality, news || failures)))
    }

    fn tell(&mut self, reality: &Reality, listener: &dyn Listener) -> bool {
        let color = self.expected.color;
        let mut news = false;
        let now = (reality.running, reality.desired, reality.healthy);
        if self.reported.replace(now) != Some(now) {
            let (running, desired, healthy) = now;
            listener.send(EventKind::Rollout { color, running, desired, healthy });
            news = true;
        }
        // What ECS said before this began is not about this.
        let first = self.messages.is_none();
        let known = self.messages.get_or_insert_default();
        for (id, message) in reality.messages.iter().rev() {
            if known.insert(id.clone()) && !first {
                listener.send(EventKind::Service { color, message: message.clone() });
                news = true;
            }
        }
        for (target, state, reason) in &reality.unfit {
            if self.targets.insert((target.clone(), reason.clone())) {
                let (target, state, reason) = (target.clone(), state.clone(), reason.clone());
                listener.send(EventKind::Target { color, target, state, reason });
                news = true;
            }
        }
        news
    }

    /// Tells of tasks of the expected image that failed since this began, each once.
    pub(super) async fn tell_failures(&mut self, listener: &dyn Listener) -> Result<bool> {
        let mut news = false;
        self.asked = Instant::now();
        for task in self.watch.failed_tasks(&self.expected.image, self.began.elapsed()).await? {
            if !self.failed.insert(task.arn.clone()) {
                continue;
            }
            news = true;
            let output = self.watch.last_output(&task).await;
            self.last_failure = Some(match output.last() {
                Some(line) if !task.reason.contains(line) => format!("{}; its last line: {line}", task.reason),
                _ => task.reason.clone(),
            });
            let (color, id) = (self.expected.color, task.id().chars().take(8).collect());
            listener.send(EventKind::TaskFailed { color, task: id, reason: task.reason, output });
        }
        Ok(news)
    }

    /// How many tasks failed, and the last one's reason.
    pub(super) fn failures(&self) -> Option<String> {
        let failure = self.last_failure.as_ref()?;
        Some(match self.failed.len() {
            1 => format!("1 task failed: {failure}"),
            many => format!("{many} tasks failed; the last one: {failure}"),
        })
    }

    /// Why waiting longer is pointless, if it is. Before the update has reached the service, what runs is history.
    pub(super) fn should_abort(&self, reality: &Reality) -> Option<String> {
        let reached = reality.image.as_deref() == Some(self.expected.image.as_str());
        if let Some(failure) = reality.failure.as_ref().filter(|_| reached) {
            return Some(failure.clone());
        }
        // Targets of the version before may be healthy as long as its tasks are there.
        let none_healthy = usize::try_from(reality.leaving).is_ok_and(|leaving| reality.healthy <= leaving);
        let failed = self.failed.len();
        (failed >= FAILURES_BELIEVED && reached && none_healthy)
            .then(|| format!("{failed} tasks failed in a row and none is healthy"))
    }
}
