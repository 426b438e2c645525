//! `bluegreen promote`: continues a gradual shift with its next step immediately.

use model::request::Op;

use super::cutover::steer;
use crate::error::Result;
use crate::session::Session;

/// The arguments of `promote`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run [default: the run in progress].
    #[arg(long, value_name = "RUN")]
    id: Option<String>,
}

impl Args {
    /// Sends the request to the run.
    pub async fn run(&self, session: &Session) -> Result<()> {
        steer::run(session, Op::Promote, self.id.clone()).await
    }
}
