//! Starts a container as a process: root file system, user, environment, process group.

use super::container::Container;
use super::output::Stream;
use crate::error::{Context, Error, Result};
use crate::image::{Image, while_nothing_is_written};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// The default `PATH` of Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a process gets its image as its root directory. `unshare` of util-linux changes the root, the directory, and
/// the user, so that this crate needs no unsafe code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// With root rights: change the root directory and the user.
    ChangeRoot(PathBuf),
    /// Without root rights: create a user namespace, and change the root directory as root of that namespace.
    UserNamespace(PathBuf),
    /// If neither works: run the program in the directory with its unpacked files.
    None,
}

impl Isolation {
    /// Detects what this machine allows.
    pub(crate) async fn detect() -> Self {
        let Some(unshare) = find_program("unshare") else {
            return Self::warn_none("unshare (util-linux) is not installed");
        };
        let candidates = if rustix::process::geteuid().is_root() {
            [Self::ChangeRoot(unshare.clone()), Self::UserNamespace(unshare)]
        } else {
            [Self::UserNamespace(unshare.clone()), Self::ChangeRoot(unshare)]
        };
        for candidate in candidates {
            let Some(mut command) = candidate.command(Path::new("/"), "/", (0, 0)) else { continue };
            let outcome =
                command.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
            if outcome.is_ok_and(|status| status.success()) {
                return candidate;
            }
        }
        Self::warn_none("neither chroot nor user namespaces are allowed on this machine")
    }

    fn warn_none(why: &str) -> Self {
        tracing::warn!("{why}: tasks run without a separate root file system");
        Self::None
    }

    /// The start of the command, before the program to run.
    fn command(&self, root: &Path, directory: &str, user: (u32, u32)) -> Option<Command> {
        let (program, user_options) = match self {
            Self::ChangeRoot(program) => {
                (program, vec!["--setgid".to_owned(), user.1.to_string(), "--setuid".to_owned(), user.0.to_string()])
            }
            Self::UserNamespace(program) => (program, vec!["--map-root-user".to_owned()]),
            Self::None => return None,
        };
        let mut command = Command::new(program);
        command.args(user_options).arg("--root").arg(root).arg("--wd").arg(directory).arg("--");
        Some(command)
    }
}

/// Unpacks the image of the container, starts its process, and captures the output.
pub(crate) async fn launch(container: &Container, isolation: &Isolation) -> Result<Child> {
    let root = container.root();
    let image = Arc::clone(&container.image);
    let unpacked = tokio::task::spawn_blocking({
        let root = root.clone();
        move || image.unpack(&root)
    });
    unpacked.await.context(|| format!("cannot finish unpacking {}", container.image.name))??;

    let arguments = arguments(container)?;
    let config = &container.image.config;
    let directory = config.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or("/");
    let user = user(config.user.as_deref().unwrap_or(""), &root)?;
    let mut command = if let Some(mut command) = isolation.command(&root, directory, user) {
        command.args(&arguments);
        command
    } else {
        let mut command = Command::new(root.join(arguments[0].trim_start_matches('/')));
        command.args(&arguments[1..]).current_dir(&root);
        command
    };
    command
        .env_clear()
        .envs(environment(&container.image, &container.env, &container.address.to_string(), container.short_id()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    while_nothing_is_written(|| command.spawn())
        .context(|| format!("cannot start {} of {}", arguments[0], container.image.name))
}

/// Captures the streams of a process until they end.
pub(crate) async fn capture((stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>), container: &Container) {
    let out = async {
        if let Some(stdout) = stdout {
            container.output.capture(Stream::Stdout, stdout).await;
        }
    };
    let err = async {
        if let Some(stderr) = stderr {
            container.output.capture(Stream::Stderr, stderr).await;
        }
    };
    tokio::join!(out, err);
}

/// Entrypoint and command, as Docker combines them: a new entrypoint drops the command of the image.
fn arguments(container: &Container) -> Result<Vec<String>> {
    let config = &container.image.config;
    let given = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let own_entrypoint = given(&container.entrypoint);
    let command = given(&container.cmd).or_else(|| if own_entrypoint.is_none() { given(&config.cmd) } else { None });
    let mut arguments = own_entrypoint.or_else(|| given(&config.entrypoint)).unwrap_or_default();
    arguments.extend(command.unwrap_or_default());
    if arguments.is_empty() {
        return Err(Error::new(format!("{} has no entrypoint and no command", container.image.name))
            .hint("set an entrypoint in the image, or a command in the container definition"));
    }
    Ok(arguments)
}

/// The environment of the process of a task. It contains no variable of the daemon.
///
/// `HOST` is the address that a task must listen on. On AWS, every task has its own address and listens on all
/// interfaces. Here, all tasks share the interfaces of this machine, so each listens on its own loopback address.
fn environment(image: &Image, wanted: &[String], address: &str, hostname: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOME".to_owned(), "/".to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
        ("HOST".to_owned(), address.to_owned()),
    ]);
    for pair in image.config.env.iter().flatten().chain(wanted) {
        if let Some((name, value)) = pair.split_once('=') {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all
}

/// User and group ids of the `User` of an image: numbers, or names in `/etc/passwd` and `/etc/group` of the image.
fn user(spec: &str, root: &Path) -> Result<(u32, u32)> {
    if spec.is_empty() {
        return Ok((0, 0));
    }
    let (user, group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let unknown = |what: &str| {
        Error::new(format!("the image runs as {spec:?}, but it has no such {what}"))
            .hint("use a numeric user in the image, such as 65532:65532")
    };
    let entry = |file: &str, name: &str| -> Option<Vec<String>> {
        // A symbolic link would lead to the file of this machine, not of the image.
        let path = root.join(file);
        let regular = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        let text = if regular { std::fs::read_to_string(path).ok()? } else { return None };
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line.split(':').map(str::to_owned).collect())
    };
    let passwd = entry("etc/passwd", user);
    let number = |fields: &Option<Vec<String>>, index: usize| fields.as_ref()?.get(index)?.parse::<u32>().ok();
    let uid = user.parse().ok().or_else(|| number(&passwd, 2)).ok_or_else(|| unknown("user"))?;
    let gid = match group {
        Some(group) => {
            group.parse().ok().or_else(|| number(&entry("etc/group", group), 2)).ok_or_else(|| unknown("group"))?
        }
        None => number(&passwd, 3).unwrap_or(0),
    };
    Ok((uid, gid))
}

/// The absolute path of a program, so that the environment of the task cannot change which program runs.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_of_the_images_own_files() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\nweb:x:101:102::/:\n").unwrap();
        std::fs::write(root.path().join("etc/group"), "www:x:33:\n").unwrap();
        for (spec, expected) in [
            ("", (0, 0)),
            ("65532", (65532, 0)),
            ("65532:65533", (65532, 65533)),
            ("web", (101, 102)),
            ("web:www", (101, 33)),
        ] {
            assert_eq!(user(spec, root.path()).unwrap(), expected, "{spec}");
        }
        let error = user("nobody-here", root.path()).unwrap_err().to_string();
        assert!(error.contains("no such user"), "{error}");
    }
}
