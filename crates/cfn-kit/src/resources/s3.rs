//! Amazon S3.
//!
//! ```
//! use cfn_kit::resources::s3::{
//!     AbortIncompleteMultipartUpload, Bucket, BucketEncryption, BucketLogging, BucketPolicy, Lifecycle, LifecycleRule,
//!     NoncurrentVersionExpiration, OwnershipControls, PublicAccessBlock, Versioning,
//! };
//! use cfn_kit::resources::values::RetentionDays;
//! use cfn_kit::{PolicyDocument, Principal, Stack, Statement, join};
//!
//! let mut stack = Stack::new("Logs of the shop");
//! // A bucket as most are: private, encrypted, with versions for a month.
//! let log = stack.add("AccessLog", Bucket::private(vec![]));
//!
//! // And one with each decision written out.
//! let a_day = LifecycleRule {
//!     id: "a-day",
//!     status: "Enabled",
//!     prefix: Some("tmp/"),
//!     expiration_in_days: Some(RetentionDays::DAY),
//!     noncurrent_version_expiration: NoncurrentVersionExpiration { noncurrent_days: 1 },
//!     abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload { days_after_initiation: 1 },
//! };
//! let data = Bucket {
//!     bucket_encryption: BucketEncryption::s3_managed(),
//!     public_access_block_configuration: PublicAccessBlock::ALL,
//!     ownership_controls: OwnershipControls::bucket_owner_enforced(),
//!     versioning_configuration: Versioning { status: "Enabled" },
//!     lifecycle_configuration: Lifecycle { rules: vec![a_day] },
//!     logging_configuration: Some(BucketLogging {
//!         destination_bucket_name: log.name(),
//!         log_file_prefix: "data/".into(),
//!     }),
//!     tags: vec![],
//! };
//! let data = stack.add("Data", data);
//! let objects = join(&[data.arn().text(), "/*".into()]);
//! let encrypted = Statement::deny("OnlyTls", &["s3:*"], vec![data.arn().text(), objects])
//!     .by(Principal::ANYONE)
//!     .only_if("Bool", "aws:SecureTransport", "false");
//! let policy = BucketPolicy { bucket: data.name(), policy_document: PolicyDocument::new(vec![encrypted]) };
//! stack.add("DataPolicy", policy);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::kms::Key;
use super::values::{BucketName, RetentionDays};
use crate::{Arn, Expr, Name, PolicyDocument, Ref, Resource, Tag};

/// A bucket.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bucket {
    /// How objects are encrypted at rest.
    pub bucket_encryption: BucketEncryption,
    /// The blocked kinds of public access.
    pub public_access_block_configuration: PublicAccessBlock,
    /// Who owns objects.
    pub ownership_controls: OwnershipControls,
    /// Whether overwritten and deleted objects are kept as versions.
    pub versioning_configuration: Versioning,
    /// The lifecycle: what S3 deletes automatically.
    pub lifecycle_configuration: Lifecycle,
    /// The destination of the access log of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging_configuration: Option<BucketLogging>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Bucket {
    /// A bucket that only its account can use: encrypted, versioned, without public access, and without access control
    /// lists. Old versions are deleted after a month, incomplete uploads after a week.
    pub fn private(tags: Vec<Tag>) -> Self {
        Self {
            bucket_encryption: BucketEncryption::s3_managed(),
            public_access_block_configuration: PublicAccessBlock::ALL,
            ownership_controls: OwnershipControls::bucket_owner_enforced(),
            versioning_configuration: Versioning { status: "Enabled" },
            lifecycle_configuration: Lifecycle {
                rules: vec![LifecycleRule {
                    id: "delete-old-versions",
                    status: "Enabled",
                    prefix: None,
                    expiration_in_days: None,
                    noncurrent_version_expiration: NoncurrentVersionExpiration { noncurrent_days: 30 },
                    abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload { days_after_initiation: 7 },
                }],
            },
            logging_configuration: None,
            tags,
        }
    }
}

impl Resource for Bucket {
    const TYPE: &'static str = "AWS::S3::Bucket";
}

