//! Everything that a run of the benchmark found, as it is kept in a JSON file. Fields are added, never changed.

use std::path::Path;

use infra::error::{Doing as _, Error, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::row::Row;

/// Version of the format, in [`Report::schema`].
pub const SCHEMA: u32 = 1;

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format, [`SCHEMA`].
    pub schema: u32,
    /// When the run began.
    pub started: jiff::Timestamp,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Where it ran.
    pub machine: Machine,
    /// Cargo's profile of the commands that were measured: what `make` gives is `dev`.
    pub profile: String,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What was not, and why.
    pub skipped: Vec<Skipped>,
    /// What broke: only this makes a run fail.
    pub broken: Vec<Skipped>,
}

/// Something that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Reads it from its file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .doing(|| format!("read {}", file.display()))
            .map_err(|error| error.hint("make bench writes it"))?;
        serde_json::from_str(&text).doing(|| format!("understand {}", file.display()))
    }

    /// Writes it to its file.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).doing(|| "write the report as JSON".to_owned())?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
        }
        std::fs::write(file, text + "\n").doing(|| format!("write {}", file.display()))
    }

    /// An error where something broke.
    pub fn check(&self) -> Result<()> {
        if self.broken.is_empty() {
            return Ok(());
        }
        let error = Error::failed(format!("{} of the benchmark broke", parts(self.broken.len())));
        Err(self.broken.iter().fold(error, |error, broken| error.because(format!("{}: {}", broken.what, broken.why))))
    }
}

fn parts(count: usize) -> String {
    if count == 1 { "a part".to_owned() } else { format!("{count} parts") }
}
