//! The files of a running local cloud: paths, the record, and the list of processes that it started.

use crate::engine::{Internet, Isolation};
use crate::error::{Context, Error, Result};
use crate::private_file;
use crate::process::{ProcessId, boot_id};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The longest path that fits into a Unix socket address on Linux, including the final zero.
const SOCKET_PATH_LIMIT: usize = 107;

const ENGINE_SOCKET: &str = "engine.sock";
const CONTROL_SOCKET: &str = "control.sock";
/// The longest of these names.
const MINISTACK_SOCKET: &str = "ministack.sock";

/// The files of one instance, all below its state directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of a state directory; the path becomes absolute, the directory is not created.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).context(|| format!("cannot use the state directory {}", dir.display()))?;
        Ok(Self { dir })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The record of the daemon.
    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join("instance.json")
    }

    /// The processes that the daemon started, so that they can be stopped without it.
    pub(crate) fn processes(&self) -> PathBuf {
        self.dir.join("processes.json")
    }

    /// Locked as long as the daemon runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn daemon_log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    pub(crate) fn ministack_log(&self) -> PathBuf {
        self.dir.join("ministack.log")
    }

    /// MiniStack's temporary files and data.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("ministack")
    }

    /// Image layers by digest; survives `down`.
    pub(crate) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// Root file systems and output of the containers of this run.
    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    /// The access key for the clients of the running instance.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.dir.join("credentials.json")
    }

    /// The certificate of the authority that issues the certificates of HTTPS listeners; survives `down`.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The private key of that authority.
    pub(crate) fn authority_key(&self) -> PathBuf {
        self.dir.join("ca-key.pem")
    }

    /// The socket of the engine.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket_dir().join(ENGINE_SOCKET)
    }

    /// The socket that the commands use to query the daemon.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.socket_dir().join(CONTROL_SOCKET)
    }

    /// The socket of MiniStack, behind the gateway.
    pub(crate) fn ministack_socket(&self) -> PathBuf {
        self.socket_dir().join(MINISTACK_SOCKET)
    }

    /// The directory of the sockets: the state directory, or, if its path is too long for a socket, the directory to
    /// which its link leads.
    fn socket_dir(&self) -> PathBuf {
        if self.sockets_fit() {
            return self.dir.clone();
        }
        // Without the link, no local cloud runs from this directory.
        fs::read_link(self.socket_link()).unwrap_or_else(|_| self.dir.clone())
    }

    fn sockets_fit(&self) -> bool {
        self.dir.join(MINISTACK_SOCKET).as_os_str().len() <= SOCKET_PATH_LIMIT
    }

    fn socket_link(&self) -> PathBuf {
        self.dir.join("sockets")
    }

    /// Makes a directory for the sockets if the state directory has a long path. It has a random name and belongs to this
    /// user alone, so that no other user can take its place. Call it with the lock held.
    pub(crate) fn make_socket_dir(&self) -> Result<()> {
        self.remove_sockets();
        if self.sockets_fit() {
            return Ok(());
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let parent = runtime.filter(|dir| dir.is_dir()).unwrap_or_else(std::env::temp_dir);
        let made = parent.join(format!("local-cloud-{}", uuid::Uuid::new_v4().simple()));
        private_file::new_directory(&made)?;
        let link = self.socket_link();
        std::os::unix::fs::symlink(&made, &link).context(|| format!("cannot create {}", link.display()))
    }

    /// Removes the sockets of an instance that no longer runs.
    pub(crate) fn remove_sockets(&self) {
        // A failure does no harm: the next start replaces what remains.
        for socket in [self.socket(), self.control_socket(), self.ministack_socket()] {
            let _ = fs::remove_file(socket);
        }
        if let Ok(made) = fs::read_link(self.socket_link()) {
            let _ = fs::remove_dir(made);
            let _ = fs::remove_file(self.socket_link());
        }
    }
}

/// A forwarded port: requests to the local port go to the listener of the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forward {
    /// The port at the address of every node of the load balancer; 0 selects a free port.
    pub(crate) local: u16,
    /// The listener port of the load balancer.
    pub(crate) listener: u16,
}

impl std::str::FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (local, listener) = text.split_once(':')?;
            Some(Self { local: local.parse().ok()?, listener: listener.parse().ok().filter(|port| *port != 0)? })
        };
        parse().ok_or_else(|| "expected LOCAL_PORT:LISTENER_PORT, for example 8080:80".to_owned())
    }
}

/// The state of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// The daemon is starting.
    Starting,
    /// The local cloud is ready.
    Ready,
    /// The start failed, for this reason.
    Failed(String),
}

/// The record of an instance: endpoint, forwards, nodes, and daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The boot in which the daemon was started.
    pub(crate) boot: String,
    pub(crate) daemon: ProcessId,
    pub(crate) endpoint_port: u16,
    pub(crate) forwards: Vec<Forward>,
    /// The addresses of the nodes of the load balancer. A record of an older version has none: then there is one node.
    #[serde(default = "first_node")]
    pub(crate) nodes: Vec<Ipv4Addr>,
    pub(crate) region: String,
    /// What contains the tasks; known when it is ready.
    #[serde(default)]
    pub(crate) isolation: Option<Isolation>,
    /// What tasks reach; known when it is ready.
    #[serde(default)]
    pub(crate) internet: Option<Internet>,
    pub(crate) phase: Phase,
}

fn first_node() -> Vec<Ipv4Addr> {
    vec![Ipv4Addr::LOCALHOST]
}

