//! Runs one command and prints, as JSON, its exit code, its time, and the peak memory of its largest process. It is a
//! separate program, because the memory of a parent counts for its child until the child executes its program.

use std::fs::File;
use std::io::{Error, Result};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::json;
use wait4::Wait4 as _;

/// The file for the standard output of the command, if any.
const OUTPUT: &str = "BENCH_MEASURE_OUTPUT";

fn main() -> ExitCode {
    match measure() {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<serde_json::Value> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or_else(|| Error::other("usage: bench-measure COMMAND ARGUMENTS"))?;
    let output = match std::env::var_os(OUTPUT) {
        Some(path) => Stdio::from(File::create(path)?),
        None => Stdio::null(),
    };
    let mut command = Command::new(&program);
    command.args(words).env_remove(OUTPUT).stdin(Stdio::null()).stdout(output);
    let began = Instant::now();
    let child = command.spawn().map_err(|error| Error::other(format!("{}: {error}", program.display())))?;
    let ended = child.wait4()?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "code": ended.status.code(), "seconds": seconds, "max_rss": ended.rusage.maxrss }))
}
