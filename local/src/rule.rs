//! What rules of API call faults and of task faults share: ids, and which of the matches fail.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of a new rule; ids are unique over both kinds of faults.
pub(crate) fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Which matches of a rule fail: `times` matches after the first `skip`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Turns {
    /// The number of matches to let through first.
    #[serde(default)]
    pub(crate) skip: u64,
    /// The number of failures before all matches pass again; no limit if absent.
    pub(crate) times: Option<u64>,
    /// The number of matches so far, including those that passed.
    #[serde(default)]
    pub(crate) met: u64,
}

impl Turns {
    /// The same limits with no matches yet.
    pub(crate) const fn anew(self) -> Self {
        Self { met: 0, ..self }
    }

    /// Describes which matches fail, as the end of a sentence; empty if all fail.
    pub(crate) fn in_words(self, met: &str) -> String {
        let after = if self.skip > 0 { format!(", after {} {met}", self.skip) } else { String::new() };
        let times = self.times.map_or_else(String::new, |times| format!(", {times} times"));
        after + &times
    }

    /// Counts a match and returns whether it fails.
    pub(crate) fn strikes(&mut self) -> bool {
        self.met += 1;
        self.is_past_skip() && self.times.is_none_or(|times| self.met <= self.skip.saturating_add(times))
    }

    /// Whether a match that can fail has occurred.
    pub(crate) const fn is_past_skip(&self) -> bool {
        self.met > self.skip
    }
}
