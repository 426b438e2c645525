//! `bluegreen graph`: the architecture as a picture, drawn from the template. Calls nothing.

use std::path::{Path, PathBuf};

use super::synth;
use crate::error::{Doing, Result};
use stack::Settings;
use stack::graph::{Format, render};

/// What is asked of `graph`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// How to draw it; by the ending of --out where not said, else svg.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The file to write; standard output where none is named.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Draws the stack of these settings: writes the file, or gives what is to be printed.
pub fn run(settings: &Settings, arguments: &Arguments) -> Result<Option<String>> {
    let ending = arguments.out.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
    let format = arguments.format.unwrap_or(match ending {
        Some("mmd" | "mermaid") => Format::Mermaid,
        _ => Format::Svg,
    });
    let text = render(&synth::template(settings)?, format);
    let Some(file) = &arguments.out else { return Ok(Some(text)) };
    std::fs::write(file, text).doing(|| format!("write {}", file.display()))?;
    Ok(None)
}
