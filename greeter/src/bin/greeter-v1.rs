//! The program of version 1 of the sample app. Must contain nothing but the choice of the version.

use std::process::ExitCode;

fn main() -> ExitCode {
    greeter::run(&greeter::V1)
}
