//! The program of version 2 of the sample app. Must contain nothing but the choice of the version.

use std::process::ExitCode;

fn main() -> ExitCode {
    greeter::run(&greeter::V2)
}
