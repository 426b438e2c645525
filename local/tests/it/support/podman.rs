//! Podman with runc, in folders of its own: another runtime of images, and a Docker Engine API.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Podman for root.
pub struct Podman {
    folder: tempfile::TempDir,
}

/// Its Docker Engine API, which ends when it is dropped.
pub struct Service {
    process: Child,
    pub socket: PathBuf,
}

impl Podman {
    /// None if it cannot be used here; the test then prints what it does not check.
    pub fn new(purpose: &str) -> Option<Self> {
        for program in ["podman", "runc"] {
            if Command::new(program).arg("--version").output().is_err() {
                println!("SKIPPED: {purpose}, because {program} is not installed");
                return None;
            }
        }
        let owner = std::fs::metadata("/proc/self").unwrap();
        if std::os::unix::fs::MetadataExt::uid(&owner) != 0 {
            println!("SKIPPED: {purpose}, because Podman needs root rights for its networks");
            return None;
        }
        let podman = Self { folder: tempfile::tempdir().unwrap() };
        let path = |name: &str| podman.folder.path().join(name).display().to_string();
        // The hard limits of a machine can be lower than those that Podman takes otherwise.
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             tmp_dir = \"{}\"\nvolume_path = \"{}\"\n[network]\nnetwork_config_dir = \"{}\"\n",
            path("tmp"),
            path("volumes"),
            path("networks"),
        );
        let storage =
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n", path("graph"), path("run"));
        std::fs::write(path("containers.conf"), containers).unwrap();
        std::fs::write(path("storage.conf"), storage).unwrap();
        Some(podman)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.folder.path().join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.path().join("storage.conf"));
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// The words that a command prints.
    #[track_caller]
    pub fn words(&self, arguments: &[&str]) -> Vec<String> {
        let output = String::from_utf8(self.run(arguments).stdout).unwrap();
        output.split_whitespace().map(str::to_owned).collect()
    }

    /// Serves its API.
    pub fn serve(&self) -> Service {
        let socket = self.folder.path().join("api.sock");
        let mut command = self.command();
        command.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let service = Service { process, socket };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(&service.socket).is_err() {
            assert!(Instant::now() < deadline, "the API of Podman does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command().args(["rm", "--all", "--force", "--time", "0"]).output();
    }
}
