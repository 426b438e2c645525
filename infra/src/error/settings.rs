//! What refused settings mean to the person who ran the command.

use super::{Error, chain};
use stack::settings::SettingsError;

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        match &error {
            SettingsError::Unreadable { source, .. } => {
                chain(source).into_iter().fold(Self::failed(error.to_string()), Self::because)
            }
            SettingsError::Invalid { path: Some(path), problem } => {
                Self::usage(format!("cannot parse {}", path.display())).because(problem)
            }
            SettingsError::Invalid { path: None, problem } => Self::usage(problem),
            SettingsError::Recorded(_) => Self::failed(error.to_string()),
        }
    }
}
