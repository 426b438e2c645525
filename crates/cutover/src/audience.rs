//! Who is told of runs that have ended. Must not know how they are told, nor decide anything.

use model::Record;
use std::pin::Pin;
use std::time::Duration;

/// Longest time for telling of one run, with all attempts.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Telling, under way. What goes wrong with it is its own affair.
pub type Telling<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Somebody who is told of every run that has ended and is recorded, at least once: a run whose process died before it gave the
/// lease back is told of again by the next one. The run's id says whether it is the same.
pub trait Audience: std::fmt::Debug + Send + Sync {
    /// Tells of a run that has ended.
    fn tell<'a>(&'a self, record: &'a Record) -> Telling<'a>;
}

// The lease is given back only after everybody was told.
const _: () = assert!(TIMEOUT.as_secs() < ledger::RELEASE_GRACE.as_secs());
