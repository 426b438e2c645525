//! `bluegreen build`: builds every version of the service and the cutover function, and deploys nothing.

use crate::artifacts::{Cached, app, function};
use crate::build::Workspace;
use crate::error::Result;
use crate::session::Session;

/// The arguments of `build`: none.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Builds.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let workspace = Workspace::find(&context.settings.app)?;
        for version in workspace.versions() {
            app(context, &workspace, &version, &Cached::default()).await?;
        }
        function(context, workspace.function_source(), &Cached::default()).await?;
        Ok(())
    }
}