impl Record {
    /// The record in a state directory, `None` if there is none.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>> {
        read_json(&layout.record())
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        write_json(&layout.record(), self)
    }

    /// Whether the daemon of this record still runs.
    pub(crate) fn daemon_alive(&self) -> bool {
        self.boot == boot_id() && self.daemon.alive()
    }

    /// The URL of the AWS APIs.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.endpoint_port)
    }

    /// The record of the running instance. Fails if none runs.
    pub(crate) fn running(layout: &Layout) -> Result<Self> {
        match Self::read(layout)? {
            Some(record) if record.daemon_alive() && record.phase == Phase::Ready => Ok(record),
            _ => {
                Err(Error::new(format!("the local cloud is not running (state directory {})", layout.dir().display()))
                    .hint("local-cloud up (in the project of bluegreen: make local-up)"))
            }
        }
    }
}

/// A process that the daemon started and that must not outlive it unnoticed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Child {
    pub(crate) process: ProcessId,
    /// Its name in messages.
    pub(crate) what: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Children {
    boot: String,
    children: Vec<Child>,
}

/// The processes that the daemon started, on disk and up to date.
#[derive(Debug)]
pub(crate) struct ProcessLedger {
    path: PathBuf,
    children: Mutex<Vec<Child>>,
}

impl ProcessLedger {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { path: layout.processes(), children: Mutex::new(Vec::new()) }
    }

    /// Records a process that was just started.
    pub(crate) fn started(&self, process: ProcessId, what: &str) {
        self.change(|children| children.push(Child { process, what: what.to_owned() }));
    }

    /// Removes a process that has ended.
    pub(crate) fn ended(&self, process: ProcessId) {
        self.change(|children| children.retain(|child| child.process != process));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Child>)) {
        let mut children = self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut children);
        let file = Children { boot: boot_id(), children: children.clone() };
        if let Err(error) = write_json(&self.path, &file) {
            tracing::error!("{error}");
        }
    }

    /// The processes of a daemon, alive or dead, that still run.
    pub(crate) fn left_behind(layout: &Layout) -> Result<Vec<Child>> {
        let file: Children = read_json(&layout.processes())?.unwrap_or_default();
        if file.boot != boot_id() {
            return Ok(Vec::new());
        }
        Ok(file.children.into_iter().filter(|child| child.process.alive()).collect())
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::new(format!("cannot read {}: {error}", path.display()))),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::new(format!("{} is not a state file of this version: {error}", path.display()))
            .hint("delete it if no local cloud runs from this directory")
    })
}

/// Writes a file and renames it, so that a reader never sees a partial file.
fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context(|| format!("cannot encode {}", path.display()))?;
    private_file::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn record(daemon: ProcessId) -> Record {
        Record {
            boot: boot_id(),
            daemon,
            endpoint_port: 4566,
            forwards: vec![Forward { local: 8080, listener: 80 }],
            nodes: first_node(),
            region: "us-east-1".into(),
            isolation: None,
            internet: None,
            phase: Phase::Ready,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        assert!(Record::read(&layout).unwrap().is_none());
        record(ProcessId::current().unwrap()).write(&layout).unwrap();
        let read = Record::read(&layout).unwrap().unwrap();
        assert!(read.daemon_alive());
        assert_eq!(read.forwards, vec![Forward { local: 8080, listener: 80 }]);
    }

    #[test]
    fn a_record_of_another_boot_or_of_a_recycled_pid_is_not_running() {
        let me = ProcessId::current().unwrap();
        assert!(!Record { boot: "another".into(), ..record(me) }.daemon_alive());
        assert!(!record(ProcessId { started: me.started + 1, ..me }).daemon_alive());
    }

    #[test]
    fn a_damaged_record_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        fs::write(layout.record(), "{").unwrap();
        assert!(Record::read(&layout).unwrap_err().to_string().contains("hint: delete it"));
    }

    #[test]
    fn processes_left_behind_are_those_that_still_run() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let me = ProcessId::current().unwrap();
        let ledger = ProcessLedger::new(&layout);
        ledger.started(me, "this test");
        ledger.started(ProcessId { started: me.started + 1, ..me }, "a recycled pid");
        let left = ProcessLedger::left_behind(&layout).unwrap();
        assert_eq!(left.iter().map(|child| child.what.as_str()).collect::<Vec<_>>(), ["this test"]);
        ledger.ended(me);
        assert!(ProcessLedger::left_behind(&layout).unwrap().is_empty());
    }

    #[test]
    fn a_long_state_directory_still_has_a_socket_that_fits() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("long/".repeat(40));
        fs::create_dir_all(&dir).unwrap();
        let layout = Layout::new(&dir).unwrap();
        layout.make_socket_dir().unwrap();
        let made = layout.socket_dir();
        assert!(layout.ministack_socket().as_os_str().len() <= SOCKET_PATH_LIMIT);
        assert_ne!(layout.socket(), layout.control_socket());
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        layout.make_socket_dir().unwrap();
        assert_ne!(layout.socket_dir(), made, "nobody can know the name before");
        let last = layout.socket_dir();
        layout.remove_sockets();
        assert!(!made.exists() && !last.exists());
    }

    #[test]
    fn forwards_are_local_port_and_listener_port() {
        assert_eq!("8080:80".parse(), Ok(Forward { local: 8080, listener: 80 }));
        assert_eq!("0:81".parse(), Ok(Forward { local: 0, listener: 81 }));
        for wrong in ["8080", "8080:", "a:80", "8080:0", "99999:80"] {
            assert!(wrong.parse::<Forward>().is_err(), "{wrong}");
        }
    }
}
