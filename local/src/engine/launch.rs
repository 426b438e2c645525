//! Starts a container: its files, its specification, and the helper process that runs it.

use super::container::Container;
use super::control_group::{self, TaskGroup};
use super::credentials;
use super::helper::{ContainerEvent, ContainerRequest, Helper, Overlay};
use super::internet;
use super::isolation::Machine;
use super::network::{HOST, HOST_NAME, TaskNetwork};
use super::output::Stream;
use super::settings::Settings;
use super::spec::{self, Bind, Parts, User};
use crate::error::{Context, Error, Result};
use crate::image::{Image, while_nothing_is_written};
use oci_image::{UnpackedRoot, copy_tree};
use pathrs::Root;
use pathrs::flags::OpenFlags;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    /// The image that is mounted meanwhile; the trial of this machine has none.
    _image: Option<UnpackedRoot>,
}

impl Helping {
    /// Starts the helper and sends it its request.
    pub(super) async fn start(request: &ContainerRequest, image: Option<UnpackedRoot>) -> Result<Self> {
        let (socket, theirs) = socket_pair()?;
        let output = || if image.is_some() { Stdio::piped() } else { Stdio::null() };
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
        Ok(Self { child, events: BufReader::new(events).lines(), _requests: requests, _image: image })
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
    network: &Arc<TaskNetwork>,
    machine: &Machine,
) -> Result<Helping> {
    let image = container.image.root().await?;
    let prepared = tokio::task::spawn_blocking({
        let (container, settings, network) = (Arc::clone(container), settings.clone(), Arc::clone(network));
        let (image, only_user, mounted) = (image.clone(), machine.isolation.user_namespace(), machine.mounts_images);
        move || {
            Preparation { container: &container, settings: &settings, network: &network, only_user }
                .run(&image, mounted)
        }
    });
    let request = prepared.await.context(|| format!("cannot finish preparing {}", container.image.name))??;
    Helping::start(&request, Some(image)).await
}

/// The root directory of a container in its directory, and what to mount there. If images cannot be mounted, a copy.
pub(super) fn make_root(dir: &Path, image: &Path, mounted: bool) -> Result<(PathBuf, Option<Overlay>)> {
    let root = dir.join("root");
    if !mounted {
        copy_tree(image, &root).context(|| format!("cannot copy {} to {}", image.display(), root.display()))?;
        return Ok((root, None));
    }
    let overlay = Overlay { image: image.to_owned(), changes: dir.join("changes"), work: dir.join("work") };
    for made in [&root, &overlay.changes, &overlay.work] {
        std::fs::create_dir(made).context(|| format!("cannot create {}", made.display()))?;
    }
    // The root directory of the mount has the owner and the mode of the upper one.
    let what = || format!("cannot read the root directory {}", image.display());
    take_attributes(&overlay.changes, &image.metadata().context(what)?)?;
    Ok((root, Some(overlay)))
}

/// Gives a directory the mode and, with root rights, the owner of another one.
fn take_attributes(directory: &Path, other: &std::fs::Metadata) -> Result<()> {
    let what = || format!("cannot change the owner and the mode of {}", directory.display());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(directory, Some(other.uid()), Some(other.gid())).context(what)?;
    }
    std::fs::set_permissions(directory, other.permissions()).context(what)
}

/// What the request to run a container is made of.
struct Preparation<'a> {
    container: &'a Container,
    settings: &'a Settings,
    network: &'a TaskNetwork,
    /// Whether the container is in a user namespace with one user.
    only_user: bool,
}

impl Preparation<'_> {
    fn run(&self, image: &UnpackedRoot, mounted: bool) -> Result<ContainerRequest> {
        let Self { container, settings, network, only_user } = *self;
        let files = Root::open(image.path()).context(|| format!("cannot open {}", image.path().display()))?;
        let config = &container.image.config;
        let user = user(settings.user.as_deref().or(config.user.as_deref()).unwrap_or(""), &files)?;
        let directory = settings.working_directory.as_deref().or(config.working_dir.as_deref());
        let directory = directory.filter(|directory| directory.starts_with('/')).unwrap_or("/");
        let hostname = hostname(container);
        let id = container.short_id().to_owned();
        let (wanted, access) = credentials::as_on_ecs(&container.env);
        network.allow(access);
        let group = self.group(&id)?;
        let (root, overlay) = make_root(&container.dir, image.path(), mounted)?;
        let specification = spec::specification(&Parts {
            root: &root,
            arguments: &arguments(container)?,
            environment: &environment(&container.image, &wanted, &hostname, &user),
            directory,
            hostname: &hostname,
            user: &user,
            settings,
            binds: &binds(container, settings, &files, &hostname, network.leads_outward())?,
            network_of: network.holder(),
            only_user,
            group: &group,
            limited: !only_user,
            most_files: most_files(),
        });
        write_specification(&container.dir, &specification)?;
        Ok(ContainerRequest {
            id,
            bundle: container.dir.clone(),
            state: container.dir.join("runtime"),
            root,
            overlay,
            directory: directory.to_owned(),
            group,
            may_trace: settings.add.iter().any(|name| name.eq_ignore_ascii_case("SYS_PTRACE")),
            user_namespace_of: only_user.then(|| network.holder()),
            only_user: (only_user && user.uid != 0).then_some((user.uid, user.gid)),
            init: settings.init,
            trial: false,
            watched_memory: watched_memory(settings).filter(|_| only_user),
        })
    }

    /// The control group of the container, in that of its task.
    fn group(&self, id: &str) -> Result<String> {
        if self.only_user {
            return Ok(control_group::unused(id));
        }
        let task = self.container.task.as_ref().map_or(id, |task| task.task_id());
        self.network.group(id, || TaskGroup::create(task, self.settings.task))
    }
}

