//! `bluegreen history`: the runs in the ledger, the newest first.

use model::Record;

use crate::context::Context;
use crate::error::Result;
use crate::runs;
use crate::session::Session;
use crate::ui::render_history;
use deploy::{Cloud, DeployedStack};

/// The arguments of `history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Maximum number of runs to list, newest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

impl Args {
    /// Prints the last runs.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let runs = last(&session.context, self.limit).await?;
        session.show(&runs, |runs, style| render_history(runs, style))
    }
}

/// The last `limit` runs, the newest first.
pub async fn last(context: &Context, limit: usize) -> Result<Vec<Record>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    runs::last(&cloud, &outputs, limit).await
}
