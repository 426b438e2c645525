//! The report of a run for people: one self-contained page with a chart, Markdown for a pull request, or the record
//! itself. A pure function of the record; what the record says comes from outside and is shown as text, never as markup.

pub mod chart;
mod facts;
mod markdown;
mod page;
pub mod text;
pub mod timeline;
pub mod verdict;

use cutover_lambda::Record;

use crate::error::{Error, Result};

/// The style sheet that reports and the dashboard share.
pub const STYLE: &str = include_str!("style.css");

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One self-contained page.
    Html,
    /// For pull requests and chats.
    Md,
    /// The record, as documented.
    Json,
}

/// Where the run took place, as far as the record does not say.
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
pub fn render(record: &Record, place: &Place, format: Format) -> Result<String> {
    match format {
        Format::Html => Ok(page::render(record, place)),
        Format::Md => Ok(markdown::render(record, place)),
        Format::Json => serde_json::to_string_pretty(record)
            .map(|json| json + "\n")
            .map_err(|error| Error::failed(format!("cannot write run {} as JSON", record.id)).because(error)),
    }
}

#[cfg(test)]
mod tests;
