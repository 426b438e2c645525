//! Processes: measures their time and memory, and runs helpers during a measurement.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use infra::error::{Doing as _, Error, Result};
use serde::Deserialize;

/// The number of lines of a failed command to show.
const LINES_SHOWN: usize = 15;

/// The time and memory of a process.
#[derive(Clone, Debug)]
pub struct Took {
    /// From its start to its end, in seconds.
    pub seconds: f64,
    /// The peak memory of the process or of one of its children, in bytes.
    pub memory: f64,
    /// Its standard error.
    pub errors: String,
}

#[derive(Deserialize)]
struct Said {
    code: Option<i32>,
    seconds: f64,
    max_rss: f64,
}

/// Measures processes with a small program that starts them.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    program: PathBuf,
}

impl Stopwatch {
    /// Uses the program beside this program.
    pub fn beside(folder: &Path) -> Self {
        Self { program: folder.join("bench-measure") }
    }

    /// Runs a command to its end. Fails if its exit code is not 0.
    pub fn run(&self, command: &Command) -> Result<Took> {
        self.run_into(command, None)
    }

    /// The same, with its standard output in a file.
    pub fn run_into(&self, command: &Command, output: Option<&Path>) -> Result<Took> {
        let shown = show(command);
        let mut measured = Command::new(&self.program);
        measured.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => measured.env(name, value),
                None => measured.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            measured.current_dir(folder);
        }
        if let Some(output) = output {
            measured.env("BENCH_MEASURE_OUTPUT", output);
        }
        let ran = measured.stdin(Stdio::null()).output().doing(|| format!("start {}", self.program.display()))?;
        let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
        let said: Said = serde_json::from_slice(&ran.stdout).map_err(|_| failed(&shown, "did not start", &errors))?;
        match said.code {
            Some(0) => Ok(Took { seconds: said.seconds, memory: said.max_rss, errors }),
            Some(code) => Err(failed(&shown, &format!("ended with {code}"), &errors)),
            None => Err(failed(&shown, "was killed", &errors)),
        }
    }
}

/// Runs a command without measuring it and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let ran = command.stdin(Stdio::null()).output().doing(|| format!("start {shown}"))?;
    if !ran.status.success() {
        let said = [ran.stdout, ran.stderr].concat();
        return Err(failed(&shown, &format!("ended with {}", ran.status), &String::from_utf8_lossy(&said)));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn failed(command: &str, how: &str, said: &str) -> Error {
    let lines: Vec<&str> = said.trim().lines().collect();
    let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
    Error::failed(format!("{command} {how}")).because(shown)
}

/// The program name and the first arguments.
fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args().take(3));
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A process that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts the process.
    pub fn start(command: &mut Command) -> Result<Self> {
        let shown = show(command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: child.spawn().doing(|| format!("start {shown}"))? })
    }

    /// Takes over a running process.
    pub const fn of(child: Child) -> Self {
        Self { child }
    }

    /// Its peak memory so far, in bytes.
    pub fn memory(&self) -> Result<f64> {
        memory(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process can have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peak memory of a process so far, in bytes.
pub fn memory(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&file).doing(|| format!("read {file}"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let kib: f64 = kib.ok_or_else(|| Error::failed(format!("{file} has no field VmHWM")))?;
    Ok(kib * 1024.0)
}

/// A free port of the loopback.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").doing(|| "find a free port".to_owned())?;
    Ok(listener.local_addr().doing(|| "find a free port".to_owned())?.port())
}

/// Waits until a server answers 200, and returns the time. Sends a request every 50 µs, each on a new connection.
pub fn first_answer(address: SocketAddr, began: Instant) -> Result<Duration> {
    use std::io::{Read as _, Write as _};
    const PATIENCE: Duration = Duration::from_secs(10);
    let ask = || {
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        head.ends_with(b" 200").then(|| began.elapsed())
    };
    loop {
        if let Some(took) = ask() {
            return Ok(took);
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::failed(format!("no answer from {address} within {} s", PATIENCE.as_secs())));
        }
        // The interval between requests.
        std::thread::sleep(Duration::from_micros(50));
    }
}
