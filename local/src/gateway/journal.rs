//! The journal of recent API calls, for tests and for diagnosis.

use super::call::{Call, Caller};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of calls to keep; a new call replaces the oldest.
const KEPT: usize = 10_000;

/// A call and its outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Counts from 1, without gaps.
    pub(crate) number: u64,
    pub(crate) at: jiff::Timestamp,
    #[serde(flatten)]
    pub(crate) call: Call,
    /// The response status; none before the response, or if the connection was dropped.
    pub(crate) status: Option<u16>,
    /// The fault that applied to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// Milliseconds until the response began.
    pub(crate) took_ms: u64,
}

/// The last calls.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    /// Records a call. Returns its number for [`Self::answered`].
    pub(super) fn came(&self, call: Call, fault: Option<String>) -> u64 {
        let mut inner = self.lock();
        inner.last += 1;
        let number = inner.last;
        let entry = Entry { number, at: jiff::Timestamp::now(), call, status: None, fault, took_ms: 0 };
        inner.entries.push_back(entry);
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
        }
        number
    }

    /// Records the response of a call.
    pub(super) fn answered(&self, number: u64, status: u16, took: Duration) {
        let mut inner = self.lock();
        // Numbers have no gaps, so the index follows from the first number.
        let first = inner.entries.front().map_or(0, |entry| entry.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| inner.entries.get_mut(place)) {
            entry.status = Some(status);
            entry.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        }
    }

    /// The calls after the call with a number, of one kind of caller or of all.
    pub(crate) fn after(&self, number: u64, caller: Option<Caller>) -> Vec<Entry> {
        let inner = self.lock();
        let wanted = |entry: &&Entry| entry.number > number && caller.is_none_or(|caller| entry.call.caller == caller);
        inner.entries.iter().filter(wanted).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_calls_go_and_numbers_go_on() {
        let journal = Journal::default();
        let call = |caller| Call { service: "s3".into(), action: "GetObject".into(), resources: Vec::new(), caller };
        for _ in 0..KEPT {
            journal.came(call(Caller::Client), None);
        }
        let last = journal.came(call(Caller::Function), None);
        journal.answered(1, 500, Duration::ZERO);
        journal.answered(last, 200, Duration::from_millis(3));
        let all = journal.after(0, None);
        assert_eq!((all.len(), all[0].number, all[0].status), (KEPT, 2, None));
        let functions = journal.after(0, Some(Caller::Function));
        let seen: Vec<_> = functions.iter().map(|entry| (entry.number, entry.status, entry.took_ms)).collect();
        assert_eq!(seen, [(10_001, Some(200), 3)]);
        assert!(journal.after(10_001, None).is_empty());
    }
}
