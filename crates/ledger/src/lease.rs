//! The lease: one holder at a time may change the stack or its traffic. It is an object that a heartbeat repeatedly
//! replaces, always in the version that was written last. If it is not written for its life, it expires, and others can
//! acquire it. Deployments and cutovers use the same lease. While CloudFormation changes the stack, a deployment covers
//! the lease: then the lease outlives a holder that dies. Must not know what the holder does.
//!
//! Clocks of different machines are never compared. The clock of the store determines the age of the lease. The life of
//! the lease is a duration that the holder writes into it. The monotonic clock of the holder determines until when the
//! holder relies on it.
//!
//! Versions before [`LeaseInfo::life_ms`] compared `expires` with their own clock. The field is still written, so they
//! behave as before. A lease that they wrote is read here with the longest life that it can have: that of a cutover
//! with their life, that of a deployment as if it were covered, until [`Ledger::expire_abandoned`] finds that nobody
//! renews it.

use super::store::{ObjectStore, StoreError, When};
use super::{Ledger, RecordError};
use model::Process;
use model::keys;
use model::lease::{LONGEST_LIFE, LeaseInfo, Purpose};
use model::time::{later, millis};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Renewals during one time to live: a few may fail before the lease is at risk.
pub const HEARTBEATS_PER_TTL: u32 = 6;
/// Time after the life of a lease until it can be taken over: the times of the store are whole seconds, and the clocks
/// of its servers may differ slightly.
pub const MARGIN: Duration = Duration::from_secs(3);
/// Time that a run has to release the lease after its end: it sends its notifications first.
pub const RELEASE_GRACE: Duration = Duration::from_secs(4);
/// How often the acquisition is repeated if another holder writes the lease between the read and the write.
const CONFLICTS: u32 = 3;
/// Pause between two checks whether it has released the lease.
const RELEASE_PAUSE: Duration = Duration::from_millis(50);
/// Maximum interrupted holders that a lease remembers.
const PREDECESSORS: usize = 16;
/// Number of the newest runs that are searched for unfinished ones.
const UNFINISHED: usize = 50;
/// Pause between two checks whether a lease is renewed.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// The lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its content.
    pub info: LeaseInfo,
    /// Time since it was written, by the store's clock.
    pub age: Duration,
    /// The version of its object, which changes with every renewal.
    pub version: String,
}

impl Holder {
    /// Whether someone holds it.
    pub fn is_live(&self) -> bool {
        !self.info.is_over() && self.age < self.info.life().saturating_add(MARGIN)
    }

    /// Time until it expires unless it is renewed.
    pub fn left(&self) -> Duration {
        self.info.life().saturating_add(MARGIN).saturating_sub(self.age)
    }
}

/// The lease could not be acquired, or it is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Someone else holds it.
    #[error("a {} holds the lease: {} since {}, for {} s more unless renewed", .0.info.purpose, .0.info.holder, .0.info.since, .0.left().as_secs())]
    Held(Box<Holder>),
    /// Runs were interrupted while they held the lease. Only a cutover may acquire it now, because a cutover recovers
    /// them.
    #[error("run {} was interrupted and is not recovered yet", .0.join(", "))]
    Interrupted(Vec<String>),
    /// Its object was deleted while it was held.
    #[error("the object of the lease is gone")]
    Gone,
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A lease that this program holds. Its heartbeat runs until [`Lease::freeze`] or [`Lease::release`]. If this is
/// dropped, the heartbeat ends and the lease expires.
#[derive(Debug)]
pub struct Lease<S> {
    shared: Arc<Shared<S>>,
    heartbeat: Heartbeat,
    interrupted: Vec<String>,
    epoch: u64,
}

#[derive(Debug)]
struct Shared<S> {
    ledger: Ledger<S>,
    ttl: Duration,
    /// The life of every renewal, in milliseconds.
    life_ms: AtomicU64,
    stop: Notify,
    /// Held while the object is written, so that heartbeat, renewal and release take turns.
    current: tokio::sync::Mutex<(LeaseInfo, String)>,
    /// Until when the holder relies on the lease; `None` when it is lost.
    good_until: watch::Sender<Option<Instant>>,
}

/// The task that renews a lease. It ends when this is dropped.
#[derive(Debug)]
struct Heartbeat(Option<JoinHandle<()>>);

