//! The `bluegreen` command for a stack with a queue and a bucket, which the service may use. Every verb is there:
//! `cargo run -- synth`, `cargo run -- deploy`.

mod orders;

use std::process::ExitCode;

fn main() -> ExitCode {
    infra::cli::run(stack::Extension::new(orders::extend))
}
