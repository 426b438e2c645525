//! `bluegreen function`: the cutover function's zip as a file, for machines that have no compiler for it, or for
//! `BLUEGREEN_EMBED_FUNCTION` when the command is installed.

use std::path::PathBuf;

use crate::artifacts;
use crate::build::FunctionSource;
use crate::error::{Doing as _, Result};
use crate::session::Session;

/// The arguments of `function`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Output file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Args {
    /// Builds the zip, or takes the one that a deployment would, and writes it.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let source = FunctionSource::find()?;
        let zip = artifacts::function(&session.context, &source, &artifacts::Cached::default()).await?;
        std::fs::write(&self.out, &zip.bytes).doing(|| format!("write {}", self.out.display()))
    }
}
