//! A separate local cloud for a test, commands on it, and a client that observes prod.

pub mod browser;
#[path = "../../bin/client.rs"]
pub mod client;
pub mod function;
#[path = "../../../../local/tests/it/support/ordinary.rs"]
mod ordinary;
pub mod outside;
pub mod pages;
#[path = "../../../../crates/stack/tests/it/patterns.rs"]
pub mod patterns;
#[path = "../../../../local/tests/it/support/podman.rs"]
pub mod podman;
pub mod policy;
pub mod shell;
pub mod terminal;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_sdk_cloudformation::config::{Credentials, Region, SharedCredentialsProvider};
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use serde_json::Value;

/// The `bluegreen` under test.
pub const BLUEGREEN: &str = env!("CARGO_BIN_EXE_bluegreen");

pub use client::{Answer, Client};
pub use pages::project;

pub fn local_cloud() -> PathBuf {
    let path = Path::new(BLUEGREEN).with_file_name("local-cloud");
    assert!(path.is_file(), "{} is not built: run the tests of the whole workspace (make test)", path.display());
    path
}

/// A local cloud on free ports, stopped when dropped.
pub struct Cloud {
    state: tempfile::TempDir,
    status: Value,
    /// The ordinary user that runs it, with a Python for this user; none for the user of the test.
    user: Option<(u32, PathBuf)>,
    /// The socket of the container engine that runs its tasks, if it does not run them itself.
    engine: Option<PathBuf>,
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    let owner = std::fs::metadata("/proc/self").unwrap();
    std::os::unix::fs::MetadataExt::uid(&owner) == 0
}

/// The output of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}", self.out))
    }
}

