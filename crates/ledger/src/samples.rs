//! Reads and writes the probes of runs: one object beside each record. Nothing depends on it: a run continues if it
//! cannot be written. Must not know what a probe is.

use super::Ledger;
use super::store::{ObjectStore, StoreError, When};
use model::keys;
use model::record::Samples;

impl<S: ObjectStore> Ledger<S> {
    /// Every completed probe of one run; `None` if there is no such object, for example if the run never probed prod.
    pub async fn samples(&self, id: &str) -> Result<Option<Samples>, StoreError> {
        Ok(self.read(&keys::samples(id)).await?.map(|found| found.value))
    }
}

/// Writes the probes of one run, one version after another. Each write names the version that it replaces, so a delayed
/// write cannot overwrite a later one.
#[derive(Debug)]
pub struct SamplesWriter<S> {
    ledger: Ledger<S>,
    etag: Option<String>,
}

impl<S: ObjectStore> SamplesWriter<S> {
    /// Writes to this ledger.
    pub const fn new(ledger: Ledger<S>) -> Self {
        Self { ledger, etag: None }
    }

    /// Writes the probes. If a response was lost and the current version is unknown, the version is read once.
    pub async fn save(&mut self, samples: &Samples) -> Result<(), StoreError> {
        let key = keys::samples(&samples.id);
        let body = serde_json::to_vec(samples).map_err(|error| StoreError::Unavailable {
            doing: "write",
            key: key.clone(),
            cause: error.to_string(),
        })?;
        let when = self.etag.as_deref().map_or(When::Absent, When::Unchanged);
        let etag = match self.ledger.store.put(&key, body.clone(), when).await {
            Err(StoreError::Conflict { .. }) => {
                let found = self.ledger.store.get(&key).await?.object.map(|object| object.etag);
                let when = found.as_deref().map_or(When::Absent, When::Unchanged);
                self.ledger.store.put(&key, body, when).await?
            }
            other => other?,
        };
        self.etag = Some(etag);
        Ok(())
    }
}
