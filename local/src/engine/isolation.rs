//! How this machine contains tasks. Tasks never run without it.

use super::control_group::{self, TaskGroup};
use super::helper::{ContainerEvent, ContainerRequest};
use super::internet::{Internet, Pasta};
use super::launch::{self, Helping};
use super::network::TaskNetwork;
use super::settings::{Settings, TaskLimits};
use super::spec::{self, Parts, User};
use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What this machine allows.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) isolation: Isolation,
    /// Whether images can be mounted; otherwise they are copied for each container.
    pub(super) mounts_images: bool,
    pub(super) internet: Internet,
    pub(super) pasta: Option<Pasta>,
}

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

impl Machine {
    /// Finds what this machine allows: by trials, because no setting of the kernel tells it alone. With `internet`, tasks
    /// reach other networks, if possible.
    pub(super) async fn detect(containers: &Path, internet: bool) -> Result<Self> {
        let (isolation, mounts_images) = Isolation::detect(&containers.join("trial")).await?;
        let (internet, pasta) = if internet { Pasta::detect(isolation).await } else { (Internet::Refused, None) };
        tracing::info!("tasks are isolated by {isolation}, and {internet}");
        Ok(Self { isolation, mounts_images, internet, pasta })
    }

    /// A container engine runs the tasks, so nothing here is used.
    pub(super) fn of_engine() -> Self {
        Self { isolation: Isolation::Docker, mounts_images: false, internet: Internet::OfEngine, pasta: None }
    }
}

impl Isolation {
    /// The first kind that works, and whether images can be mounted with it.
    async fn detect(dir: &Path) -> Result<(Self, bool)> {
        let mut why = Vec::new();
        let root = rustix::process::geteuid().is_root();
        for candidate in [Self::Root, Self::UserNamespace] {
            if candidate == Self::Root && !root {
                continue;
            }
            let mounted = match candidate.try_out(dir, true).await {
                Ok(()) => return Ok((candidate, true)),
                Err(error) => error,
            };
            match candidate.try_out(dir, false).await {
                Ok(()) => {
                    tracing::warn!("each container gets a copy of its image: {}", mounted.message());
                    return Ok((candidate, false));
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

    /// Runs a container with one file, which is mounted or is there already.
    async fn try_out(self, dir: &Path, mounted: bool) -> Result<()> {
        let image = dir.join("image");
        std::fs::create_dir_all(&image).context(|| format!("cannot create {}", image.display()))?;
        std::fs::write(image.join("file"), "").context(|| format!("cannot write {}", image.display()))?;
        let outcome = self.run_nothing(dir, &image, mounted).await;
        oci_image::remove_tree(dir).context(|| format!("cannot remove {}", dir.display()))?;
        outcome
    }

    async fn run_nothing(self, dir: &Path, image: &Path, mounted: bool) -> Result<()> {
        let network = TaskNetwork::create(self, None, "").await?;
        let settings = Settings { memory: Some(64 * 1024 * 1024), cpu: Some(256), ..Settings::default() };
        let group = if self.user_namespace() {
            control_group::unused("trial")
        } else {
            let limits = TaskLimits { memory: Some(128 * 1024 * 1024), cpu: Some(1024) };
            network.group("trial", || TaskGroup::create("trial", limits))?
        };
        let (root, overlay) = launch::make_root(dir, image, mounted)?;
        let specification = spec::specification(&Parts {
            root: &root,
            arguments: &["trial".to_owned()],
            environment: &["PATH=/".to_owned()],
            directory: "/",
            hostname: "trial",
            user: &User::default(),
            settings: &settings,
            binds: &[],
            network_of: network.holder(),
            only_user: self.user_namespace(),
            group: &group,
            limited: !self.user_namespace(),
            most_files: launch::most_files(),
        });
        launch::write_specification(dir, &specification)?;
        let request = ContainerRequest {
            id: "trial".to_owned(),
            bundle: dir.to_owned(),
            state: dir.join("runtime"),
            root,
            overlay,
            directory: "/".to_owned(),
            group,
            may_trace: false,
            user_namespace_of: self.user_namespace().then(|| network.holder()),
            only_user: None,
            init: false,
            trial: true,
            watched_memory: None,
        };
        let mut helping = Helping::start(&request, None).await?;
        match helping.event().await? {
            Some(ContainerEvent::Started(_)) => Ok(()),
            Some(ContainerEvent::Failed(reason)) => Err(Error::new(reason)),
            other => Err(Error::new(format!("the trial ended early ({other:?})"))),
        }?;
        let status = helping.child.wait().await.context(|| "cannot wait for the trial".into())?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("the trial ended with {status}"))) }
    }
}
