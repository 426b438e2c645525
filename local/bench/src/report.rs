//! The report of a run, stored as a JSON file. Fields are added, never changed.

use std::path::Path;

use infra::error::{Doing as _, Error, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::row::Row;

/// The version of the format, in [`Report::schema`].
pub const SCHEMA: u32 = 1;

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format, [`SCHEMA`].
    pub schema: u32,
    /// When the run began.
    pub started: jiff::Timestamp,
    /// The duration of the run, in seconds.
    pub seconds: u64,
    /// The machine of the run.
    pub machine: Machine,
    /// The Cargo profile of the measured commands; `make build` uses `dev`.
    pub profile: String,
    /// The measurements.
    pub rows: Vec<Row>,
    /// The skipped measurements, with the reason.
    pub skipped: Vec<Skipped>,
    /// The failed parts; only these make a run fail.
    pub broken: Vec<Skipped>,
}

/// A measurement that was skipped or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The name of the measurement.
    pub what: String,
    /// The reason.
    pub why: String,
}

impl Report {
    /// Reads a report from its file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .doing(|| format!("read {}", file.display()))
            .map_err(|error| error.hint("make bench writes it"))?;
        serde_json::from_str(&text).doing(|| format!("parse {}", file.display()))
    }

    /// Writes the report to its file.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).doing(|| "write the report as JSON".to_owned())?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))?;
        }
        std::fs::write(file, text + "\n").doing(|| format!("write {}", file.display()))
    }

    /// Fails if a part failed.
    pub fn check(&self) -> Result<()> {
        if self.broken.is_empty() {
            return Ok(());
        }
        let error = Error::failed(format!("{} of the benchmark failed", parts(self.broken.len())));
        Err(self.broken.iter().fold(error, |error, broken| error.because(format!("{}: {}", broken.what, broken.why))))
    }
}

fn parts(count: usize) -> String {
    if count == 1 { "a part".to_owned() } else { format!("{count} parts") }
}
