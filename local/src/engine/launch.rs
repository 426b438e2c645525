//! Starts a container: its files, its specification, and the helper process that runs it.

use super::container::Container;
use super::helper::{ContainerEvent, ContainerRequest, Helper};
use super::isolation::Isolation;
use super::network::{HOST, HOST_NAME, TaskNetwork};
use super::output::Stream;
use super::settings::Settings;
use super::spec::{self, Bind, Parts, User};
use crate::error::{Context, Error, Result};
use crate::image::{Image, while_nothing_is_written};
use pathrs::Root;
use pathrs::flags::OpenFlags;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// The default `PATH` of Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The limit of a file of accounts of an image.
const ACCOUNTS: u64 = 1024 * 1024;

/// A helper process that runs a container.
#[derive(Debug)]
pub(super) struct Helping {
    pub(super) child: Child,
    events: Lines<BufReader<OwnedReadHalf>>,
    /// Open as long as events are expected.
    _requests: OwnedWriteHalf,
}

impl Helping {
    /// Starts the helper and sends it its request.
    pub(super) async fn start(request: &ContainerRequest, captured: bool) -> Result<Self> {
        let (socket, theirs) = socket_pair()?;
        let output = || if captured { Stdio::piped() } else { Stdio::null() };
        let mut command = helper(Helper::Container)?;
        command.stdin(Stdio::from(theirs)).stdout(output()).stderr(output());
        let child = spawn(&mut command)?;
        drop(command);
        let (events, mut requests) = socket.into_split();
        let request = serde_json::to_string(request).context(|| "cannot encode a request".into())?;
        requests
            .write_all(format!("{request}\n").as_bytes())
            .await
            .context(|| "cannot reach the process that starts a container".into())?;
        Ok(Self { child, events: BufReader::new(events).lines(), _requests: requests })
    }

    /// The next event; none if the helper has ended.
    pub(super) async fn event(&mut self) -> Result<Option<ContainerEvent>> {
        let what = || "cannot read what happens to a container".to_owned();
        match self.events.next_line().await.context(what)? {
            Some(line) => serde_json::from_str(&line).map(Some).context(what),
            None => Ok(None),
        }
    }
}

/// A pair of connected sockets: one for this process and one for a helper.
pub(super) fn socket_pair() -> Result<(UnixStream, OwnedFd)> {
    let what = || "cannot create a socket for a helper process".to_owned();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().context(what)?;
    ours.set_nonblocking(true).context(what)?;
    Ok((UnixStream::from_std(ours).context(what)?, theirs.into()))
}

/// The command of a helper process: this program, with nothing in its environment.
pub(super) fn helper(helper: Helper) -> Result<Command> {
    // The file can have been replaced since this process started; its own image cannot.
    let kind = clap::ValueEnum::to_possible_value(&helper);
    let kind = kind.ok_or_else(|| Error::new("a helper process has no name"))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("helper").arg(kind.get_name()).env_clear().current_dir("/").process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Starts a helper process.
pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    while_nothing_is_written(|| command.spawn()).context(|| "cannot start a helper process".into())
}

/// The hard limit of open files of this process.
pub(super) fn most_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Writes the specification of a container. It contains the secrets of the task.
pub(super) fn write_specification(bundle: &Path, specification: &Value) -> Result<()> {
    let path = bundle.join("config.json");
    let what = || format!("cannot write {}", path.display());
    let mut options = std::fs::File::options();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&path).context(what)?;
    serde_json::to_writer(file, specification).context(what)
}

/// Makes the files of a container and starts it; returns when the helper has the request.
pub(super) async fn launch(
    container: &Arc<Container>,
    settings: &Settings,
    network: &TaskNetwork,
    isolation: Isolation,
) -> Result<Helping> {
    let holder = network.holder();
    let prepared = tokio::task::spawn_blocking({
        let (container, settings) = (Arc::clone(container), settings.clone());
        move || prepare(&container, &settings, holder, isolation)
    });
    let request = prepared.await.context(|| format!("cannot finish unpacking {}", container.image.name))??;
    Helping::start(&request, true).await
}

/// Makes the root file system of a container. The only place that does.
fn make_root(image: &Image, root: &Path) -> Result<()> {
    image.unpack(root)
}

