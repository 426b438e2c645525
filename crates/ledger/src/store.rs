//! The store of the ledger: objects with versions, conditional writes, and times by the clock of the store.
//! `MemoryStore` is a store in memory, for tests. Must not know what the objects mean.

use aws::clock::Clock;
use jiff::Timestamp;
use model::time::between;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Largest object that is read, in bytes. A record has a few kilobytes; the probes of the longest run have half of
/// this.
pub const LARGEST: usize = 1 << 20;

/// The result of a read, and its time by the clock of the store. Only this clock determines the age of an object, so no
/// two clocks are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The object; `None` if it does not exist.
    pub object: Option<Object>,
    /// When the store answered.
    pub at: Timestamp,
}

/// An object with the version that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub body: Vec<u8>,
    /// The version, as the store names it.
    pub etag: String,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
}

impl Object {
    /// Time since it was last written, at `at` by the store's clock.
    pub fn age(&self, at: Timestamp) -> Duration {
        between(self.modified, at)
    }
}

/// The keys to list, in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    /// Their prefix.
    pub prefix: &'a str,
    /// Only keys after this one.
    pub after: Option<&'a str>,
    /// Only keys before this one.
    pub before: Option<&'a str>,
}

impl<'a> Keys<'a> {
    /// All keys with this prefix.
    pub const fn below(prefix: &'a str) -> Self {
        Self { prefix, after: None, before: None }
    }

    /// Whether they include this one.
    pub fn include(&self, key: &str) -> bool {
        key.starts_with(self.prefix)
            && self.after.is_none_or(|after| key > after)
            && self.before.is_none_or(|before| key < before)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
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
    /// The object is not in the state that the write requires.
    #[error("{key} was changed by someone else")]
    Conflict {
        /// The object.
        key: String,
    },
    /// The stored object cannot be parsed.
    #[error("cannot understand {key}: {cause}")]
    Garbled {
        /// The object.
        key: String,
        /// The version that was read.
        etag: String,
        /// Why.
        cause: String,
    },
    /// The store rejected the call or did not respond. A write may nevertheless have succeeded.
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

impl StoreError {
    /// The object is larger than [`LARGEST`].
    pub fn too_large(key: &str, etag: String) -> Self {
        let cause = format!("it is larger than {} KiB, the limit for reading", LARGEST / 1024);
        Self::Garbled { key: key.to_owned(), etag, cause }
    }
}

/// Objects with conditional writes, strongly consistent.
pub trait ObjectStore: Send + Sync + 'static {
    /// Reads an object of at most [`LARGEST`] bytes; a larger one is an error.
    fn get(&self, key: &str) -> impl Future<Output = Result<Read, StoreError>> + Send;

    /// Writes an object and returns its new version.
    fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// Lists objects.
    fn list(&self, keys: Keys<'_>) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;
}

/// A store in memory. Its clock starts in 1970, different from all other clocks, and has whole seconds, as that of S3.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    writes: i64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { clock: Clock::starting_at(Timestamp::UNIX_EPOCH), state: Mutex::default() }
    }
}

impl MemoryStore {
    /// Number of successful writes.
    pub fn writes(&self) -> i64 {
        self.lock().writes
    }

    /// The store's time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock.now().as_second()).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it holds the mutex, and the state is always consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Read, StoreError> {
        let object = self.lock().objects.get(key).cloned();
        match object {
            Some(object) if object.body.len() > LARGEST => Err(StoreError::too_large(key, object.etag)),
            object => Ok(Read { object, at: self.now() }),
        }
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        let mut state = self.lock();
        let current = state.objects.get(key).map(|object| object.etag.as_str());
        let allowed = match when {
            When::Absent => current.is_none(),
            When::Unchanged(etag) => current == Some(etag),
        };
        if !allowed {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        state.writes += 1;
        let etag = format!("\"{}\"", state.writes);
        let object = Object { body, etag: etag.clone(), modified: self.now() };
        state.objects.insert(key.to_owned(), object);
        Ok(etag)
    }

    async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
        let state = self.lock();
        let listed = state.objects.iter().filter(|(key, _)| keys.include(key));
        Ok(listed.map(|(key, object)| Listed { key: key.clone(), modified: object.modified }).collect())
    }
}
