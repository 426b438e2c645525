//! The lease: one holder at a time may change the stack or its traffic. It is an object with an expiry, renewed by a
//! heartbeat in the version that was last written, and free for others once expired. Deployments and cutovers take the
//! same one. While CloudFormation changes the stack, a deployment covers it: then it outlives a holder that dies. Must not know what the holder does.

use super::store::{ObjectStore, StoreError, When};
use super::{Ledger, keys};
use crate::clock::later;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Renewals in one time to live: a few may fail before the lease is in danger.
pub const HEARTBEATS_PER_TTL: u32 = 6;
/// How far two machines' clocks may be apart: a lease is taken over only this long after it expired.
pub const SKEW: Duration = Duration::from_secs(3);
/// How long a run that has ended may take to give the lease back: it tells of its outcome first.
pub const FAREWELL: Duration = crate::audience::TIMEOUT.saturating_add(Duration::from_secs(1));
/// Pause between two looks whether it has.
const FAREWELL_PAUSE: Duration = Duration::from_millis(50);
/// Interrupted holders that a lease remembers.
const PREDECESSORS: usize = 16;
/// Pause between two looks whether a lease is renewed.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// What a lease is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The listeners are being swapped.
    Cutover,
    /// The stack is being changed.
    Deployment,
    /// The idle environment's tasks are being ended.
    Sleep,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cutover => "cutover",
            Self::Deployment => "deployment",
            Self::Sleep => "scaling of the idle environment",
        })
    }
}

/// What the lease's object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// Id of the run or deployment that holds it.
    pub holder: String,
    /// What it is held for.
    pub purpose: Purpose,
    /// Since when.
    pub since: Timestamp,
    /// Number of this lease: greater than that of every lease before.
    #[serde(default)]
    pub epoch: u64,
    /// Until when, unless renewed.
    pub expires: Timestamp,
    /// Whether the holder has given it back.
    pub released: bool,
    /// Holders before this one that never gave it back, oldest first; their runs may need to be put right.
    #[serde(default)]
    pub interrupted: Vec<String>,
    /// A different text for every acquisition.
    pub writer: String,
}

impl LeaseInfo {
    /// Whether someone holds it at `now`: neither released nor expired for longer than [`SKEW`].
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.released && now < later(self.expires, SKEW)
    }
}

/// The lease could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Someone else holds it.
    #[error("a {} holds the lease: {} since {}, until {} unless renewed", .0.purpose, .0.holder, .0.since, .0.expires)]
    Held(Box<LeaseInfo>),
    /// Its object was deleted while it was held.
    #[error("the object of the lease is gone")]
    Gone,
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A lease that is held. Its heartbeat runs until [`Lease::freeze`] or [`Lease::release`], or until this is dropped: then
/// it expires.
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
    /// For how long every renewal holds, in milliseconds.
    life_ms: AtomicU64,
    stop: Notify,
    /// Held while the object is written, so that heartbeat, renewal and release take turns.
    current: tokio::sync::Mutex<(LeaseInfo, String)>,
    /// Until when this side counts on it; `None` once it is lost.
    good_until: watch::Sender<Option<Instant>>,
}

/// The task that renews a lease. It ends with this.
#[derive(Debug)]
struct Heartbeat(Option<JoinHandle<()>>);

