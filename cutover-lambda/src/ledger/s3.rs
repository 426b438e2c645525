//! The ledger's store in an S3 bucket. Must not know what the objects mean.

use super::store::{Listed, Object, ObjectStore, StoreError, When};
use crate::calls::OnlyListed;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::timeout::TimeoutConfig;
use std::time::Duration;

/// Longest time for one attempt. The objects are a few kilobytes, and a heartbeat must not wait for a dead connection.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for one call with all its attempts: well below a lease's time to live.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// An S3 client that names the bucket in the path. AWS answers that for every bucket, and so does an endpoint
/// whose host name has no subdomains.
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

impl S3Store {
    /// This bucket of this account, if the account is known: a bucket of that name in another one is neither read nor
    /// written (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html>).
    pub fn new(config: &SdkConfig, bucket: &str, owner: Option<&str>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(true)
            .timeout_config(timeouts)
            .interceptor(OnlyListed);
        Self { client: Client::from_conf(config.build()), bucket: bucket.to_owned(), owner: owner.map(str::to_owned) }
    }

    fn unavailable(&self, doing: &'static str, key: &str, error: impl std::error::Error) -> StoreError {
        StoreError::Unavailable {
            doing,
            key: format!("s3://{}/{key}", self.bucket),
            cause: DisplayErrorContext(error).to_string(),
        }
    }
}

impl ObjectStore for S3Store {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        let answer = match request.key(key).send().await {
            Ok(answer) => answer,
            Err(SdkError::ServiceError(error)) if matches!(error.err(), GetObjectError::NoSuchKey(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(self.unavailable("read", key, error)),
        };
        let etag = answer.e_tag.unwrap_or_default();
        let body = answer.body.collect().await;
        let body = body.map_err(|error| self.unavailable("read", key, error))?.to_vec();
        Ok(Some(Object { body, etag }))
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        let request =
            self.client.put_object().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone()).key(key);
        let request = match when {
            When::Absent => request.if_none_match("*"),
            When::Unchanged(etag) => request.if_match(etag),
        };
        let request = request.content_type("application/json").body(ByteStream::from(body));
        match request.send().await {
            Ok(answer) => Ok(answer.e_tag.unwrap_or_default()),
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                match (status, when) {
                    // 412 the condition does not hold; 409 another conditional write was under way; 404 the object
                    // that should be unchanged is gone (a missing bucket is a 404 too, but then it was not read).
                    (Some(409 | 412), _) | (Some(404), When::Unchanged(_)) => {
                        Err(StoreError::Conflict { key: key.to_owned() })
                    }
                    _ => Err(self.unavailable("write", key, error)),
                }
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        let request = request.prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.unavailable("list", prefix, error))?;
            listed.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                Some(Listed { key: object.key?, modified: object.last_modified.map_or(0, |time| time.secs()) })
            }));
        }
        Ok(listed)
    }
}
