//! `bluegreen promote`: continues a gradual shift with its next step immediately.

use model::request::Op;

use crate::error::Result;
use crate::runs::steer;
use crate::session::Session;

/// The arguments of `promote`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: steer::Which,
}

impl Args {
    /// Sends the request to the run.
    pub async fn run(&self, session: &Session) -> Result<()> {
        steer::run(session, Op::Promote, self.which.id.clone()).await
    }
}
