//! The process that starts a container with the OCI runtime `libcontainer`, and waits for its end.
//!
//! It exits as the program of the container does. When it ends for any reason, the kernel kills process 1 of the
//! container, and with it every process in there.

use super::{ContainerEvent, ContainerRequest, Overlay, Socket, seccomp, user};
use crate::engine::{control_group, memory};
use crate::error::{Context, Error, Result, chain};
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal as NixSignal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pathrs::Root;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The exit codes of shells for a program that cannot be executed and for one that is not there.
const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// The start of the reason why a program is refused before it runs.
const REFUSED: &str = "cannot run the image: ";
/// Interval between two looks at the memory of a container that no control group limits.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(250);

/// Enters the namespaces that this process needs, and executes this program again, from a read-only mount. A container can
/// reach the program that started it as `/proc/self/exe`, and must not change it (CVE-2019-5736).
pub(super) fn enter(mut socket: Socket) -> Result<ExitCode> {
    let request: ContainerRequest = socket.request()?;
    let Err(error) = execute_read_only(&request);
    socket.answer(&ContainerEvent::Failed(error.message().to_owned()))?;
    Ok(ExitCode::FAILURE)
}

fn execute_read_only(request: &ContainerRequest) -> Result<Infallible> {
    match request.user_namespace_of {
        Some(holder) => enter_user_namespace(holder)?,
        None => separate_mounts()?,
    }
    if let Some(overlay) = &request.overlay {
        mount_image(overlay, &request.root, request.user_namespace_of.is_some())?;
        if request.trial {
            try_changes(&request.root)?;
        }
    }
    let program = request.bundle.join("program");
    let what = || format!("cannot mount {}", program.display());
    let own = std::fs::read_link("/proc/self/exe").context(what)?;
    if own.exists() {
        File::create(&program).context(what)?;
        mount_bind(&own, &program).context(what)?;
    } else {
        // The file was replaced since the daemon started.
        std::fs::copy("/proc/self/exe", &program).context(what)?;
        mount_bind(&program, &program).context(what)?;
    }
    // A mount of a user namespace keeps the flags that its source has.
    let kept = statvfs(&program).context(what)?.f_flag;
    let flag =
        |given: StatVfsMountFlags, flag: MountFlags| if kept.contains(given) { flag } else { MountFlags::empty() };
    let kept = flag(StatVfsMountFlags::NOSUID, MountFlags::NOSUID)
        | flag(StatVfsMountFlags::NODEV, MountFlags::NODEV)
        | flag(StatVfsMountFlags::NOATIME, MountFlags::NOATIME)
        | flag(StatVfsMountFlags::RELATIME, MountFlags::RELATIME);
    mount_remount(&program, MountFlags::BIND | MountFlags::RDONLY | kept, c"").context(what)?;
    let request = serde_json::to_string(request).context(|| "cannot encode a request".into())?;
    let error = Command::new(&program).args(["helper", "container"]).arg(request).exec();
    Err(error).context(|| format!("cannot execute {}", program.display()))
}

