//! The primitive under the ledger: objects with versions and conditional writes. `MemoryStore` is one in memory, for
//! tests. Must not know what the objects mean.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

/// An object with the version that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub body: Vec<u8>,
    /// The version, as the store names it.
    pub etag: String,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was last written, in seconds since 1970.
    pub modified: i64,
}

/// When a write may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<'a> {
    /// Only if there is no object.
    Absent,
    /// Only if the object still has this version.
    Unchanged(&'a str),
}

/// A call on the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object is not in the state that the write asked for.
    #[error("{key} was changed by someone else")]
    Conflict {
        /// The object.
        key: String,
    },
    /// The store refused it or did not answer. A write may have happened all the same.
    #[error("cannot {doing} {key}: {cause}")]
    Unavailable {
        /// What was tried: `read`, `write`, `list`.
        doing: &'static str,
        /// The object.
        key: String,
        /// Why.
        cause: String,
    },
}

/// Objects with conditional writes, strongly consistent.
pub trait ObjectStore: Send + Sync + 'static {
    /// Reads an object; none where there is none.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Object>, StoreError>> + Send;

    /// Writes an object and returns its new version.
    fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Lists all objects below a prefix.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, (Object, i64)>,
    writes: i64,
}

impl MemoryStore {
    /// How many writes succeeded so far.
    pub fn writes(&self) -> i64 {
        self.lock().writes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and each state in between is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        Ok(self.lock().objects.get(key).map(|(object, _)| object.clone()))
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        let mut state = self.lock();
        let current = state.objects.get(key).map(|(object, _)| object.etag.as_str());
        let allowed = match when {
            When::Absent => current.is_none(),
            When::Unchanged(etag) => current == Some(etag),
        };
        if !allowed {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        state.writes += 1;
        let etag = format!("\"{}\"", state.writes);
        let object = Object { body, etag: etag.clone() };
        let modified = state.writes;
        state.objects.insert(key.to_owned(), (object, modified));
        Ok(etag)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let state = self.lock();
        let below = state.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(below.map(|(key, (_, modified))| Listed { key: key.clone(), modified: *modified }).collect())
    }
}
