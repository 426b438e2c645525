//! Releases: what was deployed to an environment, image and configuration, under one number, with one record each in the
//! stack's bucket. A deployment that failed keeps its number and its record. Must not know how a stack is updated.

use jiff::Timestamp;
use ledger::{Keys, ObjectStore, S3Store, StoreError, When};
use model::color::Color;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// The prefix of the records in the bucket.
pub const PREFIX: &str = "releases/";
/// The version of the record's format.
const SCHEMA: u32 = 1;
/// Numbers that are tried for a new release: those that failed before it have records too.
const TRIES: u64 = 1000;

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseOutcome {
    /// Its environment runs it, or ran it until the next one.
    Deployed,
    /// It did not come up, and its environment runs what it ran before.
    RolledBack,
    /// It did not come up, and its environment may run anything.
    Failed,
}

impl ReleaseOutcome {
    /// The outcome as people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
        }
    }
}

/// The record of a release. Stable: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// The version of this format.
    pub schema: u32,
    /// Its number: each of a stack is used once, and they rise.
    pub number: u64,
    /// Tells two attempts at one number apart.
    pub id: String,
    /// The environment that it was deployed to.
    pub color: Color,
    /// The label of its version.
    pub version: String,
    /// Its image, by digest.
    pub image: String,
    /// The settings that it was made with. Secrets are in it by reference only.
    pub settings: Value,
    /// Who deployed it, as far as known.
    pub by: String,
    /// The version of this command.
    pub tool: String,
    /// When its deployment began.
    pub began: Timestamp,
    /// When it ended; null while it is in progress or if it was interrupted.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<ReleaseOutcome>,
    /// Why it did not come up.
    pub reason: Option<String>,
}

/// What is known of a release when its deployment begins.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRelease {
    /// The environment that it is deployed to.
    pub color: Color,
    /// The label of its version.
    pub version: String,
    /// Its image, by digest.
    pub image: String,
    /// The settings that it is made with.
    pub settings: Value,
    /// Who deploys it.
    pub by: String,
}

/// The records of a stack's releases.
#[derive(Clone, Debug)]
pub struct ReleaseLedger<S = S3Store> {
    store: S,
}

impl ReleaseLedger {
    /// The records in this bucket of this account.
    pub fn in_bucket(config: &aws_config::SdkConfig, bucket: &str, owner: Option<&str>) -> Self {
        Self { store: S3Store::new(config, bucket, owner) }
    }
}

fn key(number: u64) -> String {
    format!("{PREFIX}{number:06}.json")
}

impl<S: ObjectStore> ReleaseLedger<S> {
    /// The first number above `after` that no release has. Only the holder of the lease takes it.
    pub async fn next(&self, after: u64) -> Result<u64> {
        for number in after + 1..=after + TRIES {
            if self.store.get(&key(number)).await?.object.is_none() {
                return Ok(number);
            }
        }
        Err(Error::NoFreeNumber { first: after + 1, last: after + TRIES })
    }

    /// Records that the deployment of a release begins, under a number that no release has.
    pub async fn begin(&self, number: u64, release: NewRelease) -> Result<ReleaseRecord> {
        let NewRelease { color, version, image, settings, by } = release;
        let record = ReleaseRecord {
            schema: SCHEMA,
            number,
            id: uuid::Uuid::now_v7().to_string(),
            color,
            version,
            image,
            settings,
            by,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            began: Timestamp::now(),
            ended: None,
            outcome: None,
            reason: None,
        };
        match self.store.put(&key(number), body(&record)?, When::Absent).await {
            Ok(_) => Ok(record),
            // Ours, if the answer to an earlier attempt was lost.
            Err(_) if self.load(number).await?.is_some_and(|found| found.id == record.id) => Ok(record),
            Err(StoreError::Conflict { .. }) => Err(Error::NumberTaken { number }),
            Err(error) => Err(error.into()),
        }
    }

