//! `bluegreen promote`: goes on with the next step of a shift at once.

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
    /// Tells the run to go on.
    pub async fn run(&self, session: &Session) -> Result<()> {
        steer::run(session, Op::Promote, self.id.clone()).await
    }
}
