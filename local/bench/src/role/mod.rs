//! Helpers of a measurement in separate processes, so that they do not share threads and memory with it: servers and
//! clients. Each is another process of this program. It prints its results to standard output and ends when its
//! standard input is closed, for any reason.

mod closed;
mod load;
mod probe;
pub(crate) mod registry;
mod serve;
mod tally;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Subcommand;
use infra::error::{Doing as _, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bench::Bench;
use crate::process::memory;

pub use load::Load;
pub use probe::Kept;
pub use tally::Tallied;

/// The roles of a process of this program.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serve: respond at once, except for one stall
    Serve {
        /// Start of the stall after the first request, in milliseconds
        #[arg(long, default_value_t = 0)]
        stall_after: u64,
        /// Duration of the stall, in milliseconds
        #[arg(long, default_value_t = 0)]
        stall: u64,
    },
    /// Probe with the prober of the cutover function
    Probe(Schedule),
    /// Send requests as a client that waits for each response
    Closed(Schedule),
    /// Count probes
    Tally {
        /// Number of probes
        count: u32,
    },
    /// Load prod until the standard input is closed
    Load {
        /// Host and port
        address: String,
        /// Requests per second
        rate: u32,
    },
}

/// Requests on a schedule.
#[derive(Clone, Debug, clap::Args)]
pub struct Schedule {
    /// Host and port
    pub address: String,
    /// Requests per second
    pub rate: u32,
    /// Number of requests
    pub count: u32,
}

impl Schedule {
    /// Time between two requests.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.max(1)
    }
}

/// Runs a role to its end.
pub fn play(role: Role) -> Result<()> {
    // One thread, as in the cutover function.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.doing(|| "start a runtime".to_owned())?;
    match role {
        Role::Serve { stall_after, stall } => {
            let server = serve::serve(Duration::from_millis(stall_after), Duration::from_millis(stall));
            runtime.block_on(async {
                tokio::select! {
                    result = server => result,
                    () = input_ends() => Ok(()),
                }
            })
        }
        Role::Probe(schedule) => tell(&runtime.block_on(probe::probe(&schedule))?),
        Role::Closed(schedule) => tell(&closed::ask(&schedule)?),
        Role::Tally { count } => tell(&tally::tally(count)?),
        Role::Load { address, rate } => tell(&runtime.block_on(load::load(&address, rate, input_ends()))?),
    }
}

/// Completes when the standard input is closed.
async fn input_ends() {
    // An error also counts as the end.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
}

fn tell(found: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(found).doing(|| "write the results".to_owned())?;
    say(&text)
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).doing(|| "write to standard output".to_owned())
}

/// The peak memory of this process so far.
fn own_memory() -> Result<f64> {
    memory(std::process::id())
}

/// A process of this program in a role, killed when dropped.
#[derive(Debug)]
pub struct Player {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Player {
    /// Starts it.
    pub fn start(bench: &Bench, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(&bench.program);
        command.arg("role").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().doing(|| format!("start {}", arguments.join(" ")))?;
        let output =
            child.stdout.take().ok_or_else(|| Error::failed("a process was started without a pipe for its output"))?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Waits for its next line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).doing(|| "read the output of a process".to_owned())?;
        if read == 0 {
            return Err(Error::failed("a process of the benchmark ended without its result"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Stops the process and returns its results.
    pub fn found<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        serde_json::from_str(&line).doing(|| "understand what a process found".to_owned())
    }

    /// Waits for the process to end by itself and returns its results.
    pub fn result<T: DeserializeOwned>(mut self) -> Result<T> {
        let line = self.line()?;
        serde_json::from_str(&line).doing(|| "understand what a process found".to_owned())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // The process can have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
