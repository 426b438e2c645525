//! How this machine contains tasks. Tasks never run without it.

use super::helper::{ContainerEvent, ContainerRequest};
use super::launch::{self, Helping};
use super::network::TaskNetwork;
use super::settings::Settings;
use super::spec::{self, Parts, User};
use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What contains the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// Namespaces and control groups, with root rights.
    Root,
    /// The same in a user namespace with one user, without root rights. The limit of memory is watched.
    UserNamespace,
    /// Whatever the container engine of this machine does.
    Docker,
}

/// What runs the containers of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineKind {
    /// The local cloud itself
    #[default]
    BuiltIn,
    /// Docker or Podman on this machine
    Docker,
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::BuiltIn => "built-in",
            Self::Docker => "docker",
        })
    }
}

impl std::fmt::Display for Isolation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Root => "namespaces and control groups",
            Self::UserNamespace => "namespaces of one user, without control groups",
            Self::Docker => "the container engine (Docker or Podman)",
        })
    }
}

impl Isolation {
    /// Finds what this machine allows: by a trial, because no setting of the kernel tells it alone.
    pub(crate) async fn detect(containers: &Path) -> Result<Self> {
        let mut why = Vec::new();
        let root = rustix::process::geteuid().is_root();
        for candidate in [Self::Root, Self::UserNamespace] {
            if candidate == Self::Root && !root {
                continue;
            }
            match candidate.try_out(&containers.join("trial")).await {
                Ok(()) => {
                    tracing::info!("tasks are isolated by {candidate}");
                    return Ok(candidate);
                }
                Err(error) => why.push(format!("{candidate}: {}", error.message())),
            }
        }
        Err(Error::new(format!("this machine cannot isolate tasks ({})", why.join("; "))).hint(
            "allow user namespaces (sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 \
             kernel.unprivileged_userns_clone=1), or run the local cloud as root; in a container, give it more rights \
             (docker run --privileged)",
        ))
    }

    pub(crate) fn user_namespace(self) -> bool {
        self == Self::UserNamespace
    }

    /// Runs an empty container.
    async fn try_out(self, dir: &Path) -> Result<()> {
        let root = dir.join("root");
        std::fs::create_dir_all(&root).context(|| format!("cannot create {}", root.display()))?;
        let outcome = self.run_nothing(dir, &root).await;
        if let Err(error) = std::fs::remove_dir_all(dir) {
            tracing::warn!("cannot remove {}: {error}", dir.display());
        }
        outcome
    }

    async fn run_nothing(self, dir: &Path, root: &Path) -> Result<()> {
        let network = TaskNetwork::create(self).await?;
        let id = format!("trial-{}", std::process::id());
        let settings = Settings { memory: Some(64 * 1024 * 1024), ..Settings::default() };
        let specification = spec::specification(&Parts {
            id: &id,
            root,
            arguments: &["trial".to_owned()],
            environment: &["PATH=/".to_owned()],
            directory: "/",
            hostname: "trial",
            user: &User::default(),
            settings: &settings,
            binds: &[],
            network_of: network.holder(),
            only_user: self.user_namespace(),
            limited: !self.user_namespace(),
            most_files: launch::most_files(),
        });
        launch::write_specification(dir, &specification)?;
        let request = ContainerRequest {
            id,
            bundle: dir.to_owned(),
            state: dir.join("runtime"),
            user_namespace_of: self.user_namespace().then(|| network.holder()),
            only_user: None,
            init: false,
            trial: true,
            watched_memory: None,
        };
        let mut helping = Helping::start(&request, false).await?;
        match helping.event().await? {
            Some(ContainerEvent::Started(_)) => Ok(()),
            Some(ContainerEvent::Failed(reason)) => Err(Error::new(reason)),
            other => Err(Error::new(format!("the trial ended early ({other:?})"))),
        }?;
        let status = helping.child.wait().await.context(|| "cannot wait for the trial".into())?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("the trial ended with {status}"))) }
    }
}
