//! A whole release of an image on this machine, before AWS sees it: what users would have seen of it, and whether the
//! rollback would have saved them.
//!
//! `cloud` drives the local cloud, `load` plays the users, `verdict` judges what was seen, and the rest shows it. The
//! release itself is made by the same commands that make it on AWS; nothing in them knows of this.

mod chart;
pub mod cloud;
pub mod document;
pub mod load;
mod page;
pub mod plan;
pub mod text;
pub mod verdict;

pub use document::Rehearsal;

use crate::error::{Error, Result};
use crate::report::{Format, Place};

/// The report of a rehearsal.
pub fn render(rehearsal: &Rehearsal, place: &Place, format: Format) -> Result<String> {
    match format {
        Format::Html => Ok(page::render(rehearsal, place)),
        Format::Md => text::markdown(rehearsal, place),
        Format::Json => serde_json::to_string_pretty(rehearsal)
            .map(|json| json + "\n")
            .map_err(|error| Error::failed("cannot write the rehearsal as JSON").because(error)),
    }
}
