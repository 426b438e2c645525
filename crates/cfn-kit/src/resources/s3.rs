//! Amazon S3.

use serde::Serialize;

use super::kms::Key;
use super::values::{BucketName, RetentionDays};
use crate::{Arn, Expr, Name, PolicyDocument, Ref, Resource, Tag};

/// A bucket, private and encrypted with S3's own key.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bucket {
    /// How objects are encrypted at rest.
    pub bucket_encryption: BucketEncryption,
    /// What of public access is blocked.
    pub public_access_block_configuration: PublicAccessBlock,
    /// Who owns objects.
    pub ownership_controls: OwnershipControls,
    /// Whether overwritten and deleted objects are kept as versions.
    pub versioning_configuration: Versioning,
    /// What is deleted by itself.
    pub lifecycle_configuration: Lifecycle,
    /// Where requests to the bucket are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging_configuration: Option<BucketLogging>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Bucket {
    /// A bucket that only its account can use: encrypted, without public access and access control lists, with versions. Old
    /// versions and unfinished uploads are deleted after a month and a week.
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
    /// With S3's own key.
    pub fn s3_managed() -> Self {
        Self::new(None, EncryptionByDefault { sse_algorithm: "AES256", key: None })
    }

    /// With a key of one's own. S3 asks KMS once for many objects (a bucket key).
    pub fn with(key: Expr<Arn<Key>>) -> Self {
        Self::new(Some(true), EncryptionByDefault { sse_algorithm: "aws:kms", key: Some(key) })
    }

    fn new(bucket_key_enabled: Option<bool>, by_default: EncryptionByDefault) -> Self {
        let rule = EncryptionRule { bucket_key_enabled, server_side_encryption_by_default: by_default };
        Self { server_side_encryption_configuration: [rule] }
    }
}

/// What of public access is blocked.
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
    /// All of it.
    pub const ALL: Self = Self {
        block_public_acls: true,
        block_public_policy: true,
        ignore_public_acls: true,
        restrict_public_buckets: true,
    };
}

/// Where requests to a bucket are recorded.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BucketLogging {
    /// The bucket that keeps them.
    pub destination_bucket_name: Expr<Name<Bucket>>,
    /// What their keys begin with.
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

/// Whether versions are kept.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versioning {
    /// `Enabled` or `Suspended`.
    pub status: &'static str,
}

/// What is deleted by itself.
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
    /// What the keys of the objects that it is about begin with; all of them where that is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<&'static str>,
    /// Deletes objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_in_days: Option<RetentionDays>,
    /// Deletes versions that are no longer current.
    pub noncurrent_version_expiration: NoncurrentVersionExpiration,
    /// Deletes what is left of uploads that were never finished.
    pub abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload,
}

/// When versions that are no longer current are deleted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentVersionExpiration {
    /// Days after which they go.
    pub noncurrent_days: u16,
}

/// When unfinished uploads are deleted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AbortIncompleteMultipartUpload {
    /// Days after which they go.
    pub days_after_initiation: u16,
}

/// Who may do what with a bucket.
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
