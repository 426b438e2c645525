//! The last command for a run in progress (abort, pause, promote). Must not know who reads it.

use super::Ledger;
use super::store::{ObjectStore, StoreError, When};
use model::keys;
use model::steering::{Command, Given};

/// Attempts of one write, if other writers are faster.
const TRIES: usize = 5;

impl<S: ObjectStore> Ledger<S> {
    /// Gives a command to a run. After an abort, later commands are ignored.
    pub async fn steer(&self, run: &str, given: &Given) -> Result<(), StoreError> {
        let key = keys::steering(run);
        let unreadable = |doing, cause: serde_json::Error| StoreError::Unavailable {
            doing,
            key: key.clone(),
            cause: cause.to_string(),
        };
        let body = serde_json::to_vec(given).map_err(|error| unreadable("write", error))?;
        let mut failed = StoreError::Conflict { key: key.clone() };
        for _ in 0..TRIES {
            let before = self.store.get(&key).await?.object;
            let aborted = before.as_ref().and_then(|object| serde_json::from_slice::<Given>(&object.body).ok());
            if aborted.is_some_and(|given| given.command == Command::Abort) {
                return Ok(());
            }
            let when = before.as_ref().map_or(When::Absent, |object| When::Unchanged(&object.etag));
            match self.store.put(&key, body.clone(), when).await {
                Ok(_) => return Ok(()),
                Err(error @ StoreError::Conflict { .. }) => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    /// The last command for a run; `None` if there is none, or if it cannot be parsed.
    pub async fn steered(&self, run: &str) -> Result<Option<Given>, StoreError> {
        let object = self.store.get(&keys::steering(run)).await?.object;
        Ok(object.and_then(|object| serde_json::from_slice(&object.body).ok()))
    }
}
