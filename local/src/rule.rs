//! What rules of faults have in common, be they of calls or of tasks: their ids, and which of what they meet fails.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of a new rule, whatever it is of.
pub(crate) fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Whose turn it is to fail: so many of those that a rule meets, after the first ones.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Turns {
    /// Those that pass before the first one fails.
    #[serde(default)]
    pub(crate) skip: u64,
    /// Those that fail before all pass again; without end where there is none.
    pub(crate) times: Option<u64>,
    /// Those that it has met so far, the ones that passed included.
    #[serde(default)]
    pub(crate) met: u64,
}

impl Turns {
    /// The same, with nothing met yet.
    pub(crate) const fn anew(self) -> Self {
        Self { met: 0, ..self }
    }

    /// Which of these fail, in words to go on with; nothing where all do.
    pub(crate) fn in_words(self, met: &str) -> String {
        let after = if self.skip > 0 { format!(", after {} {met}", self.skip) } else { String::new() };
        let times = self.times.map_or_else(String::new, |times| format!(", {times} times"));
        after + &times
    }

    /// Counts one more, and says whether it fails.
    pub(crate) fn strikes(&mut self) -> bool {
        self.met += 1;
        self.is_past_skip() && self.times.is_none_or(|times| self.met <= self.skip.saturating_add(times))
    }

    /// Whether the first one that may fail has been met.
    pub(crate) const fn is_past_skip(&self) -> bool {
        self.met > self.skip
    }
}
