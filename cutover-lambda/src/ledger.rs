//! The ledger: one lease and the records of all runs, in the stack's bucket. S3's conditional writes are the only
//! primitive: an object is created only if absent, or replaced only in the version that was read. Must not know what a
//! cutover or a deployment does while it holds the lease.

mod lease;
mod records;
mod s3;
mod samples;
mod steering;
mod store;

pub use lease::{FAREWELL, HEARTBEATS_PER_TTL, Lease, LeaseError, LeaseInfo, Purpose, SKEW};
pub use records::{RecordError, RecordWriter};
pub use s3::{S3Store, s3_client};
pub(crate) use samples::SamplesWriter;
pub use store::{Listed, MemoryStore, Object, ObjectStore, StoreError, When};

use crate::Record;
use crate::clock::Clock;
use std::sync::Arc;

/// Keys in the bucket.
pub mod keys {
    /// The lease that deployments and cutovers take.
    pub const LOCK: &str = "cutover/lock.json";
    /// Where the records of runs are.
    pub const RUNS: &str = "cutover/runs/";

    /// Where the single probes of runs are. Beside the records, so that a list of runs is no longer for them.
    pub const SAMPLES: &str = "cutover/samples/";

    /// What one run was told while it was under way.
    pub fn steering(id: &str) -> String {
        format!("cutover/steering/{id}.json")
    }

    /// The record of one run.
    pub fn run(id: &str) -> String {
        format!("{RUNS}{id}.json")
    }

    /// The probes of one run.
    pub fn samples(id: &str) -> String {
        format!("{SAMPLES}{id}.json")
    }
}

/// The ledger in a store.
#[derive(Debug)]
pub struct Ledger<S> {
    store: Arc<S>,
    clock: Clock,
}

impl<S> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), clock: self.clock }
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
    /// The ledger in this store; `clock` tells when a lease expires.
    pub const fn new(store: Arc<S>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The record of one run; none where there is none.
    pub async fn load(&self, id: &str) -> Result<Option<Record>, RecordError> {
        Ok(self.load_version(id).await?.map(|(record, _)| record))
    }

    /// The newest records, newest first, `limit` at most. A record that cannot be read (a newer format) is left out.
    pub async fn list(&self, limit: usize) -> Result<Vec<Record>, RecordError> {
        let mut listed = self.store.list(keys::RUNS).await?;
        listed.sort_by(|a, b| (b.modified, &b.key).cmp(&(a.modified, &a.key)));
        let ids = listed.iter().filter_map(|object| object.key.strip_prefix(keys::RUNS)?.strip_suffix(".json"));
        let mut records = Vec::new();
        for id in ids.take(limit) {
            match self.load(id).await {
                Ok(record) => records.extend(record),
                Err(RecordError::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        records.sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id)));
        Ok(records)
    }

    /// The newest record.
    pub async fn latest(&self) -> Result<Option<Record>, RecordError> {
        Ok(self.list(1).await?.into_iter().next())
    }
}
