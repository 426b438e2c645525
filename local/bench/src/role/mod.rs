//! What runs beside a measurement in a process of its own, so that it does not share its threads and its memory: servers
//! and clients. Each is this program started again; it says on its standard output what it found, and ends with its
//! standard input, however its parent ends.

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

/// What a process of this program can be.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Answer at once, but for one stall
    Serve {
        /// When after the first request the stall begins, in milliseconds
        #[arg(long, default_value_t = 0)]
        stall_after: u64,
        /// How long it lasts, in milliseconds
        #[arg(long, default_value_t = 0)]
        stall: u64,
    },
    /// Probe with the prober of the cutover function
    Probe(Schedule),
    /// Ask as a client does that sends its next request only after an answer
    Closed(Schedule),
    /// Count probes
    Tally {
        /// How many
        count: u32,
    },
    /// Load prod until the standard input ends
    Load {
        /// Host and port
        address: String,
        /// Requests a second
        rate: u32,
    },
}

/// Requests on a schedule.
#[derive(Clone, Debug, clap::Args)]
pub struct Schedule {
    /// Host and port
    pub address: String,
    /// Requests a second
    pub rate: u32,
    /// How many
    pub count: u32,
}

impl Schedule {
    /// Time between two requests.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.max(1)
    }
}

/// Plays a role to its end.
pub fn play(role: Role) -> Result<()> {
    // One thread, as the cutover function has.
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

/// Completes once the standard input is closed.
async fn input_ends() {
    // An error is an end, too.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
}

fn tell(found: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(found).doing(|| "write what was found".to_owned())?;
    say(&text)
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).doing(|| "say something".to_owned())
}

/// The memory of this process, the most until now.
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
        let output = child.stdout.take().ok_or_else(|| Error::failed("a process was started without its output"))?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Waits for its next line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).doing(|| "read what a process says".to_owned())?;
        if read == 0 {
            return Err(Error::failed("a process of the benchmark ended before it said what it was to say"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Lets it come to its end, and returns what it found.
    pub fn found<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        serde_json::from_str(&line).doing(|| "understand what a process found".to_owned())
    }

    /// Waits for what it finds by itself.
    pub fn result<T: DeserializeOwned>(mut self) -> Result<T> {
        let line = self.line()?;
        serde_json::from_str(&line).doing(|| "understand what a process found".to_owned())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
