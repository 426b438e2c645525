//! The helper processes of a task: `local-cloud` itself, started with a clean environment and one thread.
//!
//! A helper gets its request over the socket that is its standard input, and answers there, one JSON document per line.
//! Nothing of an image reaches a helper before it has left the file system of this machine.

mod container;
mod links;
mod network;
mod seccomp;
mod user;

use crate::error::{Context, Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

/// The kind of a helper process: the subcommand that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Helper {
    /// Holds the network namespace of a task, and opens sockets in it.
    Network,
    /// Starts a container, waits for its end, and reports it.
    Container,
}

/// The request to hold a network namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NetworkRequest {
    /// Whether to create a user namespace first, because this process has no root rights.
    pub(crate) user_namespace: bool,
}

/// The answer to a [`NetworkRequest`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkAnswer {
    Ready,
    Failed(String),
}

/// What the daemon wants from the process that holds a network namespace: one byte each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A TCP socket in the namespace.
    Socket = 1,
    /// The listener of credentials and metadata.
    Services = 2,
    /// To end the process whose id follows when the daemon has ended.
    End = 3,
}

impl Wanted {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Socket, Self::Services, Self::End].into_iter().find(|wanted| *wanted as u8 == byte)
    }
}

/// The unpacked image and the directory of what a container changes, which are mounted over each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Overlay {
    /// The unpacked image. Nothing changes it.
    pub(crate) image: PathBuf,
    /// An empty directory for changed files.
    pub(crate) changes: PathBuf,
    /// An empty directory in the same file system for the kernel.
    pub(crate) work: PathBuf,
}

/// The request to run a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRequest {
    pub(crate) id: String,
    /// The directory with the specification, `config.json`. The helper deletes it when it has read it.
    pub(crate) bundle: PathBuf,
    /// The directory for the state of the runtime.
    pub(crate) state: PathBuf,
    /// The root directory of the container.
    pub(crate) root: PathBuf,
    /// What to mount at the root directory; if absent, the root directory has the files already.
    pub(crate) overlay: Option<Overlay>,
    /// The working directory, which is created if it is missing.
    pub(crate) directory: String,
    /// Its control group.
    pub(crate) group: String,
    /// Whether its programs may inspect each other with the help of a capability.
    pub(crate) may_trace: bool,
    /// The process whose user namespace to enter, if this process has no root rights.
    pub(crate) user_namespace_of: Option<i32>,
    /// The user and the group of the program, if the user namespace has only one user.
    pub(crate) only_user: Option<(u32, u32)>,
    /// Whether process 1 reaps orphans and forwards signals (`initProcessEnabled`).
    pub(crate) init: bool,
    /// Whether to end in place of the program: a trial of the machine.
    pub(crate) trial: bool,
    /// The memory limit that this helper watches, in bytes. A limit of the kernel is in the specification.
    pub(crate) watched_memory: Option<u64>,
}

/// What a container helper reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContainerEvent {
    /// The program starts as this process.
    Started(i32),
    /// It cannot start, for this reason.
    Failed(String),
    /// It was killed because it used too much memory.
    OutOfMemory,
    /// Something could not be cleaned up.
    Warning(String),
}

/// Runs a helper process to its end. It gets its request over its socket, or as an argument from itself.
pub(crate) fn run(helper: Helper, request: Option<&str>) -> Result<ExitCode> {
    let socket = Socket::from_stdin()?;
    match (helper, request) {
        (Helper::Network, _) => network::run(socket),
        (Helper::Container, None) => container::enter(socket),
        (Helper::Container, Some(request)) => container::run(socket, request),
    }
}

/// The socket that connects a helper with the daemon.
struct Socket {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Socket {
    fn from_stdin() -> Result<Self> {
        let what = || "a helper process needs a socket as its standard input: only the daemon starts it".to_owned();
        let socket = UnixStream::from(rustix::io::dup(rustix::stdio::stdin()).context(what)?);
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).context(what)?;
        let writer = socket.try_clone().context(what)?;
        Ok(Self { reader: BufReader::new(socket), writer })
    }

    fn request<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.reader.read_line(&mut line).context(|| "cannot read the request of the daemon".into())?;
        serde_json::from_str(&line).context(|| "cannot parse the request of the daemon".into())
    }

    fn answer(&mut self, answer: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(answer).context(|| "cannot encode an answer".into())?;
        line.push(b'\n');
        self.writer.write_all(&line).map_err(|error| Error::new(format!("the daemon does not listen: {error}")))
    }
}
