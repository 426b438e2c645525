//! What the client outside says that it saw: shared by its program and by the tests that start it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the client saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub requests: u64,
    pub milliseconds: u64,
    /// When, in microseconds since 1970, and what went wrong.
    pub failures: Vec<(u64, String)>,
    /// Good answers by version.
    pub versions: BTreeMap<String, u64>,
}
