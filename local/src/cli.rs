//! The command line: what can be asked for, and which exit code an answer has.

use crate::commands::{self, FaultCommand};
use crate::error::{Context, Error, Result};
use crate::gateway::Caller;
use crate::instance::{Forward, Layout};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// AWS on this machine, without Docker and without an account.
#[derive(Debug, Parser)]
#[command(name = "local-cloud", version)]
struct Cli {
    /// Where the local cloud keeps its state [default: .local-cloud in its project; where it is installed,
    /// ~/.local/state/bluegreen/local-cloud]
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_CLOUD_STATE")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start it, and wait until everything answers
    Up(UpArgs),
    /// End it, with everything that it started
    Down,
    /// What runs where: endpoint, forwarded ports, tasks
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command against it: the standard AWS configuration points here
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Tell the whole story: deploy two versions, cut over, and leave it running
    Demo {
        #[command(flatten)]
        up: UpArgs,
        /// The program that the story is told with
        #[arg(long, value_name = "PATH", default_value_os_t = PathBuf::from(commands::beside("bluegreen")))]
        bluegreen: PathBuf,
        /// The stack that it is told about
        #[arg(long, default_value = "bluegreen")]
        stack: String,
    },
    /// Print the same environment for `eval "$(local-cloud env)"`
    Env,
    /// The API calls of late: who asked for what, and what was answered
    Calls {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Only those after the one with this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// Only those of functions, or of clients
        #[arg(long)]
        caller: Option<Caller>,
    },
    /// Let API calls or tasks fail, or the load balancer lag, on purpose, to rehearse what happens then
    Fault {
        #[command(subcommand)]
        command: FaultCommand,
    },
    /// Print output: of a task (id or service), of `ministack`, or of the `daemon`
    Logs {
        /// What to print
        #[arg(default_value = "daemon")]
        what: String,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// The daemon itself; `up` starts it
    #[command(hide = true)]
    Serve(UpArgs),
}

/// How to start it.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// The port of the AWS endpoint on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 4566)]
    pub(crate) endpoint_port: u16,
    /// Forward a local port to a listener of the load balancer; 0 takes a free one. Repeatable. Each of the load
    /// balancer's two nodes has the port at an address of its own, the first one at 127.0.0.1
    #[arg(long = "forward", value_name = "LOCAL:LISTENER", default_values = ["8080:80", "8081:81"])]
    pub(crate) forwards: Vec<Forward>,
    /// The region that the emulated AWS is in
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// The Python that has MiniStack [default: .venv/bin/python in its project; where it is installed, the one that was
    /// installed with it]
    #[arg(long, value_name = "PATH", env = "LOCAL_CLOUD_PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// End with this process, however that ends
    #[arg(long, value_name = "PID")]
    pub(crate) owner_pid: Option<u32>,
}

/// Parses the command line and does what it says. Exit code 2 for a wrong command line, 1 for a failure.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
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
    }
}

/// Where this program belongs: to its project, or to wherever it was installed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The state of its local cloud.
    state: PathBuf,
    /// The Python that has MiniStack.
    python: PathBuf,
}

impl Home {
    fn find() -> Result<Self> {
        let program = std::env::current_exe().context(|| "cannot find this program's own file".into())?;
        let here = std::env::current_dir().unwrap_or_default();
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
        Ok(Self::of(&program, &here, &state.unwrap_or_else(std::env::temp_dir)))
    }

    /// A program that was installed has its Python in `../share`, and one local cloud for whoever started it; one that
    /// was built in its project has both there, whatever folder it is run in.
    fn of(program: &Path, here: &Path, state: &Path) -> Self {
        let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        let installed = prefix.join("share/bluegreen/venv/bin/python");
        let is_project = |dir: &&Path| dir.join("local/requirements.txt").is_file();
        let folders = program.ancestors().chain(here.ancestors());
        match folders.into_iter().find(is_project).filter(|_| !installed.exists()) {
            Some(project) => Self { state: project.join(".local-cloud"), python: project.join(".venv/bin/python") },
            None => Self { state: state.join("bluegreen/local-cloud"), python: installed },
        }
    }
}

impl UpArgs {
    /// The Python to use, made absolute but with its symbolic links: those make a venv one.
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
        touch(&prefix.join("share/bluegreen/venv/bin/python"));
        let of_project = Home { state: project.join(".local-cloud"), python: project.join(".venv/bin/python") };
        let installed = Home {
            state: Path::new("/s/bluegreen/local-cloud").to_owned(),
            python: prefix.join("share/bluegreen/venv/bin/python"),
        };
        let home = |program: &Path, here: &Path| Home::of(program, here, Path::new("/s"));
        let built = project.join("target/debug/local-cloud");
        assert_eq!(home(&built, &elsewhere), of_project, "wherever it is run");
        assert_eq!(home(&elsewhere.join("target/local-cloud"), &project), of_project, "with a target folder elsewhere");
        assert_eq!(home(&prefix.join("bin/local-cloud"), &project), installed, "wherever it is run");
    }

    #[test]
    fn ports_have_defaults_that_forwards_replace() {
        let cli = Cli::parse_from(["local-cloud", "up", "--forward", "0:80"]);
        let Command::Up(args) = cli.command else { panic!("not up") };
        assert_eq!((args.endpoint_port, args.forwards), (4566, vec![Forward { local: 0, listener: 80 }]));
    }
}