pub(super) fn run(mut socket: Socket, request: &str) -> Result<ExitCode> {
    let request: ContainerRequest =
        serde_json::from_str(request).context(|| "cannot parse the request of the daemon".into())?;
    let mut container = match start(&request) {
        Ok(container) => container,
        Err(error) => {
            socket.answer(&ContainerEvent::Failed(error.message().to_owned()))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(init) = container.pid() else {
        socket.answer(&ContainerEvent::Failed("the runtime names no process".to_owned()))?;
        return Ok(ExitCode::FAILURE);
    };
    socket.answer(&ContainerEvent::Started(init.as_raw()))?;
    let (code, over) = wait(Pid::from_raw(init.as_raw()), request.watched_memory)?;
    let over = over || killed_for_memory(&request.group);
    // This comes first, because a daemon that was killed does not listen.
    let cleaned = container.delete(true);
    if over {
        socket.answer(&ContainerEvent::OutOfMemory)?;
    }
    if let Err(error) = cleaned {
        socket.answer(&ContainerEvent::Warning(format!("cannot clean up: {}", chain(&error))))?;
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

fn start(request: &ContainerRequest) -> Result<Container> {
    std::fs::create_dir_all(&request.state).context(|| format!("cannot create {}", request.state.display()))?;
    if !control_group::is_own(&request.group) {
        // At its end, the runtime kills every process in the group.
        return Err(Error::new(format!("{:?} is not the control group of a container", request.group)));
    }
    make_directory(&request.root, &request.directory)?;
    let nothing = File::open("/dev/null").context(|| "cannot open /dev/null".into())?;
    let program = Program {
        only_user: request.only_user,
        init: request.init,
        trial: request.trial,
        may_trace: request.may_trace,
    };
    let built = ContainerBuilder::new(request.id.clone(), SyscallType::default())
        .with_executor(program)
        .with_stdin(OwnedFd::from(nothing))
        .with_root_path(&request.state)
        .and_then(|builder| builder.as_init(&request.bundle).with_systemd(false).with_detach(true).build());
    // It contains the secrets of the task.
    let specification = request.bundle.join("config.json");
    std::fs::remove_file(&specification).context(|| format!("cannot remove {}", specification.display()))?;
    let mut container = built.map_err(|error| Error::new(reason(&error)))?;
    container.start().map_err(|error| Error::new(reason(&error)))?;
    Ok(container)
}

/// The cause: what is before it says only in which part of the runtime it was found.
fn reason(error: &dyn std::error::Error) -> String {
    let text = chain(error);
    match text.find(REFUSED) {
        Some(start) => text[start..].to_owned(),
        None => text,
    }
}

/// Enters the user namespace of a process, as its root, with a mount namespace in which the runtime finds control groups
/// that it may leave alone. The runtime knows that for version 2 only, which a hybrid machine has in `unified`.
fn enter_user_namespace(holder: i32) -> Result<()> {
    let path = format!("/proc/{holder}/ns/user");
    let namespace = File::open(&path).context(|| format!("cannot open {path}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .context(|| "cannot enter the user namespace of the task".into())?;
    separate_mounts()?;
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.is_dir() {
        mount_bind(unified, "/sys/fs/cgroup").context(|| "cannot bind the control groups".into())?;
    }
    Ok(())
}

/// Mounts an image with what the container changes over it:
/// <https://docs.kernel.org/filesystems/overlayfs.html>. The mount ends with the mount namespace of this process.
fn mount_image(overlay: &Overlay, root: &Path, in_user_namespace: bool) -> Result<()> {
    let what = || format!("cannot mount {}", overlay.image.display());
    // A path can have characters that separate options.
    let open = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let image = open(&overlay.image).context(what)?;
    let changes = open(&overlay.changes).context(what)?;
    let work = open(&overlay.work).context(what)?;
    let path = |descriptor: &OwnedFd| format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let (image, changes, work) = (path(&image), path(&changes), path(&work));
    // The changes end with the container, so nothing forces them to disk.
    let mut options = format!("lowerdir={image},upperdir={changes},workdir={work},volatile");
    if in_user_namespace {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).context(what)?;
    mount("overlay", root, "overlay", MountFlags::empty(), options.as_c_str()).context(what)
}

/// Creates and removes files of a mounted image, because a mount can succeed and its changes fail.
fn try_changes(root: &Path) -> Result<()> {
    let what = || format!("cannot change the files of {}", root.display());
    for entry in std::fs::read_dir(root).context(what)? {
        std::fs::remove_file(entry.context(what)?.path()).context(what)?;
    }
    std::fs::write(root.join("new"), "").context(what)
}

/// Creates a directory of an image if it is missing, as Docker does.
fn make_directory(root: &Path, directory: &str) -> Result<()> {
    let made = Root::open(root).and_then(|root| root.mkdir_all(directory, &std::fs::Permissions::from_mode(0o755)));
    made.map(drop).context(|| format!("cannot create the working directory {directory} of the image"))
}

/// Enters a mount namespace, so that the mounts of this process are not those of the machine.
fn separate_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context(|| "cannot create a mount namespace".into())?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .context(|| "cannot separate the mounts of the task".into())
}

/// Waits for the end of process 1; returns its exit code, and whether it was killed here for its memory.
fn wait(init: Pid, limit: Option<u64>) -> Result<(i32, bool)> {
    let mut over = false;
    loop {
        let flags = limit.map(|_| WaitPidFlag::WNOHANG);
        match waitpid(init, flags) {
            Ok(WaitStatus::Exited(_, code)) => return Ok((code, over)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok((128 + signal as i32, over)),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(Error::new(format!("cannot wait for the program: {error}"))),
        }
        if let Some(limit) = limit {
            if !over && memory::of(init.as_raw()) > limit {
                over = true;
                kill(init, NixSignal::SIGKILL).context(|| "cannot kill the program".into())?;
            }
            std::thread::sleep(LOOK_AT_MEMORY);
        }
    }
}

/// Whether the kernel killed a process of the container because its control group was over its limit.
fn killed_for_memory(group: &str) -> bool {
    let files =
        [format!("/sys/fs/cgroup/memory{group}/memory.oom_control"), format!("/sys/fs/cgroup{group}/memory.events")];
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    texts
        .into_iter()
        .any(|text| text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0")))
}

/// The program of a container. It runs as process 1 when everything else is done.
#[derive(Debug, Clone)]
struct Program {
    only_user: Option<(u32, u32)>,
    init: bool,
    trial: bool,
    may_trace: bool,
}

impl Program {
    fn prepare(&self) -> Result<()> {
        if let Some((uid, gid)) = self.only_user {
            become_user(uid, gid)?;
        }
        // The change of the user clears it.
        set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot follow the end of its helper".into())?;
        seccomp::apply(self.may_trace)
    }
}

impl Executor for Program {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // The runtime can tell nobody from here on, so the output of the task does.
        if let Err(error) = self.prepare() {
            eprintln!("cannot run the program: {}", error.message());
            std::process::exit(CANNOT_EXECUTE);
        }
        if self.trial {
            std::process::exit(0);
        }
        let process = spec.process().as_ref();
        let arguments = process.and_then(|process| process.args().clone()).ok_or(ExecutorError::InvalidArg)?;
        let (program, rest) = arguments.split_first().ok_or(ExecutorError::InvalidArg)?;
        let mut command = Command::new(program);
        command.args(rest);
        let error = if self.init {
            match command.spawn() {
                Ok(child) => std::process::exit(reap(child.id())),
                Err(error) => error,
            }
        } else {
            command.exec()
        };
        eprintln!("cannot run {program}: {error}");
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        std::process::exit(if missing { NOT_FOUND } else { CANNOT_EXECUTE });
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refuse = |why: String| Err(ExecutorValidationError::ArgValidationError(format!("{REFUSED}{why}")));
        if self.trial {
            return Ok(());
        }
        let process = spec.process().as_ref();
        let Some(program) = process.and_then(|process| process.args().as_ref()?.first()) else {
            return refuse("there is no program to run".to_owned());
        };
        let path =
            process.and_then(|process| process.env().as_ref()?.iter().find_map(|pair| pair.strip_prefix("PATH=")));
        match find(program, path.unwrap_or("")) {
            Some(found) if executable(&found) => Ok(()),
            Some(found) => refuse(format!("its program {} is not executable", found.display())),
            None if program.contains('/') => refuse(format!("it has no program {program}")),
            None => refuse(format!("it has no program {program} in its PATH ({})", path.unwrap_or(""))),
        }
    }
}

/// Becomes a user other than root in a user namespace with one user: in another namespace inside it.
fn become_user(uid: u32, gid: u32) -> Result<()> {
    // Only the files of a process that can be inspected are its own, and it writes its mapping to them.
    set_dumpable_behavior(DumpableBehavior::Dumpable).context(|| "cannot become the user of the image".into())?;
    user::enter_new(uid, gid)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context(|| "cannot become the user of the image".into())?;
    user::drop_capabilities()
}

/// Finds a program as the kernel and shells do: by its path, or in the directories of `PATH`.
fn find(program: &str, path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|program| program.exists());
    }
    let candidates: Vec<PathBuf> = path.split(':').map(|dir| Path::new(dir).join(program)).collect();
    let best = candidates.iter().find(|candidate| executable(candidate));
    best.or_else(|| candidates.iter().find(|candidate| candidate.is_file())).cloned()
}

fn executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The work of process 1 if the task definition wants an init process: reaps orphans, forwards signals, and ends as the
/// program does.
fn reap(program: u32) -> i32 {
    let program = Pid::from_raw(i32::try_from(program).unwrap_or(-1));
    let all = SigSet::all();
    if let Err(error) = all.thread_block() {
        eprintln!("the init process cannot handle signals: {error}");
        return CANNOT_EXECUTE;
    }
    loop {
        // Programs that ended before the signals were blocked have left no signal, so look first.
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, code) if pid == program => return code,
                WaitStatus::Signaled(pid, signal, _) if pid == program => return 128 + signal as i32,
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
        match all.wait() {
            Ok(NixSignal::SIGCHLD) => {}
            // The program can have ended meanwhile; the next look finds it.
            Ok(signal) => drop(kill(program, signal)),
            Err(error) => {
                eprintln!("the init process cannot wait for signals: {error}");
                return CANNOT_EXECUTE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_working_directory_is_created_in_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::create_dir_all(&image).unwrap();
        std::os::unix::fs::symlink("/../..", image.join("out")).unwrap();
        make_directory(&image, "/out/app/data").unwrap();
        assert!(image.join("app/data").is_dir() && !folder.path().join("app").exists());
    }
}
