//! The project that is deployed, and the artifacts that were built before.

use super::Request;
use crate::artifacts::Cached;
use crate::build::Workspace;
use crate::context::Context;
use crate::error::{Doing as _, Result};

/// The project, and the artifacts that were built before.
pub(super) struct Project {
    pub(super) workspace: Workspace,
    pub(super) cached: Cached,
}

impl Project {
    /// Finds it, and refuses a version that it does not have.
    pub(super) async fn find(context: &Context, request: &Request) -> Result<Self> {
        let app = context.settings.app.clone();
        let workspace = tokio::task::spawn_blocking(move || Workspace::find(&app)).await;
        let workspace = workspace.doing(|| "find the project".to_owned())??;
        if let Some(version) = &request.version {
            workspace.check_version(version)?;
        }
        let cached = Cached::find(&context.settings, &workspace, request.version.as_ref()).await?;
        Ok(Self { workspace, cached })
    }
}
