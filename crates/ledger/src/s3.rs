//! The store of the ledger in an S3 bucket. Must not know what the objects mean.

use super::store::{Keys, LARGEST, Listed, Object, ObjectStore, Read, StoreError, When};
use aws::OnlyPermitted;
use aws::error_text;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Timeout of one attempt. Objects have a few kilobytes, and a heartbeat must not wait for a dead connection.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of one call with all its attempts: well below the time to live of a lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Attempts to read an object whose body does not arrive completely.
const READS: u32 = 3;
/// Attempts of a write while another conditional write is in progress.
const WRITES: u32 = 5;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// The problem of a response that cannot come from S3, which returns the version in each response
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>).
const NO_VERSION: &str = "the response has no version of the object (ETag)";
/// Maximum pages of a list, each of at most 1,000 keys
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
const PAGES: u32 = 100;
/// Keys of one page if only a few are needed.
const FEW: i32 = 100;

/// An S3 client with path-style requests. AWS supports them for every bucket, and so does an endpoint whose host name
/// has no subdomains (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>).
pub fn s3_client(config: &SdkConfig) -> Client {
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    Client::from_conf(config.build())
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    owner: Option<String>,
}

/// Reads the time of a response. S3 returns it in every response (`Date`,
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTCommonResponseHeaders.html>), by the clock that also determines
/// when an object was last written. The output types of the SDK do not have it.
#[derive(Clone, Debug, Default)]
struct Dated(Arc<Mutex<Option<Timestamp>>>);

impl Dated {
    fn time(&self) -> Option<Timestamp> {
        // Nothing panics while it holds the mutex.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Dated {
    fn name(&self) -> &'static str {
        "Dated"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.and_then(time);
        Ok(())
    }
}

fn time(time: DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

impl S3Store {
    /// This bucket, in this account if the account is known: a bucket with this name in another account is neither read
    /// nor written (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html>).
    pub fn new(config: &SdkConfig, bucket: &str, owner: Option<&str>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(true)
            .timeout_config(timeouts)
            .interceptor(OnlyPermitted);
        Self { client: Client::from_conf(config.build()), bucket: bucket.to_owned(), owner: owner.map(str::to_owned) }
    }

    fn unavailable(&self, doing: &'static str, key: &str, cause: String) -> StoreError {
        StoreError::Unavailable { doing, key: format!("s3://{}/{key}", self.bucket), cause }
    }

    async fn get_once(&self, key: &str) -> Result<Read, Trouble> {
        let request = self.client.get_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        let dated = Dated::default();
        let answer = request.key(key).customize().interceptor(dated.clone()).send().await;
        let read = |object| match dated.time() {
            Some(at) => Ok(Read { object, at }),
            None => Err(Trouble::Lasting("the response has no time (Date)".to_owned())),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(SdkError::ServiceError(error)) if matches!(error.err(), GetObjectError::NoSuchKey(_)) => {
                return read(None);
            }
            Err(error) => return Err(Trouble::Lasting(error_text(&error))),
        };
        let Some(modified) = answer.last_modified.and_then(time) else {
            return Err(Trouble::Lasting("the response has no time of the last write (Last-Modified)".to_owned()));
        };
        let Some(etag) = answer.e_tag else { return Err(Trouble::Lasting(NO_VERSION.to_owned())) };
        let body = timeout(ATTEMPT_TIMEOUT, whole(answer.body)).await;
        match body.unwrap_or(Err("the body did not arrive in time")) {
            Ok(Some(body)) => read(Some(Object { body, etag, modified })),
            Ok(None) => Err(Trouble::TooLarge(etag)),
            Err(cause) => Err(Trouble::Passing(cause)),
        }
    }
}

/// Why an object was not read.
enum Trouble {
    /// The next read may succeed.
    Passing(&'static str),
    /// The SDK has already retried, or a retry cannot succeed.
    Lasting(String),
    /// This version is larger than the limit for reading.
    TooLarge(String),
}

/// A complete body; `None` if it is larger than [`LARGEST`]. The SDK's error for a truncated body is replaced by one
/// for people.
async fn whole(mut stream: ByteStream) -> Result<Option<Vec<u8>>, &'static str> {
    let mut body = Vec::new();
    while let Some(part) = stream.next().await {
        body.extend_from_slice(&part.map_err(|_| "the body did not arrive completely")?);
        if body.len() > LARGEST {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

impl ObjectStore for S3Store {
    async fn get(&self, key: &str) -> Result<Read, StoreError> {
        let mut reads = 1;
        loop {
            match self.get_once(key).await {
                Ok(read) => return Ok(read),
                Err(Trouble::Passing(_)) if reads < READS => {}
                Err(Trouble::Passing(cause)) => return Err(self.unavailable("read", key, cause.to_owned())),
                Err(Trouble::Lasting(cause)) => return Err(self.unavailable("read", key, cause)),
                Err(Trouble::TooLarge(etag)) => return Err(StoreError::too_large(key, etag)),
            }
            reads += 1;
            sleep(PAUSE).await;
        }
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        let mut writes = 1;
        loop {
            let request =
                self.client.put_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone()).key(key);
            let request = match when {
                When::Absent => request.if_none_match("*"),
                When::Unchanged(etag) => request.if_match(etag),
            };
            let request = request.content_type("application/json").body(ByteStream::from(body.clone()));
            let error = match request.send().await {
                // Without a version, the response does not come from S3, and perhaps nothing was written: the caller
                // reads the object.
                Ok(answer) => {
                    let no_version = || self.unavailable("write", key, NO_VERSION.to_owned());
                    return answer.e_tag.ok_or_else(no_version);
                }
                Err(error) => error,
            };
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            match (error.raw_response().map(|response| response.status().as_u16()), when) {
                // Another conditional write is in progress: the next attempt shows whether the condition holds.
                (Some(409), _) if writes < WRITES => sleep(PAUSE * writes).await,
                // The condition does not hold, or the object that should be unchanged is gone. (A missing bucket is a
                // 404 too, but then the object could not have been read.)
                (Some(412), _) | (Some(404), When::Unchanged(_)) => {
                    return Err(StoreError::Conflict { key: key.to_owned() });
                }
                _ => return Err(self.unavailable("write", key, error_text(&error))),
            }
            writes += 1;
        }
    }

    async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        let request = request.prefix(keys.prefix).set_start_after(keys.after.map(str::to_owned));
        // Keys before a given one are few, and S3 has no parameter for the last key.
        let request = request.set_max_keys(keys.before.map(|_| FEW));
        let mut pages = request.into_paginator().send();
        let mut listed = Vec::new();
        let mut read = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.unavailable("list", keys.prefix, error_text(&error)))?;
            let found = page.contents.unwrap_or_default();
            let ended = keys.before.zip(found.last()).is_some_and(|(before, last)| last.key() >= Some(before));
            listed.extend(found.into_iter().filter_map(|object| {
                let key = object.key.filter(|key| keys.include(key))?;
                Some(Listed { key, modified: object.last_modified.and_then(time).unwrap_or_default() })
            }));
            read += 1;
            if ended {
                break;
            }
            if read == PAGES && page.is_truncated == Some(true) {
                let cause = format!("there are more than {PAGES} pages of objects, the limit for reading");
                return Err(self.unavailable("list", keys.prefix, cause));
            }
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests;
