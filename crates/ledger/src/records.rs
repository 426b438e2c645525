//! Reads and writes the records of runs. A record belongs to one writer until that writer's lease is gone; each write
//! names the version that it replaces, so a writer that was thought dead cannot overwrite what was decided since.
//! Must not know what is in a record but its writer and whether it is final.

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
    /// What is stored is not a record that this version understands.
    #[error("the record of run {id} cannot be read: {cause}")]
    Unreadable {
        /// The run.
        id: String,
        /// Why.
        cause: String,
    },
    /// There is a record of this run already, or another writer has taken it over. Boxed for its size.
    #[error("run {} has a record already", .0.id)]
    Taken(Box<Record>),
    /// The record is gone.
    #[error("the record of run {id} was deleted")]
    Gone {
        /// The run.
        id: String,
    },
}

/// Writes one run's record, version after version.
#[derive(Debug)]
pub struct RecordWriter<S> {
    ledger: Ledger<S>,
    etag: Option<String>,
}

/// Tries of one write where the store does not answer.
const TRIES: u32 = 3;
/// Tries of taking over a record that is written at the same time.
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

    /// Takes over an unfinished record that someone else began, so that they cannot write it any more. A record that
    /// is final is returned as it is; one that was written under a later lease than `epoch` is an error: the caller has lost
    /// the lease without knowing.
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
                // Whoever began it still writes now and then.
                Err(RecordError::Taken(_)) if tries < ADOPTIONS => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<S: ObjectStore> RecordWriter<S> {
    /// Writes the record, unless another writer has written it since. A write whose answer was lost is looked up.
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
            // Either somebody else wrote, or an earlier write of ours landed whose answer was lost.
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