fn prepare(container: &Container, settings: &Settings, holder: i32, isolation: Isolation) -> Result<ContainerRequest> {
    let path = container.root();
    make_root(&container.image, &path)?;
    let root = Root::open(&path).context(|| format!("cannot open {}", path.display()))?;
    let config = &container.image.config;
    let user = user(settings.user.as_deref().or(config.user.as_deref()).unwrap_or(""), &root)?;
    let directory = settings.working_directory.as_deref().or(config.working_dir.as_deref());
    let directory = directory.filter(|directory| directory.starts_with('/')).unwrap_or("/");
    make_directory(&root, directory)?;
    let hostname = hostname(container);
    let only_user = isolation.user_namespace();
    let id = container.short_id().to_owned();
    let specification = spec::specification(&Parts {
        id: &id,
        root: &path,
        arguments: &arguments(container)?,
        environment: &environment(&container.image, &container.env, &hostname, &user),
        directory,
        hostname: &hostname,
        user: &user,
        settings,
        binds: &binds(container, settings, &root, &hostname)?,
        network_of: holder,
        only_user,
        limited: !only_user,
        most_files: most_files(),
    });
    write_specification(&container.dir, &specification)?;
    Ok(ContainerRequest {
        id,
        bundle: container.dir.clone(),
        state: container.dir.join("runtime"),
        user_namespace_of: only_user.then_some(holder),
        only_user: (only_user && user.uid != 0).then_some((user.uid, user.gid)),
        init: settings.init,
        trial: false,
        watched_memory: settings.memory.filter(|_| only_user),
    })
}

/// Creates a directory of an image if it is missing, as Docker does.
fn make_directory(root: &Root, directory: &str) -> Result<()> {
    let made = root.mkdir_all(directory, &std::fs::Permissions::from_mode(0o755));
    made.map(drop).context(|| format!("cannot create the working directory {directory} of the image"))
}

/// The name of the host, as on Fargate.
pub(super) fn hostname(container: &Container) -> String {
    let [a, b, c, d] = container.address.octets();
    format!("ip-{a}-{b}-{c}-{d}.ec2.internal")
}

/// The files that every container has, and its volumes.
fn binds(container: &Container, settings: &Settings, root: &Root, hostname: &str) -> Result<Vec<Bind>> {
    let address = container.address;
    let short = hostname.split('.').next().unwrap_or(hostname);
    let files = [
        ("/etc/hosts", format!("127.0.0.1 localhost\n{address} {hostname} {short}\n{HOST} {HOST_NAME}\n")),
        ("/etc/hostname", format!("{hostname}\n")),
        // The resolver of a VPC. Nothing answers there, and at once.
        ("/etc/resolv.conf", "nameserver 169.254.169.253\n".to_owned()),
    ];
    let mut binds = Vec::new();
    for (path, text) in files {
        let source = container.dir.join(path.trim_start_matches("/etc/"));
        std::fs::write(&source, text).context(|| format!("cannot write {}", source.display()))?;
        binds.push(Bind { source, path: path.to_owned(), read_only: false });
    }
    for volume in &settings.volumes {
        let source = container.volumes().join(&volume.name);
        make_volume(&source, root, &volume.path)?;
        binds.push(Bind { source, path: volume.path.clone(), read_only: volume.read_only });
    }
    for (number, path) in container.image.config.volumes.iter().flat_map(BTreeMap::keys).enumerate() {
        if settings.volumes.iter().any(|volume| volume.path.trim_end_matches('/') == path.trim_end_matches('/')) {
            continue;
        }
        let source = container.dir.join(format!("volume-{number}"));
        make_volume(&source, root, path)?;
        binds.push(Bind { source, path: path.clone(), read_only: false });
    }
    Ok(binds)
}

/// Creates a volume with the owner and the mode of its directory in the image; without one, only root can write to it:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>.
fn make_volume(source: &Path, root: &Root, path: &str) -> Result<()> {
    let what = || format!("cannot create {}", source.display());
    if source.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(source).context(what)?;
    let found = root.open_subpath(path, OpenFlags::O_PATH | OpenFlags::O_DIRECTORY).ok();
    let Some(metadata) = found.and_then(|found| found.metadata().ok()) else { return Ok(()) };
    std::fs::set_permissions(source, std::fs::Permissions::from_mode(metadata.mode() & 0o7777)).context(what)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(source, Some(metadata.uid()), Some(metadata.gid())).context(what)?;
    }
    Ok(())
}

