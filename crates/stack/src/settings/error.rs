//! Errors of the settings. Must not know how a command handles them.

use std::io;
use std::path::PathBuf;

/// Why settings cannot be read or are not valid.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is not TOML, has an unknown key or an invalid value, or two settings contradict each other.
    #[error("{problem}")]
    Invalid {
        /// The file, if the settings come from one.
        path: Option<PathBuf>,
        /// What is wrong: the line of the file with carets under the value, and what is accepted.
        problem: String,
    },
    /// The settings that a deployed template records cannot be read.
    #[error("cannot read the settings recorded in the template: {0}")]
    Recorded(#[from] serde_json::Error),
}

impl SettingsError {
    pub(super) fn invalid(problem: &str) -> Self {
        Self::Invalid { path: None, problem: problem.trim_end().to_owned() }
    }

    /// The same error, with the file that it is in.
    pub(super) fn in_file(self, file: &std::path::Path) -> Self {
        match self {
            Self::Invalid { problem, .. } => Self::Invalid { path: Some(file.to_owned()), problem },
            other => other,
        }
    }
}
