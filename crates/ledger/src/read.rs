//! Reads objects of the ledger as JSON. Must not know what they mean.

use super::Ledger;
use super::store::{ObjectStore, StoreError};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Attempts to read an object that is not complete JSON: it may have been truncated or garbled in transit.
const READS: u32 = 3;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// An object that was parsed.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    /// Its version.
    pub(super) etag: String,
    /// Time since it was last written, by the store's clock.
    pub(super) age: Duration,
}

impl<S: ObjectStore> Ledger<S> {
    /// Reads an object; `None` if it does not exist.
    pub(super) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Found<T>>, StoreError> {
        let mut reads = 0;
        loop {
            let read = self.store.get(key).await?;
            let Some(object) = read.object else { return Ok(None) };
            reads += 1;
            match serde_json::from_slice(&object.body) {
                Ok(value) => return Ok(Some(Found { value, age: object.age(read.at), etag: object.etag })),
                // Complete JSON with other content is not an error of transmission: do not read it again.
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