/// Captures the streams of a process until they end.
pub(super) async fn capture((stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>), container: &Container) {
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

/// The environment of the program of a task: that of its image and of its task definition, and what Fargate sets. It
/// contains no variable of the daemon.
fn environment(image: &Image, wanted: &[String], hostname: &str, user: &User) -> Vec<String> {
    let mut all = BTreeMap::from([
        ("PATH", DEFAULT_PATH),
        ("HOME", user.home.as_deref().unwrap_or("/")),
        ("HOSTNAME", hostname),
        ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
    ]);
    all.extend(image.config.env.iter().flatten().chain(wanted).filter_map(|pair| pair.split_once('=')));
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The user of a task definition or of an image: numbers, or names in `/etc/passwd` and `/etc/group` of the image.
fn user(spec: &str, root: &Root) -> Result<User> {
    let (name, group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let name = if name.is_empty() { "0" } else { name };
    let unknown = |what: &str| {
        Error::new(format!("the task runs as {spec:?}, but its image has no such {what}"))
            .hint("use a numeric user, such as 65532:65532")
    };
    let (passwd, groups) = (accounts(root, "/etc/passwd"), accounts(root, "/etc/group"));
    let number = |fields: &[String], index: usize| fields.get(index)?.parse::<u32>().ok();
    let known = |wanted: &str| {
        let by_id = |fields: &&Vec<String>| fields.get(2).map(String::as_str) == Some(wanted);
        passwd.iter().find(|fields| fields[0] == wanted).or_else(|| passwd.iter().find(by_id))
    };
    let entry = known(name);
    let uid = name.parse().ok().or_else(|| number(entry?, 2)).ok_or_else(|| unknown("user"))?;
    let gid = match group {
        Some(group) => {
            let named = groups.iter().find(|fields| fields[0] == group);
            group.parse().ok().or_else(|| number(named?, 2)).ok_or_else(|| unknown("group"))?
        }
        None => entry.and_then(|entry| number(entry, 3)).unwrap_or(0),
    };
    // As Docker does, a group in place of the user's own takes the place of its other groups too.
    let member = |fields: &&Vec<String>| {
        let members = fields.get(3).map(String::as_str).unwrap_or_default();
        group.is_none() && entry.is_some_and(|entry| members.split(',').any(|member| member == entry[0]))
    };
    let others = groups.iter().filter(member).filter_map(|fields| number(fields, 2)).collect();
    let home = entry.and_then(|entry| entry.get(5)).filter(|home| !home.is_empty()).cloned();
    Ok(User { uid, gid, groups: others, home })
}

/// The lines of a file of accounts of an image, each as its fields. A symbolic link stays in the image.
fn accounts(root: &Root, path: &str) -> Vec<Vec<String>> {
    let Ok(file) = root.open_subpath(path, OpenFlags::O_RDONLY | OpenFlags::O_NONBLOCK) else { return Vec::new() };
    let mut text = Vec::new();
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) || file.take(ACCOUNTS).read_to_end(&mut text).is_err()
    {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

/// The directory of the volumes of a task, which its containers share.
pub(super) fn volumes_of(containers: &Path, task: &str) -> PathBuf {
    containers.join(format!("volumes-{task}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_of_the_images_own_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "root:x:0:0::/:\nweb:x:101:102::/srv:\n").unwrap();
        std::fs::write(folder.path().join("etc/group"), "www:x:33:\nlog:x:44:other,web\n").unwrap();
        let root = Root::open(folder.path()).unwrap();
        for (spec, uid, gid, groups, home) in [
            ("", 0, 0, vec![], Some("/")),
            ("65532", 65532, 0, vec![], None),
            ("65532:65533", 65532, 65533, vec![], None),
            ("web", 101, 102, vec![44], Some("/srv")),
            ("101", 101, 102, vec![44], Some("/srv")),
            ("web:www", 101, 33, vec![], Some("/srv")),
        ] {
            let expected = User { uid, gid, groups, home: home.map(str::to_owned) };
            assert_eq!(user(spec, &root).unwrap(), expected, "{spec}");
        }
        let error = user("nobody-here", &root).unwrap_err().to_string();
        assert!(error.contains("no such user"), "{error}");
    }

    #[test]
    fn accounts_behind_a_link_are_those_of_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::create_dir_all(image.join("real")).unwrap();
        std::fs::create_dir_all(folder.path().join("real")).unwrap();
        std::fs::write(image.join("real/passwd"), "web:x:101:102::/:\n").unwrap();
        std::fs::write(folder.path().join("real/passwd"), "web:x:0:0::/:\n").unwrap();
        std::os::unix::fs::symlink("../../real", image.join("etc")).unwrap();
        assert_eq!(user("web", &Root::open(&image).unwrap()).unwrap().uid, 101);
    }

    #[test]
    fn a_missing_working_directory_is_created_in_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::create_dir_all(&image).unwrap();
        std::os::unix::fs::symlink("/../..", image.join("out")).unwrap();
        make_directory(&Root::open(&image).unwrap(), "/out/app/data").unwrap();
        assert!(image.join("app/data").is_dir() && !folder.path().join("app").exists());
    }
}
