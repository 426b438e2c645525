//! Reads the commands that people give this run, in the background. Must not know what a command does.

use ledger::{Ledger, ObjectStore};
use model::steering::Given;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Time between two reads.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The last command that a run was given. If this is dropped, the reads end.
#[derive(Debug)]
pub(super) struct Steering {
    given: watch::Receiver<Option<Given>>,
    looking: JoinHandle<()>,
}

impl Drop for Steering {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Steering {
    /// Begins to read the commands for a run.
    pub(super) fn begin<S: ObjectStore>(ledger: Ledger<S>, run: String) -> Self {
        let (tell, given) = watch::channel(None);
        let looking = tokio::spawn(async move {
            while !tell.is_closed() {
                sleep(LOOK_EVERY).await;
                match ledger.steered(&run).await {
                    Ok(found) => {
                        tell.send_if_modified(|known| {
                            *known != found && {
                                *known = found;
                                true
                            }
                        });
                    }
                    Err(error) => tracing::warn!(%error, "the command for the run cannot be read"),
                }
            }
        });
        Self { given, looking }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Given>> {
        self.given.clone()
    }
}
