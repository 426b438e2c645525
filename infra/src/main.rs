//! The `bluegreen` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    infra::cli::run(stack::Extension::default())
}
