//! The API calls of late, for tests and for people who want to know what a program really asked for.

use super::call::{Call, Caller};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many calls are kept; an older one goes for a new one.
const KEPT: usize = 10_000;

/// A call with what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Counts from 1, without gaps.
    pub(crate) number: u64,
    pub(crate) at: jiff::Timestamp,
    #[serde(flatten)]
    pub(crate) call: Call,
    /// The status that was answered; none where the connection was dropped.
    pub(crate) status: Option<u16>,
    /// The fault that it met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// Milliseconds until the answer began.
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
    pub(super) fn note(&self, call: Call, status: Option<u16>, fault: Option<String>, took: std::time::Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last += 1;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let entry = Entry { number: inner.last, at: jiff::Timestamp::now(), call, status, fault, took_ms };
        inner.entries.push_back(entry);
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
        }
    }

    /// The calls after one's number, of one caller or of all.
    pub(crate) fn after(&self, number: u64, caller: Option<Caller>) -> Vec<Entry> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |entry: &&Entry| entry.number > number && caller.is_none_or(|caller| entry.call.caller == caller);
        inner.entries.iter().filter(wanted).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_calls_go_and_numbers_go_on() {
        let journal = Journal::default();
        let call = |caller| Call { service: "s3".into(), action: "GetObject".into(), resources: Vec::new(), caller };
        for _ in 0..KEPT {
            journal.note(call(Caller::Client), Some(200), None, Duration::ZERO);
        }
        journal.note(call(Caller::Function), None, None, Duration::ZERO);
        let all = journal.after(0, None);
        assert_eq!((all.len(), all[0].number), (KEPT, 2));
        let functions = journal.after(0, Some(Caller::Function));
        assert_eq!(functions.iter().map(|entry| entry.number).collect::<Vec<_>>(), [10_001]);
        assert!(journal.after(10_001, None).is_empty());
    }
}
