//! The ledger: one lease and the records of all runs, in the stack's bucket. S3's conditional writes are the only
//! primitive: an object is created only if absent, or replaced only in the version that was read. Must not know what a
//! cutover or a deployment does while it holds the lease.

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

/// A run that lives writes its record far more often than this.
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
    /// The ledger in this store; `clock` tells the times that are written for people, and decides nothing.
    pub const fn new(store: Arc<S>, clock: Clock) -> Self {
        Self { store, clock, process: None }
    }

    /// Whoever takes the lease through this is the given process: others on its machine see that it is gone.
    #[must_use]
    pub fn of_process(self, process: Option<Process>) -> Self {
        Self { process, ..self }
    }

    /// The record of one run; none where there is none. One that has not ended and was not written for [`SILENCE`] by the
    /// store's clock says that it was interrupted.
    pub async fn load(&self, id: &str) -> Result<Option<Record>, RecordError> {
        let Some(found) = self.find(id).await? else { return Ok(None) };
        let mut record = found.value;
        record.interrupted = !record.is_final() && found.age >= SILENCE;
        Ok(Some(record))
    }
}
