//! The receiver of notifications about runs that have ended. Must not know how a notification is delivered, nor decide
//! anything.

use model::Record;
use std::pin::Pin;
use std::time::Duration;

/// Longest time for one notification, with all attempts.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// A notification in progress. It reports its own errors, and they do not affect the run.
pub type Notification<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Receives a notification of every run that has ended and is recorded, at least once. If a process dies before it releases the
/// lease, the next run sends the notification again; the run's id identifies the duplicate.
pub trait Notifier: std::fmt::Debug + Send + Sync {
    /// Sends the notification of a run that has ended.
    fn notify<'a>(&'a self, record: &'a Record) -> Notification<'a>;
}

// A run releases the lease only after all notifications are sent.
const _: () = assert!(TIMEOUT.as_secs() < ledger::RELEASE_GRACE.as_secs());
