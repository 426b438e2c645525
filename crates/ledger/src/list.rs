//! Finds the newest records. Ids that this product creates begin with their time, so listing a history of years costs
//! no more than listing its last weeks. Must know nothing of a record except when it began.

use super::store::{Keys, Listed, ObjectStore};
use super::{Ledger, RecordError};
use aws::clock::Clock;
use model::Record;
use model::keys;
use std::time::Duration;

/// The period that is listed first.
const RECENT: Duration = Duration::from_hours(35 * 24);
/// The prefix of ids from mid-2024, before this project: ids below it were not created by this product.
const FIRST: &str = "0190";

impl<S: ObjectStore> Ledger<S> {
    /// The newest records, newest first, `limit` at most. A record that cannot be read (a newer format) is left out.
    ///
    /// An id that this product creates is a UUID of version 7, which begins with its time: the ids of the last 35 days
    /// are a contiguous range of keys. An id that a caller chose can be anywhere, so the keys after this range and the
    /// keys before all times are listed too, one page for every thousand of them. Only if these are fewer than `limit`,
    /// everything is listed.
    pub async fn list(&self, limit: usize) -> Result<Vec<Record>, RecordError> {
        let mut listed = self.newest(limit).await?;
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

    async fn newest(&self, limit: usize) -> Result<Vec<Listed>, RecordError> {
        let all = Keys::below(keys::RUNS);
        let recent = format!("{}{}", keys::RUNS, first_id_of(&self.clock));
        let mut listed = self.store.list(Keys { after: Some(&recent), ..all }).await?;
        if listed.len() < limit {
            return Ok(self.store.list(all).await?);
        }
        let first = format!("{}{FIRST}", keys::RUNS);
        listed.extend(self.store.list(Keys { before: Some(&first), ..all }).await?);
        Ok(listed)
    }
}

/// The prefix of ids that were created at the beginning of the recent period
/// (<https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7>: 48 bits of milliseconds). If the clock is behind,
/// more than necessary is listed. S3 rejects requests if the clock differs by more than 15 minutes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, `RequestTimeTooSkewed`).
fn first_id_of(clock: &Clock) -> String {
    let recent = i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
    let digits = format!("{:012x}", clock.now().as_millisecond().saturating_sub(recent).max(0));
    let (high, low) = digits.split_at(8.min(digits.len()));
    format!("{high}-{low}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Read, StoreError, When};
    use jiff::Timestamp;
    use model::Request;
    use model::time::later;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts the objects that are listed.
    #[derive(Default)]
    struct Counting(MemoryStore, AtomicUsize);

    impl ObjectStore for Counting {
        async fn get(&self, key: &str) -> Result<Read, StoreError> {
            self.0.get(key).await
        }

        async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
            self.0.put(key, body, when).await
        }

        async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
            let listed = self.0.list(keys).await?;
            self.1.fetch_add(listed.len(), Ordering::Relaxed);
            Ok(listed)
        }
    }

    const DAY: Duration = Duration::from_hours(24);

    fn uuid(time: Timestamp) -> String {
        let seconds = u64::try_from(time.as_second()).unwrap();
        uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0)).to_string()
    }

    /// A ledger with one run per day for `days` days, and runs with ids chosen by a caller before and after all of
    /// them.
    async fn history(days: u32) -> Ledger<Counting> {
        let began: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let ledger = Ledger::new(Arc::new(Counting::default()), Clock::starting_at(later(began, DAY * days)));
        let write = async |id: String, at| {
            let record = Record::begin(id, Request::default(), at, String::new());
            ledger.create().save(&record).await.unwrap();
            // So that each is written in a different second.
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        for day in 0..days {
            write(uuid(later(began, DAY * day)), later(began, DAY * day)).await;
        }
        write("0-mine".to_owned(), later(began, DAY * days)).await;
        write("release-7".to_owned(), later(began, DAY * (days + 1))).await;
        ledger
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_of_years_costs_its_last_weeks() {
        let ledger = history(1000).await;
        let records = ledger.list(10).await.unwrap();
        assert_eq!(records.len(), 10);
        assert_eq!([&records[0].id, &records[1].id], ["release-7", "0-mine"], "ids chosen by a caller are found");
        assert!(records.is_sorted_by_key(|record| std::cmp::Reverse(record.started)));
        let listed = ledger.store.1.load(Ordering::Relaxed);
        assert!((35..40).contains(&listed), "{listed} objects were listed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_further_back_is_found_where_it_is_asked_for() {
        let ledger = history(100).await;
        assert_eq!(ledger.list(60).await.unwrap().len(), 60);
        assert_eq!(ledger.list(usize::MAX).await.unwrap().len(), 102);
        let quiet = Clock::starting_at("2036-01-31T12:00:00Z".parse().unwrap());
        let quiet = Ledger::new(Arc::clone(&ledger.store), quiet);
        assert_eq!(quiet.list(3).await.unwrap().len(), 3, "nothing ran for ten years");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_silent_for_long_reads_as_interrupted() {
        let ledger = Ledger::new(Arc::new(MemoryStore::default()), Clock::system());
        let mut record = Record::begin("run".to_owned(), Request::default(), Timestamp::MAX, String::new());
        let mut writer = ledger.create();
        for _ in 0..3 {
            tokio::time::sleep(crate::SILENCE / 2).await;
            writer.save(&record).await.unwrap();
            assert_eq!(ledger.latest().await.unwrap().unwrap().state(), "running");
        }
        tokio::time::sleep(crate::SILENCE).await;
        assert_eq!(ledger.load("run").await.unwrap().unwrap().state(), "interrupted");
        assert_eq!(ledger.latest().await.unwrap().unwrap().state(), "interrupted");
        record.outcome = Some(model::Outcome::Done);
        writer.save(&record).await.unwrap();
        tokio::time::sleep(crate::SILENCE).await;
        assert_eq!(ledger.latest().await.unwrap().unwrap().state(), "done");
    }
}
