//! The command line: what can be asked for, and which exit code an answer has.

use crate::commands::{self, FaultCommand};
use crate::error::{Error, Result};
use crate::gateway::Caller;
use crate::instance::{Forward, Layout};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// AWS on this machine, without Docker and without an account.
#[derive(Debug, Parser)]
#[command(name = "local-cloud", version)]
struct Cli {
    /// Where the local cloud keeps its state [default: .local-cloud in the project root]
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
    /// Let API calls fail on purpose, to rehearse what happens then
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
    /// Forward a local port to a listener of the load balancer; 0 takes a free one. Repeatable
    #[arg(long = "forward", value_name = "LOCAL:LISTENER", default_values = ["8080:80", "8081:81"])]
    pub(crate) forwards: Vec<Forward>,
    /// The region that the emulated AWS is in
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// The Python that has MiniStack [default: .venv/bin/python in the project root]
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
    let project = project_root();
    let layout = match cli.state {
        Some(dir) => Layout::new(&dir)?,
        None => Layout::new(&project.join(".local-cloud"))?,
    };
    match cli.command {
        Command::Up(args) => commands::up(&layout, &project, &args),
        Command::Down => commands::down(&layout),
        Command::Status { json } => commands::status(&layout, json),
        Command::Exec { command } => commands::exec(&layout, &command),
        Command::Demo { up, bluegreen, stack } => commands::demo(&layout, &project, &up, &bluegreen, &stack),
        Command::Env => commands::env(&layout),
        Command::Calls { json, after, caller } => commands::calls(&layout, json, after, caller),
        Command::Fault { command } => commands::fault(&layout, command),
        Command::Logs { what, follow } => commands::logs(&layout, &what, follow),
        Command::Serve(args) => commands::serve(layout, &project, args),
    }
}

/// The nearest directory upwards that has a `.venv` or is a Cargo workspace; else the current one.
fn project_root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let is_root = |dir: &&Path| {
        dir.join(".venv").is_dir()
            || std::fs::read_to_string(dir.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
    };
    here.ancestors().find(is_root).map_or_else(|| here.clone(), Path::to_path_buf)
}

impl UpArgs {
    /// The Python to use, made absolute but with its symbolic links: those make a venv one.
    pub(crate) fn python(&self, project: &Path) -> Result<PathBuf> {
        let python = self.python.clone().unwrap_or_else(|| project.join(".venv/bin/python"));
        std::path::absolute(&python).map_err(|error| Error::new(format!("cannot use {}: {error}", python.display())))
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
    fn ports_have_defaults_that_forwards_replace() {
        let cli = Cli::parse_from(["local-cloud", "up", "--forward", "0:80"]);
        let Command::Up(args) = cli.command else { panic!("not up") };
        assert_eq!((args.endpoint_port, args.forwards), (4566, vec![Forward { local: 0, listener: 80 }]));
    }
}
