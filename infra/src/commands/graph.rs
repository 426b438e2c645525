//! `bluegreen graph`: the architecture as a picture, drawn from the template. Calls nothing.

use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::session::{Session, print_text};
use crate::synthesis;
use stack::graph::{Format, render};

/// The arguments of `graph`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Output format [default: from the extension of --out, else svg].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Output file [default: standard output].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    /// Draws the stack: writes the file, or prints it.
    pub fn run(&self, session: &Session) -> Result<()> {
        let ending = self.out.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        let format = self.format.unwrap_or(match ending {
            Some("mmd" | "mermaid") => Format::Mermaid,
            _ => Format::Svg,
        });
        let text = render(&synthesis::template(&session.context.settings)?, format);
        match &self.out {
            Some(file) => std::fs::write(file, text).doing(|| format!("write {}", file.display())),
            None => print_text(&text),
        }
    }
}
