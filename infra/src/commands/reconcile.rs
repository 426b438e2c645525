//! `bluegreen reconcile`: puts the listeners in order after a cutover that was interrupted.

use std::process::ExitCode;

use model::Color;
use model::request::{Op, Request};

use super::cutover::{Order, attend};
use crate::args::color;
use crate::error::Result;
use crate::session::Session;

/// The arguments of `reconcile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The environment that prod is meant to be, if somebody moved it by hand; else what the record of cutovers says.
    #[arg(long, value_parser = color)]
    to: Option<Color>,
    /// Wait while a deployment or another cutover is under way, instead of refusing. One that is dead is waited for
    /// anyway.
    #[arg(long)]
    wait: bool,
}

impl Args {
    /// Has the function put the listeners in order, and follows the run.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let order = Order::new(Op::Reconcile);
        let request = Request { to: self.to, force: self.to.is_some(), ..order.request };
        attend::run(session, Order { request, wait: self.wait, ..order }).await
    }
}
