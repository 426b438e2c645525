//! A local cloud of a rehearsal's own: started on free ports with a private state folder, and ended with it. It is another
//! program, driven by its command line; nothing here knows how it does what it does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde::Deserialize;
use tokio::process::Command;

use super::document::EndedTask;
use crate::error::{Doing as _, Error, Result};

/// The program.
const PROGRAM: &str = "local-cloud";

/// Names another program.
const VARIABLE: &str = "BLUEGREEN_LOCAL_CLOUD";

/// A running local cloud; it ends when this is dropped, and with this process however that ends.
#[derive(Debug)]
pub struct LocalCloud {
    program: PathBuf,
    folder: tempfile::TempDir,
    running: bool,
}

#[derive(Debug, Deserialize)]
struct Status {
    forwards: Vec<Forward>,
    tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Forward {
    url: String,
    listener: u16,
}

#[derive(Debug, Deserialize)]
struct Task {
    definition: Option<String>,
    state: String,
    exit_code: Option<i64>,
    reason: Option<String>,
    #[serde(default)]
    output: Vec<String>,
}

impl LocalCloud {
    /// Finds the program, and makes the folder.
    pub fn find() -> Result<Self> {
        let program = local_cloud()?;
        let folder = tempfile::Builder::new().prefix("bluegreen-rehearsal-").tempdir();
        Ok(Self { program, folder: folder.doing(|| "create a folder for the local cloud".to_owned())?, running: false })
    }

    /// Its folder, in which a rehearsal may keep its own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it with these listener ports forwarded.
    pub async fn start(&mut self, listeners: &[u16]) -> Result<()> {
        let owner = std::process::id().to_string();
        let mut up = self.command();
        up.args(["up", "--owner-pid", &owner, "--endpoint-port", "0"]);
        for listener in listeners {
            up.arg("--forward").arg(format!("0:{listener}"));
        }
        // From here on there may be something to end.
        self.running = true;
        self.say(up, "start the local cloud").await?;
        Ok(())
    }

    /// A command that talks to this cloud: to be started, with what it says wherever its starter wants it.
    pub fn run(&self, program: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = self.command();
        command.args(["exec", "--"]).arg(program).args(arguments);
        command
    }

    /// The local address of a listener port: `host:port`.
    pub async fn address(&self, listener: u16) -> Result<String> {
        let status = self.status().await?;
        let forward = status.forwards.iter().find(|forward| forward.listener == listener);
        let forward =
            forward.ok_or_else(|| Error::failed(format!("the local cloud does not forward port {listener}")))?;
        Ok(forward.url.trim_start_matches("http://").trim_end_matches('/').to_owned())
    }

    /// Lets tasks fail.
    pub async fn fault(&self, arguments: &[String]) -> Result<()> {
        let mut command = self.command();
        command.args(["fault", "task"]).args(arguments);
        self.say(command, "inject the fault").await.map(drop)
    }

    /// Tasks that ended and should not have, of a stack's environments.
    pub async fn ended_tasks(&self, stack: &str) -> Result<Vec<EndedTask>> {
        let environment = |task: &Task| {
            let family = task.definition.as_deref()?.split(':').next()?;
            Some(family.strip_prefix(stack)?.strip_prefix('-')?.to_owned())
        };
        let status = self.status().await?;
        let on_its_own = |task: &Task| task.reason.is_some() || task.exit_code.is_some_and(|code| code != 0);
        let ended = status.tasks.into_iter().filter(|task| task.state == "exited" && on_its_own(task));
        Ok(ended
            .map(|task| EndedTask {
                environment: environment(&task),
                exit_code: task.exit_code,
                reason: task.reason,
                output: task.output,
            })
            .collect())
    }

    /// Ends it.
    pub async fn end(mut self) -> Result<()> {
        self.running = false;
        let mut down = self.command();
        down.arg("down");
        self.say(down, "stop the local cloud").await.map(drop)
    }

    async fn status(&self) -> Result<Status> {
        let mut command = self.command();
        command.args(["status", "--json"]);
        let said = self.say(command, "read the status of the local cloud").await?;
        serde_json::from_slice(&said.stdout)
            .map_err(|error| Error::failed("cannot parse the status of the local cloud").because(error))
            .map_err(|error| error.hint("build bluegreen and local-cloud together: their versions must match"))
    }

    /// In a separate process group: Ctrl-C at a terminal is handled by this command, which stops the child cleanly.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--state").arg(self.folder.path().join("state"));
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }

    /// Runs a short command to its end; returns its error message if it fails.
    async fn say(&self, mut command: Command, what: &str) -> Result<Output> {
        let said = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await;
        let said = said.doing(|| format!("run {}", self.program.display()))?;
        if said.status.success() {
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&said.stderr);
        let mut error = Error::failed(format!("cannot {what}"));
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            error = match line.strip_prefix("hint: ") {
                Some(hint) => error.hint(hint),
                None => error.because(line.trim_start_matches("error: ")),
            };
        }
        Err(error)
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        if self.running {
            let state = self.folder.path().join("state");
            let mut down = std::process::Command::new(&self.program);
            down.arg("--state").arg(state).arg("down").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // If that fails, it ends with this process.
            let _ = down.status();
        }
    }
}

/// The program that is the local cloud.
pub fn local_cloud() -> Result<PathBuf> {
    program(std::env::var_os(VARIABLE).as_deref(), std::env::current_exe().ok().as_deref())
}

/// The program: the one that is named, the one beside this one, or one on the `PATH`.
fn program(named: Option<&OsStr>, own: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Error::usage(format!("program {} does not exist", named.display()))
                .because(format!("it is set by {VARIABLE}")))
        };
    }
    let beside = own.map(|own| own.with_file_name(PROGRAM));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain(on_path).find(|candidate| candidate.is_file()).ok_or_else(|| {
        Error::usage("the program local-cloud was not found")
            .because("it is neither next to bluegreen nor in the PATH")
            .hint(format!(
                "install it with make install in the bluegreen project, or set {VARIABLE}=/path/to/local-cloud"
            ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_named_one_or_the_one_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (own, beside) = (folder.path().join("bluegreen"), folder.path().join(PROGRAM));
        std::fs::write(&beside, "").unwrap();
        assert_eq!(program(None, Some(&own)).unwrap(), beside);
        let other = folder.path().join("other");
        std::fs::write(&other, "").unwrap();
        assert_eq!(program(Some(other.as_os_str()), Some(&own)).unwrap(), other);
        let missing = folder.path().join("missing");
        let error = program(Some(missing.as_os_str()), Some(&own)).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.causes()[0].contains(VARIABLE), "{error:?}");
    }
}
