//! `bluegreen reconcile`: repairs the listeners after an interrupted cutover.

use std::process::ExitCode;

use model::Color;
use model::request::{Op, Request};

use crate::error::Result;
use crate::runs::{Order, attend};
use crate::session::Session;

/// The arguments of `reconcile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment that prod must point at, if it was changed by hand [default: according to the ledger].
    #[arg(long)]
    to: Option<Color>,
    /// Wait for a deployment or run in progress instead of refusing. Even without --wait, the command waits until
    /// the lease of a dead run expires.
    #[arg(long)]
    wait: bool,
}

impl Args {
    /// Invokes the function to repair the listeners, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let order = Order::new(Op::Reconcile);
        let request = Request { to: self.to, force: self.to.is_some(), ..order.request };
        attend::run(session, Order { request, wait: self.wait, ..order }).await
    }
}
