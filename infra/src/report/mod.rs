//! The report of a run for people: one self-contained page with a chart, Markdown for a pull request, or the record
//! itself. A pure function of the record; what the record says comes from outside and is shown as text, never as markup.

pub mod chart;
pub mod drawing;
pub(crate) mod facts;
mod markdown;
mod page;
pub mod text;
pub mod timeline;
pub mod verdict;

use std::path::Path;

use model::Record;
use model::record::Samples;
use serde::{Deserialize, Serialize};

pub use page::{document, sections};

use crate::error::{Error, Result};

/// The style sheet that reports and the dashboard share.
pub const STYLE: &str = include_str!("style.css");

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One self-contained HTML page.
    Html,
    /// Markdown for pull requests and chats.
    Md,
    /// The record and every probe as JSON.
    Json,
}

impl Format {
    /// The given format, or the one of the file's extension, or else `otherwise`.
    pub fn of_file(given: Option<Self>, file: Option<&Path>, otherwise: Self) -> Self {
        let extension = file.and_then(Path::extension).and_then(|extension| extension.to_str());
        given.unwrap_or(match extension {
            Some("md" | "markdown") => Self::Md,
            Some("json") => Self::Json,
            Some("html") => Self::Html,
            _ => otherwise,
        })
    }
}

/// A run as a report needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its record.
    pub record: Record,
    /// Every probe of prod, if they were kept.
    #[serde(default)]
    pub samples: Option<Samples>,
    /// The settings in which the two releases differ, by name; null if one of them has no record.
    #[serde(default)]
    pub changed: Option<Vec<String>>,
}

impl From<Record> for Run {
    fn from(record: Record) -> Self {
        Self { record, samples: None, changed: None }
    }
}

/// The stack and region of the run, which are not in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The stack's name.
    pub stack: String,
    /// The region.
    pub region: String,
    /// What users of prod open.
    pub prod_url: String,
}

/// The report of a run.
pub fn render(run: &Run, place: &Place, format: Format) -> Result<String> {
    match format {
        Format::Html => Ok(page::render(run, place)),
        Format::Md => Ok(markdown::render(run, place)),
        Format::Json => serde_json::to_string_pretty(run)
            .map(|json| json + "\n")
            .map_err(|error| Error::failed(format!("cannot write run {} as JSON", run.record.id)).because(error)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
