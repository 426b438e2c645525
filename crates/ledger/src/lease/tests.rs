//! Leases that are lost, covered, frozen, abandoned, broken, or garbled.

use super::*;
use crate::store::{Keys, Listed, MemoryStore, Read};
use aws::clock::Clock;
use jiff::Timestamp;
use model::{Record, Request};
use std::sync::atomic::{AtomicBool, Ordering};

const TTL: Duration = Duration::from_secs(30);

/// A store from which everything can be deleted.
#[derive(Debug, Default)]
struct Bucket {
    objects: MemoryStore,
    emptied: AtomicBool,
}

impl ObjectStore for Bucket {
    async fn get(&self, key: &str) -> Result<Read, StoreError> {
        let read = self.objects.get(key).await?;
        Ok(if self.emptied.load(Ordering::Relaxed) { Read { object: None, ..read } } else { read })
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        if self.emptied.load(Ordering::Relaxed) && matches!(when, When::Unchanged(_)) {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        self.objects.put(key, body, when).await
    }

    async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
        self.objects.list(keys).await
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
    assert_eq!(bucket.objects.writes(), written, "there is nothing to release");
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
    assert!(!ledger.expire_abandoned(TTL).await.unwrap(), "there is no live lease");
    ledger.acquire(Purpose::Cutover, "run-2", TTL).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_its_cover_a_lease_expires_as_ever() {
    let (_, ledger, lease) = held().await;
    lease.cover(TTL * 60).await.unwrap();
    lease.cover(TTL).await.unwrap();
    drop(lease);
    tokio::time::sleep(TTL + MARGIN).await;
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

/// Errors of the clocks of holders and of their successors, in minutes.
const CLOCKS: [i64; 7] = [-120, -15, -1, 0, 1, 15, 120];

fn clock(minutes: i64) -> Clock {
    let right: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    Clock::starting_at(right + jiff::SignedDuration::from_mins(minutes))
}

async fn taken_after(ledger: &Ledger<MemoryStore>) -> Duration {
    let began = Instant::now();
    loop {
        match ledger.acquire(Purpose::Cutover, "next", TTL).await {
            Ok(lease) => {
                lease.release().await.unwrap();
                return began.elapsed();
            }
            Err(LeaseError::Held(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_clocks_say_nobody_steals_shortens_or_prolongs_a_lease() {
    for holders in CLOCKS {
        for others in CLOCKS {
            let store = Arc::new(MemoryStore::default());
            let [mine, other] = [holders, others].map(|minutes| Ledger::new(Arc::clone(&store), clock(minutes)));
            let lease = mine.acquire(Purpose::Deployment, "mine", TTL).await.unwrap();
            for _ in 0..20 {
                tokio::time::sleep(TTL / 5).await;
                let asked = other.acquire(Purpose::Cutover, "other", TTL).await;
                assert!(matches!(asked, Err(LeaseError::Held(_))), "{holders} {others}: stolen: {asked:?}");
                assert!(!lease.remaining().is_zero(), "{holders} {others}: lost");
            }
            drop(lease);
            let free = taken_after(&other).await;
            // The last renewal was up to a heartbeat ago.
            let expected = TTL / HEARTBEATS_PER_TTL * 5..TTL + MARGIN + Duration::from_secs(2);
            assert!(expected.contains(&free), "{holders} {others}: free after {free:?}");
            // Covered, and released.
            let lease = mine.acquire(Purpose::Deployment, "mine", TTL).await.unwrap();
            lease.cover(LONGEST_LIFE).await.unwrap();
            tokio::time::sleep(TTL * 10).await;
            assert!(matches!(other.acquire(Purpose::Cutover, "other", TTL).await, Err(LeaseError::Held(_))));
            lease.release().await.unwrap();
            assert!(taken_after(&other).await.is_zero(), "{holders} {others}: released");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_stops_counting_on_its_lease_before_anybody_can_take_it() {
    let (bucket, ledger, mut lease) = held().await;
    // No more renewals, as in a process that cannot reach the store.
    lease.end_heartbeat().await;
    while !lease.remaining().is_zero() {
        assert!(matches!(ledger.acquire(Purpose::Cutover, "other", TTL).await, Err(LeaseError::Held(_))));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(bucket.objects.writes(), 1);
}

/// Replaces the lease by this text.
async fn written(store: &MemoryStore, text: impl Into<Vec<u8>>) {
    let found = store.get(keys::LOCK).await.map(|read| read.object.map(|object| object.etag));
    let etag = match found {
        Ok(etag) => etag,
        Err(StoreError::Garbled { etag, .. }) => Some(etag),
        Err(error) => panic!("{error}"),
    };
    store.put(keys::LOCK, text.into(), etag.as_deref().map_or(When::Absent, When::Unchanged)).await.unwrap();
}

/// A lease as versions before `life_ms` wrote it.
fn of_an_older_version(purpose: &str, expires: &str) -> String {
    format!(
        r#"{{"holder": "old", "purpose": "{purpose}", "since": "2026-01-31T12:00:00Z", "epoch": 7, "expires": "{expires}",
            "released": false, "interrupted": [], "writer": "w"}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_an_older_version_lives_as_long_as_it_may_have_meant() {
    let store = Arc::new(MemoryStore::default());
    let ledger = Ledger::new(Arc::clone(&store), clock(0));
    for expires in ["2000-01-01T00:00:00Z", "2026-01-31T12:00:30Z", "9999-12-31T23:59:59Z"] {
        written(&store, of_an_older_version("cutover", expires)).await;
        let free = taken_after(&ledger).await;
        assert!((TTL..TTL + MARGIN + Duration::from_secs(2)).contains(&free), "{expires}: {free:?}");
    }
    // The command may have covered the lease.
    written(&store, of_an_older_version("deployment", "2026-01-31T12:00:30Z")).await;
    tokio::time::sleep(TTL * 2).await;
    assert!(matches!(ledger.acquire(Purpose::Cutover, "next", TTL).await, Err(LeaseError::Held(_))));
    assert!(ledger.expire_abandoned(TTL).await.unwrap());
    assert!(taken_after(&ledger).await.is_zero());
    // An older version marked it as ended.
    written(&store, of_an_older_version("deployment", "1970-01-01T00:00:00Z")).await;
    assert!(taken_after(&ledger).await.is_zero());
}

#[tokio::test(start_paused = true)]
async fn an_older_version_finds_in_a_lease_what_it_knows() {
    let store = Arc::new(MemoryStore::default());
    let ledger = Ledger::new(Arc::clone(&store), clock(0));
    let _lease = ledger.acquire(Purpose::Deployment, "new", TTL).await.unwrap();
    let object = store.get(keys::LOCK).await.unwrap().object.unwrap();
    let written: serde_json::Value = serde_json::from_slice(&object.body).unwrap();
    assert_eq!(written["expires"], "2026-01-31T12:00:30Z");
    for field in ["holder", "purpose", "since", "epoch", "released", "interrupted", "writer"] {
        assert!(!written[field].is_null(), "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn absurd_values_neither_panic_nor_block_for_ever() {
    let store = Arc::new(MemoryStore::default());
    let ledger = Ledger::new(Arc::clone(&store), clock(0));
    let absurd = of_an_older_version("cutover", "9999-12-31T23:59:59Z")
        .replace(r#""epoch": 7"#, &format!(r#""epoch": {}, "life_ms": {}"#, u64::MAX, u64::MAX))
        .replace("2026-01-31T12:00:00Z", "never");
    written(&store, absurd).await;
    assert!(ledger.holder().await.unwrap().unwrap().left() <= LONGEST_LIFE + MARGIN);
    tokio::time::sleep(LONGEST_LIFE + MARGIN).await;
    let lease = ledger.acquire(Purpose::Cutover, "next", Duration::MAX).await.unwrap();
    assert_eq!((lease.epoch(), lease.interrupted()), (u64::MAX, &["old".to_owned()][..]));
    assert_eq!(lease.remaining(), LONGEST_LIFE);
    lease.renew().await.unwrap();
    lease.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_garbled_lease_names_its_object_and_the_way_out_and_is_made_anew() {
    for garbage in [Vec::new(), b"{".to_vec(), b"\xff\xfe".to_vec(), b"[]".to_vec(), vec![b' '; 2 << 20]] {
        let store = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(Arc::clone(&store), clock(0));
        let mut record = Record::begin("unfinished".to_owned(), Request::default(), clock(0).now(), "w".to_owned());
        record.epoch = u64::MAX;
        ledger.create().save(&record).await.unwrap();
        written(&store, garbage.clone()).await;
        let Err(error) = ledger.acquire(Purpose::Deployment, "a", TTL).await else { panic!("it was taken") };
        let said = error.to_string();
        assert!(said.contains("cutover/lock.json") && said.contains("bluegreen unlock"), "{said}");
        let Err(StoreError::Garbled { etag, .. }) = ledger.holder().await else { panic!("it was understood") };
        assert_eq!(ledger.mend_lease(&etag).await.unwrap(), ["unfinished"]);
        assert!(ledger.mend_lease(&etag).await.is_err(), "it is another version now");
        assert!(ledger.holder().await.unwrap().is_none());
        // The interrupted runs were lost. The new lease remembers the run, with an epoch that is not lower than the
        // run's.
        let refused = ledger.acquire(Purpose::Deployment, "a", TTL).await;
        assert!(matches!(&refused, Err(LeaseError::Interrupted(runs)) if runs == &["unfinished"]), "{refused:?}");
        let lease = ledger.acquire(Purpose::Cutover, "b", TTL).await.unwrap();
        assert!(ledger.adopt("unfinished", "other", lease.epoch()).await.unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_garbled_on_its_way_is_read_again() {
    #[derive(Default)]
    struct Noisy(MemoryStore, std::sync::atomic::AtomicU32);
    impl ObjectStore for Noisy {
        async fn get(&self, key: &str) -> Result<Read, StoreError> {
            let mut read = self.0.get(key).await?;
            if let Some(object) = &mut read.object
                && self.1.fetch_add(1, Ordering::Relaxed) % 3 < 2
            {
                object.body.truncate(object.body.len() / 2);
            }
            Ok(read)
        }

        async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
            self.0.put(key, body, when).await
        }

        async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
            self.0.list(keys).await
        }
    }
    let ledger = Ledger::new(Arc::new(Noisy::default()), clock(0));
    let lease = ledger.acquire(Purpose::Cutover, "a", TTL).await.unwrap();
    assert_eq!(ledger.holder().await.unwrap().unwrap().info.holder, "a");
    lease.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_must_not_go_on_after_an_interrupted_run_does_not_take_its_lease() {
    let store = Arc::new(MemoryStore::default());
    let ledger = Ledger::new(Arc::clone(&store), clock(0));
    drop(ledger.acquire(Purpose::Cutover, "killed", TTL).await.unwrap());
    tokio::time::sleep(TTL + MARGIN).await;
    let written = store.writes();
    for purpose in [Purpose::Deployment, Purpose::Sleep] {
        let refused = ledger.acquire(purpose, "refused", TTL).await;
        assert!(matches!(&refused, Err(LeaseError::Interrupted(runs)) if runs == &["killed"]), "{refused:?}");
    }
    assert_eq!(store.writes(), written, "the lease is unchanged");
    let lease = ledger.acquire(Purpose::Cutover, "next", TTL).await.unwrap();
    assert_eq!(lease.interrupted(), ["killed"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_broken_is_lost_to_its_holder_and_its_run_is_remembered() {
    let store = Arc::new(MemoryStore::default());
    let ledger = Ledger::new(Arc::clone(&store), clock(0));
    let lease = ledger.acquire(Purpose::Cutover, "run", TTL).await.unwrap();
    let holder = ledger.holder().await.unwrap().unwrap();
    assert!(ledger.is_renewed(&holder, TTL).await.unwrap(), "it is renewed");
    assert!(ledger.break_lease(&holder).await.is_err(), "it was renewed since");
    let holder = ledger.holder().await.unwrap().unwrap();
    assert_eq!(ledger.break_lease(&holder).await.unwrap(), ["run"]);
    assert!(ledger.holder().await.unwrap().is_none());
    assert!(lease.renew().await.is_err());
    assert!(lease.remaining().is_zero());
    let refused = ledger.acquire(Purpose::Deployment, "next", TTL).await;
    assert!(matches!(&refused, Err(LeaseError::Interrupted(runs)) if runs == &["run"]), "{refused:?}");
    let next = ledger.acquire(Purpose::Cutover, "next", TTL).await.unwrap();
    assert_eq!(next.interrupted(), ["run"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_process_is_gone_is_free_at_once_for_others_on_its_machine() {
    let store = Arc::new(MemoryStore::default());
    let here = Process::current().unwrap();
    let gone = Process { pid: u32::MAX, ..here.clone() };
    let elsewhere = Process { place: "elsewhere".to_owned(), ..gone.clone() };
    let other = Ledger::new(Arc::clone(&store), clock(0));
    for (process, free) in [(Some(gone), true), (Some(here), false), (Some(elsewhere), false), (None, false)] {
        let ledger = Ledger::new(Arc::clone(&store), clock(0)).of_process(process.clone());
        drop(ledger.acquire(Purpose::Deployment, "dead", TTL).await.unwrap());
        let holder = other.holder().await.unwrap().unwrap();
        assert_eq!(other.expire_gone(&holder).await.unwrap(), free, "{process:?}");
        assert_eq!(other.holder().await.unwrap().is_none(), free, "{process:?}");
        tokio::time::sleep(TTL + MARGIN).await;
    }
}