impl Heartbeat {
    /// Waits for its end, which the caller must have requested.
    async fn end(&mut self) {
        if let Some(task) = &mut self.0 {
            // It ends by itself; it cannot panic.
            let _ = task.await;
        }
        self.0 = None;
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl<S: ObjectStore> Ledger<S> {
    /// Acquires the lease for `id`, for `ttl` per renewal, at most [`LONGEST_LIFE`]. Fails if another holder has it: at
    /// once, or after [`RELEASE_GRACE`] if the holder is a run that has ended and sends its notifications. For every
    /// purpose except a cutover, it also fails if a run was interrupted: then nothing is written, and the lease still
    /// remembers that run.
    pub async fn acquire(&self, purpose: Purpose, id: &str, ttl: Duration) -> Result<Lease<S>, LeaseError> {
        let patient_until = Instant::now() + RELEASE_GRACE;
        let mut conflicts = 0;
        loop {
            match self.acquire_now(purpose, id, ttl).await {
                // Another holder acquired and released it in the meantime, or the store was wrong: it is free.
                Err(LeaseError::Store(StoreError::Conflict { .. })) if conflicts < CONFLICTS => conflicts += 1,
                Err(LeaseError::Held(holder)) if Instant::now() < patient_until && self.has_ended(&holder).await => {
                    tokio::time::sleep(RELEASE_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Whether the holder is a run that has ended; false if that cannot be read.
    async fn has_ended(&self, holder: &Holder) -> bool {
        holder.info.purpose == Purpose::Cutover
            && matches!(self.load(&holder.info.holder).await, Ok(Some(record)) if record.is_final())
    }

    async fn acquire_now(&self, purpose: Purpose, id: &str, ttl: Duration) -> Result<Lease<S>, LeaseError> {
        let asked = Instant::now();
        let now = self.clock.now();
        let ttl = ttl.min(LONGEST_LIFE);
        let before = self.read_lease().await?;
        let interrupted = match &before {
            None => Vec::new(),
            Some(held) if held.is_live() => return Err(LeaseError::Held(Box::new(held.clone()))),
            Some(old) => remember(&old.info),
        };
        if purpose != Purpose::Cutover && !interrupted.is_empty() {
            return Err(LeaseError::Interrupted(interrupted));
        }
        // The time, so that the epoch increases even if the object was deleted.
        let epoch = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let epoch = before.as_ref().map_or(epoch, |old| epoch.max(old.info.epoch.saturating_add(1)));
        let info = LeaseInfo {
            holder: id.to_owned(),
            purpose,
            since: now,
            epoch,
            expires: later(now, ttl),
            life_ms: Some(millis(ttl)),
            released: false,
            interrupted: interrupted.clone(),
            writer: uuid::Uuid::new_v4().to_string(),
            process: self.process.clone(),
        };
        let etag = self.write_lease(&info, before.as_ref().map(|old| old.version.as_str())).await?;
        let (good_until, _) = watch::channel(Some(asked + ttl));
        let shared = Arc::new(Shared {
            ledger: self.clone(),
            ttl,
            life_ms: AtomicU64::new(millis(ttl)),
            stop: Notify::new(),
            current: tokio::sync::Mutex::new((info, etag)),
            good_until,
        });
        let heartbeat = Heartbeat(Some(tokio::spawn(heartbeat(Arc::clone(&shared)))));
        Ok(Lease { shared, heartbeat, interrupted, epoch })
    }

    /// The live lease of any holder; `None` if it is free.
    pub async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        Ok(self.read_lease().await?.filter(Holder::is_live))
    }

    /// Ends the lease of a deployment that nobody renews, because its command died while it covered the lease. Watches
    /// it for `silence`, which is several heartbeats. Returns false if it is renewed in the meantime, or if it is free.
    ///
    /// Call this only if CloudFormation does not change the stack.
    pub async fn expire_abandoned(&self, silence: Duration) -> Result<bool, LeaseError> {
        let of_deployment = |held: &Holder| held.info.purpose == Purpose::Deployment;
        let Some(held) = self.holder().await?.filter(of_deployment) else { return Ok(false) };
        if self.is_renewed(&held, silence).await? {
            return Ok(false);
        }
        self.write_lease(&held.info.ended(), Some(&held.version)).await.map(|_| true)
    }

    /// Ends a lease whose holder was a process of this machine that has ended. Returns false if it has not, or if
    /// another writer was faster.
    ///
    /// Call this only for a lease that is not covered, so that everything that its holder began has ended too.
    pub async fn expire_gone(&self, held: &Holder) -> Result<bool, LeaseError> {
        if !held.info.process.as_ref().is_some_and(Process::is_gone) {
            return Ok(false);
        }
        match self.write_lease(&held.info.clone().ended(), Some(&held.version)).await {
            Ok(_) => Ok(true),
            Err(LeaseError::Held(_) | LeaseError::Store(StoreError::Conflict { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Watches a lease for `silence`; true as soon as it is renewed, released, or taken over.
    pub async fn is_renewed(&self, held: &Holder, silence: Duration) -> Result<bool, StoreError> {
        let until = Instant::now() + silence;
        while Instant::now() < until {
            tokio::time::sleep(WATCH_PAUSE).await;
            if self.holder().await?.is_none_or(|now| now.version != held.version) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the lease of any holder, who loses it at the next renewal. Returns the runs that this interrupts or that
    /// were interrupted before; the next holder must know of them.
    pub async fn break_lease(&self, held: &Holder) -> Result<Vec<String>, LeaseError> {
        // A different writer, so that the holder notices that the lease is lost.
        let broken = LeaseInfo { writer: uuid::Uuid::new_v4().to_string(), ..held.info.clone().ended() };
        self.write_lease(&broken, Some(&held.version)).await?;
        Ok(remember(&broken))
    }

    /// Replaces a lease that cannot be parsed, in this version of its object. The interrupted runs that it remembered
    /// are lost. Instead, the new lease remembers every run that has not ended. Returns these runs.
    pub async fn mend_lease(&self, etag: &str) -> Result<Vec<String>, RecordError> {
        let unfinished = self.list(UNFINISHED).await?.into_iter().filter(|record| !record.is_final());
        let (interrupted, epochs): (Vec<_>, Vec<_>) = unfinished.map(|record| (record.id, record.epoch)).unzip();
        let now = self.clock.now();
        let epoch = u64::try_from(now.as_millisecond()).unwrap_or(0).max(epochs.into_iter().max().unwrap_or(0));
        let mended = LeaseInfo {
            holder: "unlock".to_owned(),
            purpose: Purpose::Deployment,
            since: now,
            epoch,
            expires: now,
            life_ms: None,
            released: false,
            interrupted: interrupted.into_iter().rev().collect(),
            writer: uuid::Uuid::new_v4().to_string(),
            process: None,
        };
        let mended = mended.ended();
        let body = in_json(&mended)?;
        self.store.put(keys::LOCK, body, When::Unchanged(etag)).await?;
        Ok(remember(&mended))
    }

    /// Whether it can be acquired now and remembers no interrupted run.
    pub async fn is_free(&self) -> Result<bool, StoreError> {
        let lease = self.read_lease().await?;
        Ok(lease.is_none_or(|held| !held.is_live() && remember(&held.info).is_empty()))
    }

    async fn read_lease(&self) -> Result<Option<Holder>, StoreError> {
        let found = self.read(keys::LOCK).await.map_err(|error| match error {
            StoreError::Garbled { key, etag, cause } => {
                StoreError::Garbled { key, etag, cause: format!("{cause}; to replace it, run: bluegreen unlock") }
            }
            error => error,
        })?;
        Ok(found.map(|found| Holder { info: found.value, age: found.age, version: found.etag }))
    }

    /// Writes the lease if it is still in version `etag`. If the response is lost, reads the lease to find out the
    /// result.
    async fn write_lease(&self, info: &LeaseInfo, etag: Option<&str>) -> Result<String, LeaseError> {
        let body = in_json(info)?;
        let when = etag.map_or(When::Absent, When::Unchanged);
        let error = match self.store.put(keys::LOCK, body, when).await {
            Ok(etag) => return Ok(etag),
            Err(error) => error,
        };
        match self.read_lease().await? {
            Some(stored) if stored.info == *info => Ok(stored.version),
            Some(stored) if stored.info.writer != info.writer && stored.is_live() => {
                Err(LeaseError::Held(Box::new(stored)))
            }
            _ => Err(error.into()),
        }
    }
}

fn in_json(info: &LeaseInfo) -> Result<Vec<u8>, StoreError> {
    let (doing, key) = ("write", keys::LOCK.to_owned());
    serde_json::to_vec_pretty(info).map_err(|error| StoreError::Unavailable { doing, key, cause: error.to_string() })
}

/// The interrupted holders to remember when `old` is taken over.
fn remember(old: &LeaseInfo) -> Vec<String> {
    if old.released {
        return Vec::new();
    }
    let mut ids = old.interrupted.clone();
    if old.purpose == Purpose::Cutover && !ids.contains(&old.holder) {
        ids.push(old.holder.clone());
    }
    let surplus = ids.len().saturating_sub(PREDECESSORS);
    ids.split_off(surplus)
}

impl<S: ObjectStore> Lease<S> {
    /// Runs that were interrupted while they held the lease, oldest first.
    pub fn interrupted(&self) -> &[String] {
        &self.interrupted
    }

    /// Number of this lease, greater than that of every earlier lease.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Time for which the lease is guaranteed; zero when it is lost.
    pub fn remaining(&self) -> Duration {
        let until = *self.shared.good_until.borrow();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Watches the lease: `None` when it is lost, because it was taken over or not renewed in time.
    pub fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.shared.good_until.subscribe()
    }

    /// Renews the lease now for its whole life.
    pub async fn renew(&self) -> Result<(), LeaseError> {
        self.shared.renew().await
    }

    /// Renews the lease for `life`, now and at every later renewal, so that it outlives a holder that dies while
    /// CloudFormation still works for it. An error if the lease is lost or cannot be written.
    pub async fn cover(&self, life: Duration) -> Result<(), LeaseError> {
        self.shared.life_ms.store(millis(life), Ordering::Relaxed);
        self.shared.renew().await
    }

    /// Renews the lease once more, for `life`, and ends the heartbeat. Nothing is written after that until
    /// [`Lease::release`]. This is for a holder that deletes the ledger: a heartbeat would create the object again. An
    /// error if the lease is lost; the heartbeat ends in any case.
    pub async fn freeze(&mut self, life: Duration) -> Result<(), LeaseError> {
        self.end_heartbeat().await;
        self.shared.extend(life).await
    }

    /// Releases the lease and ends the heartbeat. If its object is gone, there is nothing to release.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.end_heartbeat().await;
        let mut current = self.shared.current.lock().await;
        let released = LeaseInfo {
            released: true,
            expires: self.shared.ledger.clock.now(),
            interrupted: Vec::new(),
            ..current.0.clone()
        };
        match self.shared.write(&released, &current.1).await {
            Ok(etag) => *current = (released, etag),
            Err(LeaseError::Gone) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn end_heartbeat(&mut self) {
        self.shared.stop.notify_one();
        self.heartbeat.end().await;
    }
}

impl<S: ObjectStore> Shared<S> {
    async fn renew(&self) -> Result<(), LeaseError> {
        self.extend(Duration::from_millis(self.life_ms.load(Ordering::Relaxed))).await
    }

    /// Renews the lease for `life` from now on.
    async fn extend(&self, life: Duration) -> Result<(), LeaseError> {
        let mut current = self.current.lock().await;
        let asked = Instant::now();
        let life = life.min(LONGEST_LIFE);
        let expires = later(self.ledger.clock.at(asked), life);
        let renewed = LeaseInfo { expires, life_ms: Some(millis(life)), ..current.0.clone() };
        match self.write(&renewed, &current.1).await {
            Ok(etag) => {
                *current = (renewed, etag);
                self.good_until.send_if_modified(|until| match until {
                    Some(until) => {
                        *until = asked + life;
                        true
                    }
                    None => false,
                });
                Ok(())
            }
            Err(error) => {
                if matches!(error, LeaseError::Held(_) | LeaseError::Gone) {
                    self.good_until.send_replace(None);
                }
                Err(error)
            }
        }
    }

    /// Writes the lease. If an earlier write of this holder succeeded and its response was lost, replaces that version.
    /// If the object is gone, it was deleted and is not created again.
    async fn write(&self, info: &LeaseInfo, etag: &str) -> Result<String, LeaseError> {
        match self.ledger.write_lease(info, Some(etag)).await {
            Err(LeaseError::Store(StoreError::Conflict { .. })) => match self.ledger.read_lease().await? {
                Some(stored) if stored.info.writer == info.writer => {
                    self.ledger.write_lease(info, Some(&stored.version)).await
                }
                Some(stored) => Err(LeaseError::Held(Box::new(stored))),
                None => Err(LeaseError::Gone),
            },
            other => other,
        }
    }
}

/// Renews the lease until it is stopped or lost.
async fn heartbeat<S: ObjectStore>(shared: Arc<Shared<S>>) {
    let pause = shared.ttl / HEARTBEATS_PER_TTL;
    loop {
        let until = *shared.good_until.borrow();
        let Some(until) = until else { return };
        tokio::select! {
            biased;
            () = shared.stop.notified() => return,
            () = tokio::time::sleep(pause) => {}
            () = tokio::time::sleep_until(until) => {
                shared.good_until.send_replace(None);
                return;
            }
        }
        let renewal = async {
            if let Err(error) = shared.renew().await {
                tracing::warn!(%error, "the lease was not renewed");
            }
        };
        tokio::select! {
            biased;
            () = renewal => {}
            () = tokio::time::sleep_until(until) => {
                shared.good_until.send_replace(None);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
