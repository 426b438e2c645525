//! The command line: arguments, dispatch, and exit codes.

use crate::commands::{self, FaultCommand};
use crate::engine::{EngineKind, Helper, run_helper};
use crate::error::{Context, Error, Result};
use crate::gateway::Caller;
use crate::instance::{Forward, Layout};
use crate::shown::clean;
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run AWS on this machine, without Docker and without an account.
#[derive(Debug, Parser)]
#[command(name = "local-cloud", version)]
struct Cli {
    /// Directory for the state of the local cloud [default: .local-cloud in the project; if installed,
    /// ~/.local/state/bluegreen/local-cloud]
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_CLOUD_STATE")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the local cloud and wait until it is ready
    Up(UpArgs),
    /// Stop the local cloud and every process that it started
    Down,
    /// Show the endpoint, the forwarded ports, and the tasks
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command with an AWS configuration that points at the local cloud
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Run a demo: deploy two versions, cut over, and leave the stack running
    Demo {
        #[command(flatten)]
        up: UpArgs,
        /// Path of the `bluegreen` program
        #[arg(long, value_name = "PATH", default_value_os_t = PathBuf::from(commands::beside("bluegreen")))]
        bluegreen: PathBuf,
        /// Name of the stack
        #[arg(long, default_value = "bluegreen")]
        stack: String,
    },
    /// Print the environment of `exec` for `eval "$(local-cloud env)"`
    Env,
    /// List recent API calls: caller, action, resources, and response status
    Calls {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// List only calls after the call with this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// List only calls of this kind of caller
        #[arg(long)]
        caller: Option<Caller>,
    },
    /// Inject faults: failing API calls, failing tasks, or a lagging load balancer
    Fault {
        #[command(subcommand)]
        command: FaultCommand,
    },
    /// Print the log of a task (id or service), of `ministack`, or of the `daemon`
    Logs {
        /// Task id, service name, `ministack`, or `daemon`
        #[arg(default_value = "daemon")]
        what: String,
        /// Print new output as it arrives
        #[arg(short, long)]
        follow: bool,
    },
    /// Run the daemon; `up` starts it
    #[command(hide = true)]
    Serve(UpArgs),
    /// Run a helper process of a task; the daemon starts it
    #[command(hide = true)]
    Helper {
        kind: Helper,
        /// What the helper does; if absent, its standard input tells
        request: Option<String>,
    },
}

/// The options of `up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Port of the AWS endpoint on 127.0.0.1; 0 selects a free port [default: 4566, or a free port if it is in use]
    #[arg(long, value_name = "PORT")]
    pub(crate) endpoint_port: Option<u16>,
    /// Forward a local port to a listener of the load balancer; 0 selects a free port. Repeatable. Each of the two
    /// nodes of the load balancer has its own address and opens the port there; the first node has 127.0.0.1 [default:
    /// 8080:80 and 8081:81, or free ports for those that are in use]
    #[arg(long = "forward", value_name = "LOCAL:LISTENER")]
    pub(crate) forwards: Vec<Forward>,
    /// Port of a service on 127.0.0.1 that tasks can reach, as `host.local-cloud.internal:PORT`. Repeatable
    #[arg(long = "host-port", value_name = "PORT")]
    pub(crate) host_ports: Vec<u16>,
    /// Let tasks reach no other network than the AWS endpoint and the ports of `--host-port`
    #[arg(long)]
    pub(crate) no_internet: bool,
    /// What runs the containers of tasks: the local cloud itself, or Docker or Podman on this machine with root rights, at
    /// the socket in `DOCKER_HOST` or at a usual one
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: EngineKind,
    /// Region of the emulated AWS
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// Python interpreter that has MiniStack [default: .venv/bin/python in the project; if installed, the interpreter
    /// of the installation]
    #[arg(long, value_name = "PATH", env = "LOCAL_CLOUD_PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// Stop when this process ends, for any reason
    #[arg(long, value_name = "PID")]
    pub(crate) owner_pid: Option<u32>,
}

/// Parses the command line and runs the command. Exit code 2 for a wrong command line, 1 for a failure.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // Without a reader of standard error, the exit code says it.
            let _ = writeln!(std::io::stderr(), "error: {}", clean(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    if let Command::Helper { kind, request } = cli.command {
        return run_helper(kind, request.as_deref());
    }
    let home = Home::find()?;
    let layout = Layout::new(cli.state.as_ref().unwrap_or(&home.state))?;
    match cli.command {
        Command::Up(args) => commands::up(&layout, &home, &args),
        Command::Down => commands::down(&layout),
        Command::Status { json } => commands::status(&layout, json),
        Command::Exec { command } => commands::exec(&layout, &command),
        Command::Demo { up, bluegreen, stack } => commands::demo(&layout, &home, &up, &bluegreen, &stack),
        Command::Env => commands::env(&layout),
        Command::Calls { json, after, caller } => commands::calls(&layout, json, after, caller),
        Command::Fault { command } => commands::fault(&layout, command),
        Command::Logs { what, follow } => commands::logs(&layout, &what, follow),
        Command::Serve(args) => commands::serve(layout, &home, args),
        Command::Helper { kind, request } => run_helper(kind, request.as_deref()),
    }
}

/// The default paths of this program: those of its project, or those of its installation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The state directory.
    state: PathBuf,
    /// The Python interpreter that has MiniStack.
    python: PathBuf,
    /// The folder of the project, unless the program is installed.
    project: Option<PathBuf>,
}

