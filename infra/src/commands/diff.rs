//! `bluegreen diff`: shows what a deployment would change.

use crate::error::Result;
use crate::pipeline::{self, Target};
use crate::session::Session;
use crate::ui::render_plan;

/// The arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

impl Args {
    /// Applies the arguments to the settings.
    pub fn prepare(&self, session: &mut Session) {
        self.target.prepare(session);
    }

    /// Prints the plan.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let plan = Box::pin(pipeline::diff(&session.context, &self.target.request(false))).await?;
        session.show(&plan, render_plan)
    }
}
