//! The ledger: the lease and the records of all runs, in the stack's bucket. Conditional writes of S3 are the only
//! primitive: an object is created only if it is absent, or replaced only in the version that was read
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>). Must not know what a cutover or a
//! deployment does while it holds the lease.

mod lease;
mod list;
mod read;
mod records;
mod s3;
mod samples;
mod steering;
mod store;

pub use lease::{HEARTBEATS_PER_TTL, Holder, Lease, LeaseError, MARGIN, RELEASE_GRACE};
pub use records::{RecordError, RecordWriter};
pub use s3::{S3Store, s3_client};
pub use samples::SamplesWriter;
pub use store::{Keys, LARGEST, Listed, MemoryStore, Object, ObjectStore, Read, StoreError, When};

use aws::clock::Clock;
use model::{Process, Record};
use std::sync::Arc;
use std::time::Duration;

/// The longest time without a write of the record. A live run writes it far more often.
pub const SILENCE: Duration = Duration::from_secs(45);

/// The ledger in a store.
#[derive(Debug)]
pub struct Ledger<S> {
    store: Arc<S>,
    clock: Clock,
    process: Option<Process>,
}

impl<S> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), clock: self.clock, process: self.process.clone() }
    }
}

/// The ledger in a bucket.
pub type S3Ledger = Ledger<S3Store>;

impl S3Ledger {
    /// The ledger in this bucket of this account.
    pub fn in_bucket(config: &aws_config::SdkConfig, bucket: &str, owner: Option<&str>) -> Self {
        Self::new(Arc::new(S3Store::new(config, bucket, owner)), Clock::system())
    }
}

impl<S: ObjectStore> Ledger<S> {
    /// The ledger in this store; `clock` is only for times that people read. No decision depends on it.
    pub const fn new(store: Arc<S>, clock: Clock) -> Self {
        Self { store, clock, process: None }
    }

    /// A ledger whose leases name this process as their holder, so that others on the same machine can detect that it
    /// has ended.
    #[must_use]
    pub fn of_process(self, process: Option<Process>) -> Self {
        Self { process, ..self }
    }

    /// The record of one run; `None` if there is none. If the run has not ended, and its record was not written for
    /// [`SILENCE`] by the store's clock, it is marked as interrupted.
    pub async fn load(&self, id: &str) -> Result<Option<Record>, RecordError> {
        let Some(found) = self.find(id).await? else { return Ok(None) };
        let mut record = found.value;
        record.interrupted = !record.is_final() && found.age >= SILENCE;
        Ok(Some(record))
    }
}