impl Home {
    fn find() -> Result<Self> {
        let program = std::env::current_exe().context(|| "cannot find the file of this program".into())?;
        let here = std::env::current_dir().unwrap_or_default();
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
        Ok(Self::of(&program, &here, &state.unwrap_or_else(std::env::temp_dir)))
    }

    /// An installed program has its Python in `../share` and one local cloud per user. A program that was built in the
    /// project has both in the project, from any working directory.
    fn of(program: &Path, here: &Path, state: &Path) -> Self {
        let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        let installed = prefix.join("share/bluegreen/venv/bin/python");
        let is_project = |dir: &&Path| dir.join("local/requirements.txt").is_file();
        // Cargo puts a program into a folder of its target folder. Any other program was installed, and must not run the
        // Python of the folder that it happens to be used in.
        let built = program.ancestors().nth(2).is_some_and(|target| target.join("CACHEDIR.TAG").is_file());
        let folders = program.ancestors().chain(here.ancestors().filter(|_| built));
        match folders.into_iter().find(is_project).filter(|_| !installed.exists()) {
            Some(project) => Self {
                state: project.join(".local-cloud"),
                python: project.join(".venv/bin/python"),
                project: Some(project.to_owned()),
            },
            None => Self { state: state.join("bluegreen/local-cloud"), python: installed, project: None },
        }
    }

    /// The folder of the project that this program was built in; none if it is installed.
    pub(crate) fn project(&self) -> Option<&Path> {
        self.project.as_deref()
    }
}

impl UpArgs {
    /// The Python to use, as an absolute path. Symbolic links stay unresolved, because Python finds its venv by them.
    pub(crate) fn python(&self, home: &Home) -> Result<PathBuf> {
        let python = self.python.as_ref().unwrap_or(&home.python);
        std::path::absolute(python).map_err(|error| Error::new(format!("cannot use {}: {error}", python.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_to_execute_keeps_its_own_options() {
        let cli = Cli::parse_from(["local-cloud", "exec", "--", "aws", "--version", "--state"]);
        assert!(matches!(cli.command, Command::Exec { command } if command == ["aws", "--version", "--state"]));
        assert_eq!(cli.state, None);
    }

    #[test]
    fn a_program_belongs_to_its_project_or_to_where_it_was_installed() {
        let folder = tempfile::tempdir().unwrap();
        let (project, prefix, elsewhere) =
            (folder.path().join("p"), folder.path().join("usr"), folder.path().join("e"));
        let touch = |path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        touch(&project.join("local/requirements.txt"));
        touch(&elsewhere.join("target/CACHEDIR.TAG"));
        touch(&prefix.join("share/bluegreen/venv/bin/python"));
        let of_project = Home {
            state: project.join(".local-cloud"),
            python: project.join(".venv/bin/python"),
            project: Some(project.clone()),
        };
        let installed = Home {
            state: Path::new("/s/bluegreen/local-cloud").to_owned(),
            python: prefix.join("share/bluegreen/venv/bin/python"),
            project: None,
        };
        let home = |program: &Path, here: &Path| Home::of(program, here, Path::new("/s"));
        let built = project.join("target/debug/local-cloud");
        assert_eq!(home(&built, &elsewhere), of_project, "wherever it is run");
        assert_eq!(
            home(&elsewhere.join("target/debug/local-cloud"), &project),
            of_project,
            "with a target folder elsewhere"
        );
        let without_python = Home {
            state: Path::new("/s/bluegreen/local-cloud").to_owned(),
            python: elsewhere.join("share/bluegreen/venv/bin/python"),
            project: None,
        };
        assert_eq!(home(&elsewhere.join("bin/local-cloud"), &project), without_python, "not of a hostile checkout");
        assert_eq!(home(&prefix.join("bin/local-cloud"), &project), installed, "wherever it is run");
    }

    #[test]
    fn ports_that_are_not_given_are_left_to_the_daemon() {
        let cli = Cli::parse_from(["local-cloud", "up", "--forward", "0:80"]);
        let Command::Up(args) = cli.command else { panic!("not up") };
        assert_eq!((args.endpoint_port, args.forwards), (None, vec![Forward { local: 0, listener: 80 }]));
        let cli = Cli::parse_from(["local-cloud", "up", "--endpoint-port", "4566"]);
        let Command::Up(args) = cli.command else { panic!("not up") };
        assert_eq!((args.endpoint_port, args.forwards), (Some(4566), Vec::new()));
    }
}
