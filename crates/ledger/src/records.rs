//! Reads and writes the records of runs. A record belongs to one writer until that writer loses its lease. Each write
//! names the version that it replaces, so a writer that was considered dead cannot overwrite later decisions. Must know
//! nothing of a record except its writer and whether it is final.

use super::Ledger;
use super::read::Found;
use super::store::{ObjectStore, StoreError, When};
use model::Record;
use model::keys;

/// A record could not be read or written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored object is not a record that this version can parse.
    #[error("cannot read the record of run {id}: {cause}")]
    Unreadable {
        /// The run.
        id: String,
        /// Why.
        cause: String,
    },
    /// A record of this run already exists, or another writer has taken it over. Boxed because of its size.
    #[error("run {} already has a record", .0.id)]
    Taken(Box<Record>),
    /// The record is gone.
    #[error("the record of run {id} was deleted")]
    Gone {
        /// The run.
        id: String,
    },
}

/// Writes the record of one run, one version after another.
#[derive(Debug)]
pub struct RecordWriter<S> {
    ledger: Ledger<S>,
    etag: Option<String>,
}

/// Attempts of one write if the store does not respond.
const TRIES: u32 = 3;
/// Attempts to take over a record that its writer still writes.
const ADOPTIONS: u32 = 10;

impl<S: ObjectStore> Ledger<S> {
    async fn load_version(&self, id: &str) -> Result<Option<(Record, String)>, RecordError> {
        Ok(self.find(id).await?.map(|found| (found.value, found.etag)))
    }

    pub(super) async fn find(&self, id: &str) -> Result<Option<Found<Record>>, RecordError> {
        self.read(&keys::run(id)).await.map_err(|error| match error {
            StoreError::Garbled { cause, .. } => RecordError::Unreadable { id: id.to_owned(), cause },
            error => error.into(),
        })
    }

    /// A writer of a record that does not exist yet.
    pub fn create(&self) -> RecordWriter<S> {
        RecordWriter { ledger: self.clone(), etag: None }
    }

    /// Takes over the unfinished record of another writer, so that the other one can no longer write it. A final record
    /// is returned unchanged. If the record was written under a later lease than `epoch`, the result is an error: the
    /// caller has lost its lease without noticing.
    pub async fn adopt(
        &self,
        id: &str,
        writer: &str,
        epoch: u64,
    ) -> Result<Option<(Record, RecordWriter<S>)>, RecordError> {
        let mut tries = 0;
        loop {
            let Some((mut record, etag)) = self.load_version(id).await? else {
                return Ok(None);
            };
            let mut adopted = RecordWriter { ledger: self.clone(), etag: Some(etag) };
            if record.is_final() {
                return Ok(Some((record, adopted)));
            }
            if record.epoch > epoch {
                return Err(RecordError::Taken(Box::new(record)));
            }
            writer.clone_into(&mut record.writer);
            record.epoch = epoch;
            tries += 1;
            match adopted.save(&record).await {
                Ok(()) => return Ok(Some((record, adopted))),
                // The other writer still writes it.
                Err(RecordError::Taken(_)) if tries < ADOPTIONS => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<S: ObjectStore> RecordWriter<S> {
    /// Writes the record, unless another writer has written it since. If a response was lost, the record is read.
    pub async fn save(&mut self, record: &Record) -> Result<(), RecordError> {
        let body = serde_json::to_vec_pretty(record)
            .map_err(|error| RecordError::Unreadable { id: record.id.clone(), cause: error.to_string() })?;
        let key = keys::run(&record.id);
        let mut tries = 0;
        loop {
            tries += 1;
            let when = self.etag.as_deref().map_or(When::Absent, When::Unchanged);
            let error = match self.ledger.store.put(&key, body.clone(), when).await {
                Ok(etag) => {
                    self.etag = Some(etag);
                    return Ok(());
                }
                Err(error) => error,
            };
            // Another writer was faster, or an earlier write of this one succeeded and its response was lost.
            match self.ledger.load_version(&record.id).await {
                Ok(Some((stored, etag))) if stored == *record => {
                    self.etag = Some(etag);
                    return Ok(());
                }
                Ok(Some((stored, etag))) if stored.writer == record.writer && !stored.is_final() => {
                    self.etag = Some(etag);
                }
                Ok(Some((stored, _))) if matches!(error, StoreError::Conflict { .. }) => {
                    return Err(RecordError::Taken(Box::new(stored)));
                }
                Ok(None) if self.etag.is_some() => {
                    return Err(RecordError::Gone { id: record.id.clone() });
                }
                Err(unreadable @ RecordError::Unreadable { .. }) => return Err(unreadable),
                _ => {}
            }
            if tries >= TRIES {
                return Err(error.into());
            }
        }
    }
}
