//! Version 2 of the sample app as a program. Must not know more than which version it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    greeter::run(&greeter::V2)
}