impl From<&BucketName> for Expr<Name<Bucket>> {
    fn from(name: &BucketName) -> Self {
        Self::from_json(name.as_str().into())
    }
}

impl Ref<Bucket> {
    /// The bucket's name.
    pub fn name(&self) -> Expr<Name<Bucket>> {
        self.reference()
    }

    /// The bucket's ARN.
    pub fn arn(&self) -> Expr<Arn<Bucket>> {
        self.attribute("Arn")
    }
}

/// How a bucket's objects are encrypted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BucketEncryption {
    server_side_encryption_configuration: [EncryptionRule; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptionRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_key_enabled: Option<bool>,
    server_side_encryption_by_default: EncryptionByDefault,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptionByDefault {
    #[serde(rename = "SSEAlgorithm")]
    sse_algorithm: &'static str,
    #[serde(rename = "KMSMasterKeyID", skip_serializing_if = "Option::is_none")]
    key: Option<Expr<Arn<Key>>>,
}

impl BucketEncryption {
    /// With S3 managed keys (SSE-S3).
    pub fn s3_managed() -> Self {
        Self::new(None, EncryptionByDefault { sse_algorithm: "AES256", key: None })
    }

    /// With a customer managed KMS key and an S3 Bucket Key, which reduces requests to KMS
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html>).
    pub fn with(key: Expr<Arn<Key>>) -> Self {
        Self::new(Some(true), EncryptionByDefault { sse_algorithm: "aws:kms", key: Some(key) })
    }

    fn new(bucket_key_enabled: Option<bool>, by_default: EncryptionByDefault) -> Self {
        let rule = EncryptionRule { bucket_key_enabled, server_side_encryption_by_default: by_default };
        Self { server_side_encryption_configuration: [rule] }
    }
}

/// The blocked kinds of public access.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "CloudFormation's own shape")]
pub struct PublicAccessBlock {
    block_public_acls: bool,
    block_public_policy: bool,
    ignore_public_acls: bool,
    restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// Every kind.
    pub const ALL: Self = Self {
        block_public_acls: true,
        block_public_policy: true,
        ignore_public_acls: true,
        restrict_public_buckets: true,
    };
}

/// The destination of the access log of a bucket.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BucketLogging {
    /// The bucket for the log.
    pub destination_bucket_name: Expr<Name<Bucket>>,
    /// The prefix of the keys.
    pub log_file_prefix: Expr<String>,
}

/// Who owns objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OwnershipControls {
    rules: [OwnershipRule; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OwnershipRule {
    object_ownership: &'static str,
}

impl OwnershipControls {
    /// The bucket's owner owns every object, and access control lists are off.
    pub fn bucket_owner_enforced() -> Self {
        Self { rules: [OwnershipRule { object_ownership: "BucketOwnerEnforced" }] }
    }
}

/// Whether the bucket keeps old versions.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versioning {
    /// `Enabled` or `Suspended`.
    pub status: &'static str,
}

/// The lifecycle: what S3 deletes automatically.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Lifecycle {
    /// The rules.
    pub rules: Vec<LifecycleRule>,
}

/// One lifecycle rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LifecycleRule {
    /// Its name.
    pub id: &'static str,
    /// `Enabled` or `Disabled`.
    pub status: &'static str,
    /// The prefix of the keys of its objects; if absent, it applies to all objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<&'static str>,
    /// Deletes objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_in_days: Option<RetentionDays>,
    /// Deletes versions that are no longer current.
    pub noncurrent_version_expiration: NoncurrentVersionExpiration,
    /// Deletes the parts of incomplete uploads.
    pub abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload,
}

/// When versions that are no longer current are deleted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentVersionExpiration {
    /// Days after which they are deleted.
    pub noncurrent_days: u16,
}

/// When incomplete uploads are deleted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AbortIncompleteMultipartUpload {
    /// Days after which they are deleted.
    pub days_after_initiation: u16,
}

/// The policy of a bucket.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BucketPolicy {
    /// The bucket.
    pub bucket: Expr<Name<Bucket>>,
    /// The policy.
    pub policy_document: PolicyDocument,
}

impl Resource for BucketPolicy {
    const TYPE: &'static str = "AWS::S3::BucketPolicy";
}
