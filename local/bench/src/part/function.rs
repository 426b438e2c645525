//! The cutover function: the size of its zip, and the time from the start of its program, as in Lambda, to the request
//! for the first event.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use infra::error::{Doing as _, Error, Result};

use super::MIB;
use crate::bench::{Bench, Findings};
use crate::cloud::read;
use crate::figures::Figures;
use crate::process::Running;
use crate::row::{Row, Target};
use crate::unit::Unit;

const STARTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let zip = read(&bench.artefact("lambda/cutover/bootstrap.zip")?)?;
    #[expect(clippy::cast_precision_loss, reason = "a zip has some megabytes")]
    let size = Figures::once(zip.len() as f64);
    findings.row(Row::new("function, zip", Unit::Bytes, size).target(Target::AtMost(4.0 * MIB)));
    let program = bench.artefact("lambda/cutover/bootstrap")?;
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (took, used) = start(&program)?;
        starts.push(took.as_secs_f64());
        memory.push(used);
    }
    let start = Row::new("function, start to first `/next`", Unit::Seconds, Figures::of(starts));
    findings.row(start.target(Target::AtMost(0.015)));
    findings.row(Row::new("function, memory then", Unit::Bytes, Figures::of(memory)));
    Ok(())
}

/// Starts the program with a runtime API that never responds. Returns the time to its first request, and its memory.
fn start(program: &Path) -> Result<(Duration, f64)> {
    let what = || "be a runtime API".to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").doing(what)?;
    let address = listener.local_addr().doing(what)?;
    let mut command = Command::new(program);
    command.env_clear().env("AWS_LAMBDA_RUNTIME_API", address.to_string());
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("BLUEGREEN_BUCKET", "bench"),
        ("BLUEGREEN_CLUSTER", "bench"),
        ("BLUEGREEN_STACK_NAME", "bench"),
        ("BLUEGREEN_PROD_LISTENER", "prod"),
        ("BLUEGREEN_DEV_LISTENER", "dev"),
        ("BLUEGREEN_PROD_URL", "http://127.0.0.1:1"),
        ("BLUEGREEN_DEV_URL", "http://127.0.0.1:1"),
        ("BLUEGREEN_BLUE_TARGET_GROUP", "blue"),
        ("BLUEGREEN_GREEN_TARGET_GROUP", "green"),
    ] {
        command.env(name, value);
    }
    let began = Instant::now();
    let running = Running::start(&mut command)?;
    // Open until the end, because the program ends without its runtime API.
    let mut stream = BufReader::new(accept(&listener, began)?);
    let mut line = String::new();
    stream.read_line(&mut line).doing(what)?;
    let took = began.elapsed();
    if line.starts_with("GET ") && line.contains("/runtime/invocation/next") {
        return Ok((took, running.memory()?));
    }
    Err(Error::failed(format!("the first request of {} is not for an event", program.display())).because(line))
}

/// The first connection; an error if there is none, for example because the program ended.
fn accept(listener: &TcpListener, began: Instant) -> Result<std::net::TcpStream> {
    let what = || "be a runtime API".to_owned();
    listener.set_nonblocking(true).doing(what)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).doing(what)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                // The interval between checks.
                std::thread::sleep(Duration::from_micros(50));
            }
            Err(error) => return Err(error).doing(|| "wait for the first request of the function".to_owned()),
        }
    }
}
