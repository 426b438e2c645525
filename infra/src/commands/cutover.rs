//! `bluegreen cutover`: swaps prod and dev while probing prod.

use std::process::ExitCode;

use crate::error::Result;
use crate::runs::{CutoverArgs, attend};
use crate::session::Session;

/// The arguments of `cutover`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cutover: CutoverArgs,
}

impl Args {
    /// Invokes the function to swap prod and dev, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        attend::run(session, self.cutover.order()).await
    }
}
