//! Ctrl-C and SIGTERM. None is lost between two waits for one.

use crate::error::{Doing as _, Result};
use tokio::signal::unix::{self, SignalKind};

/// The exit code of a program that a signal ended.
pub const INTERRUPTED: u8 = 130;

/// A signal that asks the command to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The signals that reach this command from now on.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Catches signals from now on.
    pub fn listen() -> Result<Self> {
        let listen = |kind| unix::signal(kind).doing(|| "listen for signals".to_owned());
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
