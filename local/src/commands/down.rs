//! `down`: stops the processes that the daemon of this state directory started, and no others.

use super::{block_on, print};
use crate::engine::{Isolation, remove_leftovers};
use crate::error::{Error, Result};
use crate::instance::{Child, Layout, ProcessLedger, Record};
use crate::private_file;
use rustix::process::Signal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time limit for the daemon to stop its tasks, MiniStack, and itself.
const DAEMON_PATIENCE: Duration = Duration::from_secs(20);
/// Time limit for a leftover process before it is killed.
const CHILD_PATIENCE: Duration = Duration::from_secs(3);

/// Stops the local cloud. If it does not run, that is a success.
pub(crate) fn down(layout: &Layout) -> Result<ExitCode> {
    let record = Record::read(layout)?;
    let running = record.as_ref().filter(|record| record.daemon_alive());
    if let Some(record) = running {
        record.daemon.signal_group(Signal::TERM);
        if !ends(|| !record.daemon.alive(), DAEMON_PATIENCE) {
            record.daemon.signal_group(Signal::KILL);
            ends(|| !record.daemon.alive(), CHILD_PATIENCE);
        }
    }
    let leftovers = end_leftovers(layout)?;
    wait_for_lock(layout)?;
    let text = match (running, leftovers) {
        (Some(_), _) => "The local cloud is stopped.\n".to_owned(),
        (None, 0) => "The local cloud is not running.\n".to_owned(),
        (None, count) => {
            format!("The daemon was not running; stopped {count} leftover processes.\n")
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until the lock of the daemon is free: a process that has ended as its leader can still hold it in a thread, and
/// then the next `up` would fail.
fn wait_for_lock(layout: &Layout) -> Result<()> {
    if !layout.lock().exists() {
        return Ok(());
    }
    let file = private_file::open(&layout.lock())?;
    if ends(|| file.try_lock().is_ok(), DAEMON_PATIENCE) {
        return Ok(());
    }
    Err(Error::new(format!("a process still uses the state directory {}", layout.dir().display()))
        .hint("run local-cloud down again"))
}

/// Stops the processes of a daemon that no longer runs, and removes its record. Returns how many there were.
pub(super) fn end_leftovers(layout: &Layout) -> Result<usize> {
    let children = ProcessLedger::left_behind(layout)?;
    for child in &children {
        child.process.signal_group(Signal::TERM);
    }
    let gone = |children: &[Child]| children.iter().all(|child| !child.process.alive());
    if !ends(|| gone(&children), CHILD_PATIENCE) {
        for child in &children {
            child.process.signal_group(Signal::KILL);
        }
        if !ends(|| gone(&children), CHILD_PATIENCE) {
            let left: Vec<String> = children
                .iter()
                .filter(|child| child.process.alive())
                .map(|child| format!("{} (pid {})", child.what, child.process.pid))
                .collect();
            return Err(Error::new(format!("cannot stop {}", left.join(", ")))
                .hint("stop them by hand, as the user who started them"));
        }
    }
    if Record::read(layout)?.is_some_and(|record| record.isolation == Some(Isolation::Docker)) {
        block_on(remove_leftovers(layout))?;
    }
    layout.remove_sockets();
    for file in [layout.record(), layout.processes(), layout.credentials()] {
        // A failure does no harm: a file that remains is overwritten by the next start.
        let _ = std::fs::remove_file(file);
    }
    Ok(children.len())
}

fn ends(condition: impl Fn() -> bool, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
