//! Reads what the ledger holds, as JSON. Must not know what it means.

use super::Ledger;
use super::store::{ObjectStore, StoreError};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Reads of one object that is not whole JSON: it may have been cut short or garbled on its way.
const READS: u32 = 3;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// An object that was understood.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    /// Its version.
    pub(super) etag: String,
    /// Time since it was last written, by the store's clock.
    pub(super) age: Duration,
}

impl<S: ObjectStore> Ledger<S> {
    /// Reads an object; none where there is none.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Found<T>>, StoreError> {
        let mut reads = 0;
        loop {
            let read = self.store.get(key).await?;
            let Some(object) = read.object else { return Ok(None) };
            reads += 1;
            match serde_json::from_slice(&object.body) {
                Ok(value) => return Ok(Some(Found { value, age: object.age(read.at), etag: object.etag })),
                // Whole JSON that says something else says that the next time too.
                Err(error) if reads >= READS || error.is_data() => {
                    let (key, cause) = (key.to_owned(), error.to_string());
                    return Err(StoreError::Garbled { key, etag: object.etag, cause });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The time by the store's clock.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        Ok(self.store.get(model::keys::LOCK).await?.at)
    }
}
