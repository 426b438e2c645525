//! `bluegreen rollback`: swaps back to where the last cutover came from, under probes.

use std::process::ExitCode;

use model::request::{Op, Request};

use super::cutover::{Order, RunArgs, attend};
use crate::error::Result;
use crate::session::Session;

/// The arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go back to the other environment even if it runs another release than the one that was live.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Args {
    /// Has the function roll back, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let order = self.run.order(Op::Rollback);
        let request = Request { force: self.force, ..order.request };
        attend::run(session, Order { request, ..order }).await
    }
}
