//! The command line: serve, or check the health of a running server. Turns outcomes into text and exit codes.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::{Version, healthcheck, server, settings};

/// The arguments or the environment are invalid.
const USAGE_ERROR: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Serve,
    Healthcheck,
    Version,
    Help,
}

/// Runs the program of one version with the arguments and the environment of this process. Exit codes: 0 done or
/// healthy, 1 failed or unhealthy, 2 wrong usage.
pub fn run(version: &'static Version) -> ExitCode {
    match parse(env::args_os().skip(1)) {
        Ok(Command::Help) => print(&help(version)),
        Ok(Command::Version) => print(&format!("greeter {}\n", version.number)),
        Ok(command @ (Command::Serve | Command::Healthcheck)) => with_address(version, &command),
        Err(argument) => {
            fail(version, USAGE_ERROR, &format!("unknown argument {}\n\n{}", argument.display(), help(version)))
        }
    }
}

fn with_address(version: &'static Version, command: &Command) -> ExitCode {
    let address = match settings::listen_address(|name| env::var_os(name)) {
        Ok(address) => address,
        Err(error) => return fail(version, USAGE_ERROR, &error.to_string()),
    };
    let outcome = if *command == Command::Healthcheck {
        healthcheck::check(settings::local_address(address))
    } else {
        server::serve(version, address).map_err(|error| error.to_string())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(version, 1, &error),
    }
}

/// At most one argument is valid; the first invalid argument is the error.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, OsString> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else {
        return Ok(Command::Serve);
    };
    let command = match first.to_str() {
        Some("healthcheck") => Command::Healthcheck,
        Some("--version" | "-V") => Command::Version,
        Some("--help" | "-h") => Command::Help,
        _ => return Err(first),
    };
    arguments.next().map_or(Ok(command), Err)
}

fn help(version: &Version) -> String {
    let number = version.number;
    format!(
        "Version {number} of the greeter: GET / for people, /api for programs, /healthz for load balancers.\n\
         \n\
         usage: greeter-v{number}               serve until SIGTERM or SIGINT\n\
         \x20      greeter-v{number} healthcheck   exit 0 where the server answers on this machine, else 1\n\
         \x20      greeter-v{number} --version | --help\n\
         \n\
         environment: HOST (an IP address, default 0.0.0.0), PORT (default 8080; 0: any free one)\n"
    )
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(version: &Version, code: u8, error: &str) -> ExitCode {
    // If standard error is closed, the exit code still reports the failure.
    let _ = writeln!(io::stderr(), "greeter-v{}: {}", version.number, error.trim_end());
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, OsString> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn without_arguments_it_serves() {
        assert_eq!(parsed(&[]), Ok(Command::Serve));
    }

    #[test]
    fn the_first_argument_without_a_meaning_is_the_error() {
        assert_eq!(parsed(&["serve"]), Err("serve".into()));
        assert_eq!(parsed(&["healthcheck", "now"]), Err("now".into()));
    }
}
