//! Runs one command and says, as JSON, how it ended, how long it took and how much memory it needed: the largest of its
//! processes. A program of its own, because a child is charged with the memory of its parent until it has begun.

use std::fs::File;
use std::io::{Error, Result};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde_json::json;
use wait4::Wait4 as _;

/// Where the command's standard output goes, where it is wanted.
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
