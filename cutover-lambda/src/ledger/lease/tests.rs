//! A lease whose object is deleted while it is held, and one whose holder writes no more.

use super::*;
use crate::clock::Clock;
use crate::ledger::store::{Listed, MemoryStore, Object};
use std::sync::atomic::{AtomicBool, Ordering};

const TTL: Duration = Duration::from_secs(30);

/// A store from which everything can be deleted.
#[derive(Debug, Default)]
struct Bucket {
    objects: MemoryStore,
    emptied: AtomicBool,
}

impl ObjectStore for Bucket {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        if self.emptied.load(Ordering::Relaxed) { Ok(None) } else { self.objects.get(key).await }
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        if self.emptied.load(Ordering::Relaxed) && matches!(when, When::Unchanged(_)) {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        self.objects.put(key, body, when).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.objects.list(prefix).await
    }
}

async fn held() -> (Arc<Bucket>, Ledger<Bucket>, Lease<Bucket>) {
    let bucket = Arc::new(Bucket::default());
    let ledger = Ledger::new(Arc::clone(&bucket), Clock::system());
    let lease = ledger.acquire(Purpose::Deployment, "deploy-1", TTL).await.unwrap();
    (bucket, ledger, lease)
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_object_is_gone_is_lost_and_not_made_again() {
    let (bucket, _, lease) = held().await;
    bucket.emptied.store(true, Ordering::Relaxed);
    let written = bucket.objects.writes();
    assert_eq!(lease.renew().await, Err(LeaseError::Gone));
    assert_eq!(lease.remaining(), Duration::ZERO);
    tokio::time::sleep(TTL * 2).await;
    assert_eq!(bucket.objects.writes(), written, "nothing is written after that");
    lease.release().await.unwrap();
    assert_eq!(bucket.objects.writes(), written, "there is nothing to give back");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_notices_that_the_object_is_gone() {
    let (bucket, _, lease) = held().await;
    bucket.emptied.store(true, Ordering::Relaxed);
    let mut watch = lease.watch();
    tokio::time::timeout(TTL / 2, watch.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert_eq!(bucket.objects.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_lease_is_held_for_its_life_without_another_write() {
    let (bucket, ledger, mut lease) = held().await;
    lease.freeze(TTL * 10).await.unwrap();
    let written = bucket.objects.writes();
    assert_eq!(lease.remaining(), TTL * 10);
    tokio::time::sleep(TTL * 5).await;
    assert_eq!(bucket.objects.writes(), written, "the heartbeat has ended");
    assert!(matches!(ledger.acquire(Purpose::Deployment, "deploy-2", TTL).await, Err(LeaseError::Held(_))));
    lease.release().await.unwrap();
    ledger.acquire(Purpose::Deployment, "deploy-2", TTL).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_can_be_frozen_twice_and_not_after_it_is_lost() {
    let (bucket, _, mut lease) = held().await;
    lease.freeze(TTL).await.unwrap();
    lease.freeze(TTL).await.unwrap();
    bucket.emptied.store(true, Ordering::Relaxed);
    assert_eq!(lease.freeze(TTL).await, Err(LeaseError::Gone));
    assert_eq!(lease.remaining(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_covered_outlives_its_holder_until_somebody_sees_that_nobody_renews_it() {
    let (_, ledger, lease) = held().await;
    lease.cover(TTL * 60).await.unwrap();
    tokio::time::sleep(TTL * 2).await;
    assert!(!ledger.expire_abandoned(TTL).await.unwrap(), "it is renewed");
    drop(lease);
    tokio::time::sleep(TTL * 2).await;
    assert!(matches!(ledger.acquire(Purpose::Cutover, "run-2", TTL).await, Err(LeaseError::Held(_))));
    assert!(ledger.expire_abandoned(TTL).await.unwrap());
    assert!(!ledger.expire_abandoned(TTL).await.unwrap(), "there is no live lease any more");
    ledger.acquire(Purpose::Cutover, "run-2", TTL).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_its_cover_a_lease_expires_as_ever() {
    let (_, ledger, lease) = held().await;
    lease.cover(TTL * 60).await.unwrap();
    lease.cover(TTL).await.unwrap();
    drop(lease);
    tokio::time::sleep(TTL + SKEW).await;
    ledger.acquire(Purpose::Cutover, "run-2", TTL).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_cutover_is_never_called_abandoned() {
    let (_, ledger, lease) = held().await;
    lease.release().await.unwrap();
    let cutover = ledger.acquire(Purpose::Cutover, "run-1", TTL * 60).await.unwrap();
    drop(cutover);
    assert!(!ledger.expire_abandoned(TTL).await.unwrap());
}
