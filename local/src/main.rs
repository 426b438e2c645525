//! The `local-cloud` program. All code is in the library, so that tests can use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    local::run()
}