    /// Records how a release ended.
    pub async fn end(&self, mut record: ReleaseRecord, outcome: ReleaseOutcome, reason: Option<String>) -> Result<()> {
        let key = key(record.number);
        record.ended = Some(Timestamp::now());
        record.outcome = Some(outcome);
        record.reason = reason;
        let Some(found) = self.store.get(&key).await?.object else {
            return Err(Error::RecordDeleted { number: record.number });
        };
        match self.store.put(&key, body(&record)?, When::Unchanged(&found.etag)).await {
            Ok(_) => Ok(()),
            Err(_) if self.load(record.number).await?.as_ref() == Some(&record) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The record of a release, if there is one.
    pub async fn load(&self, number: u64) -> Result<Option<ReleaseRecord>> {
        let Some(object) = self.store.get(&key(number)).await?.object else { return Ok(None) };
        let record = serde_json::from_slice(&object.body);
        record.map(Some).map_err(|source| Error::RecordUnreadable { number, source })
    }

    /// The settings in which two releases differ, by name; nothing if one of them has no record.
    pub async fn changed(&self, old: u64, new: u64) -> Result<Option<Vec<String>>> {
        let (old, new) = tokio::try_join!(self.load(old), self.load(new))?;
        Ok(old.zip(new).map(|(old, new)| changed_settings(&old.settings, &new.settings)))
    }

    /// The settings in which a release differs from the one before it; nothing if one of them has no record.
    pub async fn changed_by(&self, number: Option<u64>) -> Result<Option<Vec<String>>> {
        match number.and_then(|number| Some((number.checked_sub(1)?, number))) {
            Some((before, number)) => self.changed(before, number).await,
            None => Ok(None),
        }
    }

    /// The newest records, newest first, at most `limit`.
    pub async fn list(&self, limit: usize) -> Result<Vec<ReleaseRecord>> {
        let listed = self.store.list(Keys::below(PREFIX)).await?;
        let number = |key: &str| key.strip_prefix(PREFIX)?.strip_suffix(".json")?.parse::<u64>().ok();
        let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.key)).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        numbers.truncate(limit);
        let records = numbers.into_iter().map(|number| self.load(number));
        Ok(futures_util::future::try_join_all(records).await?.into_iter().flatten().collect())
    }
}

fn body(record: &ReleaseRecord) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record).map_err(Error::RecordUnwritable)
}

/// The settings that differ between two releases, by dotted name. Names only: a value may be long, or private.
pub fn changed_settings(before: &Value, after: &Value) -> Vec<String> {
    fn walk(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
        let (Value::Object(old), Value::Object(new)) = (before, after) else {
            if before != after {
                found.push(path.to_owned());
            }
            return;
        };
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
            let (old, new) = (value(old), value(new));
            // A table that one of them lacks is listed key by key.
            let empty = Value::Object(serde_json::Map::new());
            match (&old, &new) {
                (Value::Null, Value::Object(_)) => walk(&path, &empty, &new, found),
                (Value::Object(_), Value::Null) => walk(&path, &old, &empty, found),
                _ => walk(&path, &old, &new, found),
            }
        }
    }
    let mut found = Vec::new();
    walk("", before, after, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use ledger::MemoryStore;
    use serde_json::json;

    use super::*;

    fn new(version: &str) -> NewRelease {
        NewRelease {
            color: Color::Blue,
            version: version.to_owned(),
            image: format!("app@sha256:{version}"),
            settings: json!({ "app": { "port": 8080 } }),
            by: "ada".to_owned(),
        }
    }

    #[tokio::test]
    async fn numbers_rise_and_a_release_that_failed_keeps_its_own() {
        let ledger = ReleaseLedger { store: MemoryStore::default() };
        let begin = async |after, version| ledger.begin(ledger.next(after).await.unwrap(), new(version)).await;
        let first = begin(0, "1").await.unwrap();
        ledger.end(first, ReleaseOutcome::Deployed, None).await.unwrap();
        let second = begin(1, "2").await.unwrap();
        ledger.end(second, ReleaseOutcome::RolledBack, Some("it exits".to_owned())).await.unwrap();
        // The environment runs release 1 still.
        let third = begin(1, "3").await.unwrap();
        assert_eq!(third.number, 3);
        assert!(ledger.begin(3, new("4")).await.is_err(), "a number is used once");
        let listed = ledger.list(10).await.unwrap();
        let reported: Vec<_> = listed.iter().map(|it| (it.number, it.outcome)).collect();
        let expected = [(3, None), (2, Some(ReleaseOutcome::RolledBack)), (1, Some(ReleaseOutcome::Deployed))];
        assert_eq!(reported, expected);
        assert_eq!(listed[1].reason.as_deref(), Some("it exits"));
        assert_eq!(ledger.list(1).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_no_record_is_left_alone_and_what_is_garbled_is_an_error() {
        let ledger = ReleaseLedger { store: MemoryStore::default() };
        ledger.store.put("releases/readme.txt", b"x".to_vec(), When::Absent).await.unwrap();
        assert_eq!(ledger.list(10).await.unwrap(), []);
        ledger.store.put(&key(7), b"{".to_vec(), When::Absent).await.unwrap();
        assert!(matches!(ledger.list(10).await, Err(Error::RecordUnreadable { number: 7, .. })));
    }

    #[test]
    fn settings_that_changed_are_named_and_their_values_are_not() {
        let before = json!({ "app": { "port": 8080 }, "environment": { "DB_URL": "one", "OLD": "x" } });
        let after = json!({ "app": { "port": 9090 }, "environment": { "DB_URL": "two" }, "secrets": { "KEY": "arn" } });
        let changed = changed_settings(&before, &after);
        assert_eq!(changed, ["app.port", "environment.DB_URL", "environment.OLD", "secrets.KEY"]);
        assert!(changed_settings(&before, &before).is_empty());
    }
}
