//! What a deployment is asked for, and the arguments that `deploy` and `diff` share.

use model::color::Color;
use stack::values::{ImageName, VersionLabel};

use crate::args;
use crate::session::Session;

/// What is deployed where.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Version to deploy.
    #[arg(long, value_parser = args::version)]
    version: Option<VersionLabel>,
    /// Image to deploy as that version, from a registry or an archive file [default: `image` of bluegreen.toml].
    #[arg(long, value_parser = args::image, requires = "version")]
    image: Option<ImageName>,
    /// Environment to deploy to [default: the idle one].
    #[arg(long, requires = "version")]
    color: Option<Color>,
    /// Allow deploying to the live environment.
    #[arg(long)]
    force: bool,
    /// Refuse with exit code 3 if anything would change.
    #[arg(long)]
    expect_no_changes: bool,
}

impl Target {
    /// Applies the arguments to the settings.
    pub fn prepare(&self, session: &mut Session) {
        if let Some(image) = &self.image {
            session.context.settings.app.image = Some(image.clone());
        }
    }

    /// What is asked for; `live_changes` says whether changes to what serves users of prod are allowed.
    pub fn request(&self, live_changes: bool) -> Request {
        Request {
            version: self.version.clone(),
            color: self.color,
            allowed: Allowed { live_version: self.force, live_changes },
            expect_no_changes: self.expect_no_changes,
            ..Request::default()
        }
    }
}

/// What to deploy.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The version to deploy; without one only the stack itself is brought up to date.
    pub version: Option<VersionLabel>,
    /// The environment to deploy to; by default the idle one.
    pub color: Option<Color>,
    /// What users of prod may notice.
    pub allowed: Allowed,
    /// Refuses if anything would change.
    pub expect_no_changes: bool,
    /// Waits for a cutover in progress instead of refusing.
    pub wait: bool,
    /// Logical ids of the resources to skip if the rollback of the last update failed.
    pub skip: Vec<String>,
}

/// What users of prod may notice of a deployment: nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Another version, immediately.
    pub live_version: bool,
    /// Changes that touch what they go through: listeners, and whatever of it is replaced.
    pub live_changes: bool,
}