impl Heartbeat {
    /// Waits until it has ended, which the caller has asked for.
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
    /// Takes the lease for `id`, for `ttl` at a time. Fails where someone else holds it: at once, or, where that is a run
    /// that has ended and is only telling of it, after [`FAREWELL`].
    pub async fn acquire(&self, purpose: Purpose, id: &str, ttl: Duration) -> Result<Lease<S>, LeaseError> {
        let patient_until = Instant::now() + FAREWELL;
        loop {
            match self.acquire_now(purpose, id, ttl).await {
                Err(LeaseError::Held(holder)) if Instant::now() < patient_until && self.has_ended(&holder).await => {
                    tokio::time::sleep(FAREWELL_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Whether the holder is a run that has ended. Where that cannot be read, it is held as by any other.
    async fn has_ended(&self, holder: &LeaseInfo) -> bool {
        holder.purpose == Purpose::Cutover
            && matches!(self.load(&holder.holder).await, Ok(Some(record)) if record.is_final())
    }

    async fn acquire_now(&self, purpose: Purpose, id: &str, ttl: Duration) -> Result<Lease<S>, LeaseError> {
        let asked = Instant::now();
        let now = self.clock.now();
        let before = self.read_lease().await?;
        let interrupted = match &before {
            None => Vec::new(),
            Some((held, _)) if held.is_live(now) => {
                return Err(LeaseError::Held(Box::new(held.clone())));
            }
            Some((old, _)) => remember(old),
        };
        // The time, so that it grows even where somebody deleted the object.
        let epoch = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let epoch = before.as_ref().map_or(epoch, |(old, _)| epoch.max(old.epoch + 1));
        let info = LeaseInfo {
            holder: id.to_owned(),
            purpose,
            since: now,
            epoch,
            expires: later(now, ttl),
            released: false,
            interrupted: interrupted.clone(),
            writer: uuid::Uuid::new_v4().to_string(),
        };
        let etag = before.as_ref().map(|(_, etag)| etag.as_str());
        let etag = self.write_lease(&info, etag).await?;
        let (good_until, _) = watch::channel(Some(asked + ttl));
        let shared = Arc::new(Shared {
            ledger: self.clone(),
            ttl,
            life_ms: AtomicU64::new(in_ms(ttl)),
            stop: Notify::new(),
            current: tokio::sync::Mutex::new((info, etag)),
            good_until,
        });
        let heartbeat = Heartbeat(Some(tokio::spawn(beat(Arc::clone(&shared)))));
        Ok(Lease { shared, heartbeat, interrupted, epoch })
    }

    /// The live lease, whoever holds it; none where it is free.
    pub async fn holder(&self) -> Result<Option<LeaseInfo>, StoreError> {
        let lease = self.read_lease().await?.map(|(info, _)| info);
        Ok(lease.filter(|info| info.is_live(self.clock.now())))
    }

    /// Lets the lease of a deployment expire that nobody renews: its command died while it covered the lease. Watches it
    /// for `silence`, which is several heartbeats; false if it is renewed meanwhile, or nobody's.
    ///
    /// Only for a caller who knows that CloudFormation does not change the stack.
    pub async fn expire_abandoned(&self, silence: Duration) -> Result<bool, LeaseError> {
        let read = async || {
            let lease = self.read_lease().await?;
            let of_deployment = |info: &LeaseInfo| info.purpose == Purpose::Deployment;
            Ok::<_, StoreError>(lease.filter(|(info, _)| of_deployment(info) && info.is_live(self.clock.now())))
        };
        let Some((held, etag)) = read().await? else { return Ok(false) };
        let until = Instant::now() + silence;
        while Instant::now() < until {
            tokio::time::sleep(WATCH_PAUSE).await;
            match read().await? {
                Some((_, now)) if now == etag => {}
                _ => return Ok(false),
            }
        }
        // Not released: whoever takes it next has to know of the runs that it remembers.
        let expired = LeaseInfo { expires: Timestamp::UNIX_EPOCH, ..held };
        self.write_lease(&expired, Some(&etag)).await.map(|_| true)
    }

    /// Whether it can be taken now, and nobody who held it left a run behind that has to be put right.
    pub async fn is_free(&self) -> Result<bool, StoreError> {
        let lease = self.read_lease().await?;
        Ok(lease.is_none_or(|(info, _)| !info.is_live(self.clock.now()) && remember(&info).is_empty()))
    }

    async fn read_lease(&self) -> Result<Option<(LeaseInfo, String)>, StoreError> {
        let Some(object) = self.store.get(keys::LOCK).await? else {
            return Ok(None);
        };
        let info = serde_json::from_slice(&object.body).map_err(|error| StoreError::Unavailable {
            doing: "understand",
            key: keys::LOCK.to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Some((info, object.etag)))
    }

    /// Writes the lease where it is still in version `etag`; finds out where the answer was lost.
    async fn write_lease(&self, info: &LeaseInfo, etag: Option<&str>) -> Result<String, LeaseError> {
        let body = serde_json::to_vec_pretty(info).map_err(|error| StoreError::Unavailable {
            doing: "write",
            key: keys::LOCK.to_owned(),
            cause: error.to_string(),
        })?;
        let when = etag.map_or(When::Absent, When::Unchanged);
        let error = match self.store.put(keys::LOCK, body, when).await {
            Ok(etag) => return Ok(etag),
            Err(error) => error,
        };
        match self.read_lease().await? {
            Some((stored, etag)) if stored == *info => Ok(etag),
            Some((stored, _)) if stored.writer != info.writer && stored.is_live(self.clock.now()) => {
                Err(LeaseError::Held(Box::new(stored)))
            }
            _ => Err(error.into()),
        }
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The interrupted holders after `old` is taken over.
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

    /// Number of this lease: greater than that of every lease before.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long the lease certainly still holds; zero once it is lost.
    pub fn remaining(&self) -> Duration {
        let until = *self.shared.good_until.borrow();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Watches the lease: `None` once it is lost, that is taken over or not renewed in time.
    pub fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.shared.good_until.subscribe()
    }

    /// Renews the lease now, so that it holds for its whole life again.
    pub async fn renew(&self) -> Result<(), LeaseError> {
        self.shared.renew().await
    }

    /// Lets this renewal and every one after it hold for `life`, so that the lease outlives a holder that dies while what
    /// it began goes on by itself. An error if the lease is lost or cannot be written.
    pub async fn cover(&self, life: Duration) -> Result<(), LeaseError> {
        self.shared.life_ms.store(in_ms(life), Ordering::Relaxed);
        self.shared.renew().await
    }

    /// Writes the lease once more, to hold for `life`, and ends the heartbeat. After that nothing is written until
    /// [`Lease::release`]: for a holder that deletes the ledger, which a heartbeat would make again. An error if the lease
    /// is lost; the heartbeat is ended all the same.
    pub async fn freeze(&mut self, life: Duration) -> Result<(), LeaseError> {
        self.end_heartbeat().await;
        self.shared.extend(life).await
    }

    /// Gives the lease back and ends the heartbeat. If its object is gone, there is nothing to give back.
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

    /// Writes the lease, to hold for `life` from now on.
    async fn extend(&self, life: Duration) -> Result<(), LeaseError> {
        let mut current = self.current.lock().await;
        let asked = Instant::now();
        let renewed = LeaseInfo { expires: later(self.ledger.clock.at(asked), life), ..current.0.clone() };
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

    /// Writes; if an earlier write of ours landed whose answer was lost, writes over that. An object that is gone was
    /// deleted by somebody, and is not made again.
    async fn write(&self, info: &LeaseInfo, etag: &str) -> Result<String, LeaseError> {
        match self.ledger.write_lease(info, Some(etag)).await {
            Err(LeaseError::Store(StoreError::Conflict { .. })) => match self.ledger.read_lease().await? {
                Some((stored, etag)) if stored.writer == info.writer => {
                    self.ledger.write_lease(info, Some(&etag)).await
                }
                Some((stored, _)) => Err(LeaseError::Held(Box::new(stored))),
                None => Err(LeaseError::Gone),
            },
            other => other,
        }
    }
}

/// Renews until told to stop, or until the lease is lost.
async fn beat<S: ObjectStore>(shared: Arc<Shared<S>>) {
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
