//! `bluegreen function`: the cutover function's zip as a file, for machines that have no compiler for it, or for
//! `BLUEGREEN_EMBED_FUNCTION` when the command is installed.

use std::path::PathBuf;

use super::{Context, publish};
use crate::build::FunctionSource;
use crate::error::{Doing as _, Result};

/// What is asked of `function`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Builds the zip, or takes the one that a deployment would, and writes it.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let zip = publish::function(context, &FunctionSource::find()?, &publish::Kept::default()).await?;
    std::fs::write(&arguments.out, &zip.bytes).doing(|| format!("write {}", arguments.out.display()))
}
