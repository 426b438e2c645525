//! When a connection or an exchange is idle: for as long as the idle timeout, no byte has come or gone. See
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#connection-idle-timeout>.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The largest request head that is kept for its classification: that of an ALB, and a little more.
const HEAD_KEPT: usize = 72 * 1024;

/// The time of the last byte.
#[derive(Debug)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(now()))
    }

    pub(super) fn touch(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    fn due(&self, limit: Duration) -> Instant {
        *BEGIN + Duration::from_millis(self.0.load(Ordering::Relaxed)) + limit
    }

    /// Returns when there was no byte for this long.
    pub(super) async fn silent(&self, limit: Duration) {
        loop {
            let due = self.due(limit);
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

fn now() -> u64 {
    u64::try_from(BEGIN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The state of a connection of a client.
#[derive(Debug)]
pub(super) struct Activity {
    pulse: Pulse,
    limit: AtomicU64,
    /// The exchanges whose response has not begun. They have a time limit of their own.
    waiting: AtomicUsize,
    /// The exchanges whose response has not ended.
    open: AtomicUsize,
    http2: bool,
    /// The bytes of a request of HTTP/1 that came before its exchange began.
    head: Mutex<Vec<u8>>,
    /// Whether the response that begins looks like one that hyper makes for a malformed request, and is not.
    own: AtomicBool,
    changed: Notify,
}

impl Activity {
    pub(super) fn new(limit: Duration, http2: bool) -> Arc<Self> {
        Arc::new(Self {
            pulse: Pulse::new(),
            limit: AtomicU64::new(millis(limit)),
            waiting: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            http2,
            head: Mutex::default(),
            own: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// Sets the idle timeout of the load balancer that serves the connection.
    pub(super) fn set_limit(&self, limit: Duration) {
        if self.limit.swap(millis(limit), Ordering::Relaxed) != millis(limit) {
            self.changed.notify_one();
        }
    }

    /// Notes bytes from the client.
    pub(super) fn came(&self, bytes: &[u8]) {
        self.went();
        if !self.http2 && self.open.load(Ordering::Acquire) == 0 {
            let mut head = self.head();
            let room = HEAD_KEPT.saturating_sub(head.len());
            head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }

    /// Notes that bytes were sent to the client.
    pub(super) fn went(&self) {
        // PING frames of HTTP/2 do not count.
        if !self.http2 || self.open.load(Ordering::Acquire) > 0 {
            self.pulse.touch();
        }
    }

    /// Begins an exchange.
    pub(super) fn enter(self: &Arc<Self>) -> Visit {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.own.store(false, Ordering::Release);
        Visit { activity: Arc::clone(self), waiting: true }
    }

    /// The bytes of the request that begins. They are not there if they came together with another request.
    pub(super) fn take_head(&self) -> Vec<u8> {
        std::mem::take(&mut *self.head())
    }

    /// Whether there are bytes of a request that has not begun.
    pub(super) fn is_in_head(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0 && !self.head().is_empty()
    }

    /// Marks the next response as one of an exchange.
    pub(super) fn mark_own(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// Whether the next response is one of an exchange.
    pub(super) fn take_own(&self) -> bool {
        self.own.swap(false, Ordering::AcqRel)
    }

    fn head(&self) -> MutexGuard<'_, Vec<u8>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the connection is idle.
    pub(super) async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.waiting.load(Ordering::Acquire) > 0 {
                changed.await;
                continue;
            }
            let due = self.pulse.due(Duration::from_millis(self.limit.load(Ordering::Relaxed)));
            if due <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = changed => {}
            }
        }
    }
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// An exchange on a connection; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    activity: Arc<Activity>,
    waiting: bool,
}

impl Visit {
    /// Notes that the response begins.
    pub(super) fn answered(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.activity.waiting.fetch_sub(1, Ordering::AcqRel);
            self.activity.pulse.touch();
            self.activity.changed.notify_one();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.answered();
        self.activity.pulse.touch();
        self.activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_connection_with_bytes_is_not_idle_and_one_without_is() {
        let activity = Activity::new(LIMIT, false);
        let began = Instant::now();
        for _ in 0..4 {
            let waited = tokio::time::timeout(LIMIT / 2, activity.idle()).await;
            assert!(waited.is_err());
            activity.came(b"x");
        }
        activity.idle().await;
        assert!(began.elapsed() >= LIMIT * 3);
    }

    #[tokio::test]
    async fn a_connection_is_not_idle_while_a_request_waits_for_its_response() {
        let activity = Activity::new(LIMIT, false);
        let mut visit = activity.enter();
        assert!(tokio::time::timeout(LIMIT * 3, activity.idle()).await.is_err());
        visit.answered();
        activity.idle().await;
    }

    #[test]
    fn the_head_of_a_request_is_kept_up_to_a_limit() {
        let activity = Activity::new(LIMIT, false);
        for _ in 0..3 {
            activity.came(&vec![b'x'; HEAD_KEPT / 2]);
        }
        assert!(activity.is_in_head());
        assert_eq!(activity.take_head().len(), HEAD_KEPT);
        let _visit = activity.enter();
        activity.came(b"body");
        assert!(activity.take_head().is_empty());
    }
}
