//! Reads what people tell this run, beside whatever it does. Must not know what it does about it.

use ledger::{Ledger, ObjectStore};
use model::steering::Given;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a run was last told. Dropped, nobody looks any more.
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
    /// Begins to look for what the run is told.
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
                    Err(error) => tracing::warn!(%error, "what the run is told cannot be read"),
                }
            }
        });
        Self { given, looking }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Given>> {
        self.given.clone()
    }
}
