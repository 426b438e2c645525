//! `bluegreen pause`: keeps a shift at its step, until it is promoted or aborted.

use model::request::Op;

use crate::error::Result;
use crate::runs::steer;
use crate::session::Session;

/// The arguments of `pause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: steer::Which,
}

impl Args {
    /// Tells the run to stay.
    pub async fn run(&self, session: &Session) -> Result<()> {
        steer::run(session, Op::Pause, self.which.id.clone()).await
    }
}