/// The limit of memory that ends the container: its own, or that of its task, if that is lower.
fn watched_memory(settings: &Settings) -> Option<u64> {
    [settings.memory, settings.task.memory].into_iter().flatten().min()
}

/// The name of the host, as on Fargate.
pub(super) fn hostname(container: &Container) -> String {
    let [a, b, c, d] = container.address.octets();
    format!("ip-{a}-{b}-{c}-{d}.ec2.internal")
}

/// The files that every container has, and its volumes.
fn binds(
    container: &Container,
    settings: &Settings,
    image: &Root,
    hostname: &str,
    leads_outward: bool,
) -> Result<Vec<Bind>> {
    let address = container.address;
    // Without another network, the resolver of a VPC, which is not there, so that a lookup fails at once.
    let resolvers = if leads_outward { internet::resolvers() } else { vec!["169.254.169.253".to_owned()] };
    let resolvers: Vec<String> = resolvers.iter().map(|address| format!("nameserver {address}\n")).collect();
    let short = hostname.split('.').next().unwrap_or(hostname);
    let files = [
        ("/etc/hosts", format!("127.0.0.1 localhost\n{address} {hostname} {short}\n{HOST} {HOST_NAME}\n")),
        ("/etc/hostname", format!("{hostname}\n")),
        ("/etc/resolv.conf", resolvers.concat()),
    ];
    let mut binds = Vec::new();
    for (path, text) in files {
        let source = container.dir.join(path.trim_start_matches("/etc/"));
        std::fs::write(&source, text).context(|| format!("cannot write {}", source.display()))?;
        binds.push(Bind { source, path: path.to_owned(), read_only: false });
    }
    let own: Vec<&str> = container.image.config.volumes.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let is_own = |path: &str| own.iter().any(|own| same_path(own, path));
    for volume in &settings.volumes {
        let source = container.volumes().join(&volume.name);
        make_volume(&source, is_own(&volume.path).then_some((image, volume.path.as_str())))?;
        binds.push(Bind { source, path: volume.path.clone(), read_only: volume.read_only });
    }
    // As Docker does, also if the root file system is read-only.
    let mounted = |path: &str| settings.volumes.iter().any(|volume| same_path(&volume.path, path));
    for (number, path) in own.iter().enumerate().filter(|(_, path)| !mounted(path)) {
        let source = container.dir.join(format!("volume-{number}"));
        make_volume(&source, Some((image, path)))?;
        binds.push(Bind { source, path: (*path).to_owned(), read_only: false });
    }
    Ok(binds)
}

fn same_path(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Creates a volume when it is first used. If its path is a `VOLUME` of the image, with the files of the image there, and
/// with the owner and the mode of the directory. Otherwise empty, and only root can write to it:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>.
fn make_volume(source: &Path, of_image: Option<(&Root, &str)>) -> Result<()> {
    let what = || format!("cannot create the volume {}", source.display());
    if source.is_dir() {
        return Ok(());
    }
    let found = of_image.and_then(|(image, path)| {
        image.open_subpath(path.trim_matches('/'), OpenFlags::O_PATH | OpenFlags::O_DIRECTORY).ok()
    });
    let Some(found) = found else {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
        return builder.recursive(true).create(source).context(what);
    };
    if let Some(parent) = source.parent() {
        std::fs::create_dir_all(parent).context(what)?;
    }
    // A copy that is interrupted is not a volume.
    let partial = source.with_extension("partial");
    oci_image::remove_tree(&partial).context(what)?;
    copy_tree(Path::new(&format!("/proc/self/fd/{}/.", found.as_raw_fd())), &partial).context(what)?;
    std::fs::rename(&partial, source).context(what)
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
    fn a_volume_of_the_image_has_its_files_once_and_another_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::create_dir_all(image.join("var/data")).unwrap();
        std::fs::write(image.join("var/data/file"), "of the image").unwrap();
        std::os::unix::fs::symlink("/var/data", image.join("data")).unwrap();
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o1777);
        std::fs::set_permissions(image.join("var/data"), mode).unwrap();
        let root = Root::open(&image).unwrap();
        let volumes = folder.path().join("volumes");
        for (name, path) in [("one", "/var/data"), ("two", "data/")] {
            let volume = volumes.join(name);
            make_volume(&volume, Some((&root, path))).unwrap();
            assert_eq!(std::fs::read_to_string(volume.join("file")).unwrap(), "of the image");
            assert_eq!(volume.metadata().unwrap().mode() & 0o7777, 0o1777);
            std::fs::remove_file(volume.join("file")).unwrap();
            make_volume(&volume, Some((&root, path))).unwrap();
            assert!(!volume.join("file").exists(), "it is filled once");
        }
        for (name, of_image) in [("three", None), ("four", Some((&root, "/missing")))] {
            let volume = volumes.join(name);
            make_volume(&volume, of_image).unwrap();
            assert_eq!(std::fs::read_dir(&volume).unwrap().count(), 0);
            assert_eq!(volume.metadata().unwrap().mode() & 0o7777, 0o755);
        }
    }

    #[test]
    fn the_lower_limit_of_memory_is_watched() {
        let task = crate::engine::settings::TaskLimits { memory: Some(512), cpu: None };
        let limits = |memory| watched_memory(&Settings { memory, task, ..Settings::default() });
        assert_eq!((limits(None), limits(Some(64)), limits(Some(1024))), (Some(512), Some(64), Some(512)));
        assert_eq!(watched_memory(&Settings::default()), None);
    }
}
