//! One file per verb.

mod calls;
mod demo;
mod down;
mod exec;
mod fault;
mod logs;
mod status;
mod up;

pub(crate) use calls::calls;
pub(crate) use demo::{beside, demo};
pub(crate) use down::down;
pub(crate) use exec::{env, exec};
pub(crate) use fault::{FaultCommand, fault};
pub(crate) use logs::logs;
pub(crate) use status::status;
pub(crate) use up::{serve, up};

use crate::error::{Context, Error, Result};
use crate::instance::{Forward, Record};
use crate::shown::clean;
use std::future::Future;

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context(|| "cannot start the asynchronous runtime".into())?;
    let outcome = runtime.block_on(future);
    // Whatever still blocks at this point has no output to lose.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}

/// The role of a forwarded port.
fn listener_name(forward: Forward) -> String {
    match forward.listener {
        80 | 443 => format!("prod, listener port {}", forward.listener),
        81 | 8443 => format!("dev, listener port {}", forward.listener),
        port => format!("listener port {port}"),
    }
}

/// The lines that show the endpoint and the forwards.
fn overview(record: &Record) -> Vec<String> {
    let mut lines = vec![format!("  AWS endpoint  {}  (region {})", record.endpoint(), record.region)];
    for forward in &record.forwards {
        // The usual ports of HTTPS. Which listeners there are, `status` tells.
        let scheme = if matches!(forward.listener, 443 | 8443) { "https" } else { "http" };
        lines.push(format!("  forward       {scheme}://127.0.0.1:{}  ({})", forward.local, listener_name(*forward)));
    }
    lines.extend(task_lines(record));
    lines
}

/// The lines about what contains the tasks, and what they reach.
fn task_lines(record: &Record) -> Vec<String> {
    let isolation = record.isolation.map(|isolation| format!("  tasks         isolated by {isolation}"));
    let internet = record.internet.as_ref().map(|internet| format!("                {internet}"));
    isolation.into_iter().chain(internet).collect()
}

/// Prints to standard output, without what drives a terminal. If the reader has closed the pipe, the command ends without an error message.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(clean(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