impl Cloud {
    /// Starts a local cloud and forwards these `listeners` of its load balancer.
    pub fn start(listeners: [u16; 2]) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), (None, None), listeners)
    }

    /// The same with tasks in the container engine at this socket.
    pub fn start_with_engine(listeners: [u16; 2], socket: &Path) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), (None, Some(socket.to_owned())), listeners)
    }

    /// The same as an ordinary user. None if this test is not root, or that user cannot run Python.
    pub fn start_as_ordinary_user(listeners: [u16; 2]) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let state = tempfile::tempdir().unwrap();
        chown(state.path(), Some(ordinary::USER), Some(ordinary::USER)).unwrap();
        let python = std::env::var_os("LOCAL_CLOUD_PYTHON");
        let python = python.map_or_else(|| project().join(".venv/bin/python"), PathBuf::from);
        let python = ordinary::python_for_user(&python, state.path())?;
        Some(Self::start_with(state, (Some((ordinary::USER, python)), None), listeners))
    }

    fn start_with(
        state: tempfile::TempDir,
        (user, engine): (Option<(u32, PathBuf)>, Option<PathBuf>),
        listeners: [u16; 2],
    ) -> Self {
        let kind = if engine.is_some() { "docker" } else { "built-in" };
        let mut cloud = Self { state, status: Value::Null, user, engine };
        let forwards = listeners.map(|port| format!("0:{port}"));
        // The local cloud stops when this test ends, for any reason.
        let owner = std::process::id().to_string();
        let forwards = ["--forward", &forwards[0], "--forward", &forwards[1]];
        let up = [&["up", "--owner-pid", &owner, "--endpoint-port", "0", "--engine", kind][..], &forwards].concat();
        cloud.local(&up).expect(0);
        cloud.status = cloud.local(&["status", "--json"]).expect(0).json();
        cloud
    }

    /// A command of its user.
    fn own(&self) -> Command {
        let mut command = Command::new(local_cloud());
        command.env("LOCAL_CLOUD_STATE", self.state.path()).current_dir(project());
        if let Some((user, python)) = &self.user {
            command.uid(*user).gid(*user).env("LOCAL_CLOUD_PYTHON", python).env("HOME", self.state.path());
        }
        if let Some(socket) = &self.engine {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
        command
    }

    /// Gives a file or folder to its user.
    pub fn give(&self, path: &Path) {
        if let Some((user, _)) = &self.user {
            chown(path, Some(*user), Some(*user)).unwrap();
        }
    }

    /// Runs `local-cloud` for this cloud.
    pub fn local(&self, arguments: &[&str]) -> Said {
        self.local_in(project(), arguments)
    }

    /// Runs `local-cloud` for this cloud in a folder.
    pub fn local_in(&self, folder: &Path, arguments: &[&str]) -> Said {
        Said::of(self.own().args(arguments).current_dir(folder).output().unwrap())
    }

    /// Runs `bluegreen` on this cloud, in the folder of the project.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_in(project(), arguments)
    }

    /// Runs `bluegreen` on this cloud, in a folder with its own `bluegreen.toml`.
    pub fn run_in(&self, folder: &Path, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).current_dir(folder).output().unwrap())
    }

    /// A command `bluegreen` on this cloud, in the folder of the project.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.own();
        command.args(["exec", "--", BLUEGREEN]).args(arguments);
        command
    }

    /// `host:port` of the first or second listener.
    pub fn address(&self, index: usize) -> String {
        let url = self.status["forwards"][index]["url"].as_str().unwrap();
        url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    /// Changes one parameter of a stack without the command, and waits until the stack is stable.
    pub fn set_parameter(&self, stack: &str, name: &str, value: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = aws_sdk_cloudformation::Client::new(&self.sdk_config().await);
            let describe = async || {
                client.describe_stacks().stack_name(stack).send().await.unwrap().stacks.unwrap().swap_remove(0)
            };
            let parameters = describe().await.parameters.unwrap().into_iter().map(|parameter| {
                let key = parameter.parameter_key.unwrap();
                let changed = Parameter::builder().parameter_key(&key);
                if key == name { changed.parameter_value(value) } else { changed.use_previous_value(true) }.build()
            });
            let update = client.update_stack().stack_name(stack).use_previous_template(true);
            let update = update.capabilities(Capability::CapabilityIam).set_parameters(Some(parameters.collect()));
            update.send().await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            while describe().await.stack_status.unwrap() != StackStatus::UpdateComplete {
                assert!(Instant::now() < deadline, "the update of {stack} does not end");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// The state directory of the local cloud.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The URL of its AWS APIs.
    pub fn endpoint(&self) -> &str {
        self.status["endpoint"].as_str().unwrap()
    }

    /// The AWS configuration of its clients.
    pub async fn sdk_config(&self) -> aws_config::SdkConfig {
        let shared = aws::sdk_config().await.unwrap().into_builder();
        shared
            .endpoint_url(self.endpoint())
            .region(Region::new(self.status["region"].as_str().unwrap().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials()))
            .build()
    }

    /// The access key of this local cloud.
    pub fn credentials(&self) -> Credentials {
        let file = std::fs::read(self.state().join("credentials.json")).unwrap();
        let key: Value = serde_json::from_slice(&file).unwrap();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        Credentials::new(text("access_key_id"), text("secret_access_key"), None, None, "test")
    }

    /// Writes a configuration of Docker to a folder, with which its registry can be used.
    pub fn log_in(&self, folder: &Path) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(async {
            let client = aws_sdk_ecr::Client::new(&self.sdk_config().await);
            let answer = client.get_authorization_token().send().await.unwrap();
            answer.authorization_data()[0].authorization_token().unwrap().to_owned()
        });
        let host = self.endpoint().trim_start_matches("http://");
        let config = serde_json::json!({ "auths": { host: { "auth": token } } });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    }

    /// The tasks that the local cloud runs.
    pub fn tasks(&self) -> Vec<Value> {
        let status = self.local(&["status", "--json"]).expect(0).json();
        let tasks = status["tasks"].as_array().unwrap();
        tasks.iter().filter(|task| task["state"] != "exited").cloned().collect()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let down = self.local(&["down"]);
        if !std::thread::panicking() {
            down.expect(0);
        }
    }
}

/// Requests one page.
#[track_caller]
pub fn get(address: &str, path: &str) -> Answer {
    Client::new(address.to_owned()).get(path).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

/// A user of prod: sends requests continuously and records every failure.
pub struct User {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// The results of a user.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: usize,
    /// The time and the failure.
    pub failures: Vec<(Instant, String)>,
    /// Versions in the order in which they answered, one entry per change.
    pub versions: Vec<String>,
}

impl User {
    /// A user who requests `path` about a hundred times per second.
    pub fn of(address: String, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut client = Client::new(address);
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                seen.requests += 1;
                match client.get(path) {
                    Ok(answer) if answer.status == 200 => {
                        let version = answer.version.unwrap_or_default();
                        if seen.versions.last() != Some(&version) {
                            seen.versions.push(version);
                        }
                    }
                    Ok(answer) => seen.failures.push((Instant::now(), format!("{} {}", answer.status, answer.body))),
                    Err(error) => seen.failures.push((Instant::now(), error.to_string())),
                }
                // The interval between requests.
                std::thread::sleep(Duration::from_millis(8));
            }
            seen
        });
        Self { stop, thread }
    }

    /// The results so far.
    pub fn leave(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
