//! `bluegreen rollback`: sends users back to the release that was live before the last cutover.

use std::process::ExitCode;

use model::request::{Op, Request};

use crate::error::Result;
use crate::runs::{Order, RunArgs, attend};
use crate::session::Session;

/// The arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Roll back even if the other environment runs a different release than the one that was live.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Args {
    /// Invokes the function to roll back, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let order = self.run.order(Op::Rollback);
        let request = Request { force: self.force, ..order.request };
        attend::run(session, Order { request, ..order }).await
    }
}
