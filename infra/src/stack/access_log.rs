//! Where requests to the load balancer and to the stack's bucket are recorded.

use super::{Settings, tags};
use crate::cdk::{Expr, PolicyDocument, Principal, Ref, Stack, Statement, join};
use crate::resources::s3::{
    AbortIncompleteMultipartUpload, Bucket, BucketEncryption, BucketPolicy, Lifecycle, LifecycleRule,
    NoncurrentVersionExpiration, OwnershipControls, PublicAccessBlock, Versioning,
};

/// Key prefix of the load balancer's log.
pub const BALANCER_PREFIX: &str = "load-balancer";
/// Key prefix of the bucket's log.
pub const BUCKET_PREFIX: &str = "bucket/";

/// The bucket with the logs.
pub struct AccessLog {
    /// The bucket. It stays when the stack is deleted: who asked for what is evidence.
    pub bucket: Ref<Bucket>,
    /// What lets logs be written to it.
    pub policy: Ref<BucketPolicy>,
}

impl AccessLog {
    /// Adds the bucket to the stack, where the settings ask for it.
    pub fn new(stack: &mut Stack, settings: &Settings) -> Option<Self> {
        if !settings.logs.access {
            return None;
        }
        let bucket = stack.add(
            "AccessLogBucket",
            Bucket {
                // Load balancers write to no bucket with another kind of key.
                bucket_encryption: BucketEncryption::s3_managed(),
                public_access_block_configuration: PublicAccessBlock::ALL,
                ownership_controls: OwnershipControls::bucket_owner_enforced(),
                versioning_configuration: Versioning { status: "Enabled" },
                lifecycle_configuration: Lifecycle {
                    rules: vec![LifecycleRule {
                        id: "expire",
                        status: "Enabled",
                        prefix: None,
                        expiration_in_days: Some(settings.logs.retention_days),
                        noncurrent_version_expiration: NoncurrentVersionExpiration { noncurrent_days: 1 },
                        abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload { days_after_initiation: 1 },
                    }],
                },
                logging_configuration: None,
                tags: tags("access-log"),
            },
        );
        stack.keep(&bucket);
        stack.accept("CKV_AWS_18", &bucket, "a log of who reads the log would record itself without end");
        let everything: Vec<Expr<String>> = vec![bucket.arn().text(), join(&[bucket.arn().text(), "/*".into()])];
        let only_tls = Statement::deny("OnlyTls", &["s3:*"], everything).by(Principal::ANYONE).only_if(
            "Bool",
            "aws:SecureTransport",
            "false",
        );
        let written_by = |sid, service: &'static str, key: Expr<String>| {
            Statement::allow(sid, &["s3:PutObject"], vec![join(&[bucket.arn().text(), "/".into(), key])])
                .by(Principal::service(service))
                .only_from_this_account()
        };
        let of_balancer = join(&[format!("{BALANCER_PREFIX}/AWSLogs/").into(), Expr::account_id(), "/*".into()]);
        let policy = stack.add(
            "AccessLogPolicy",
            BucketPolicy {
                bucket: bucket.name(),
                policy_document: PolicyDocument::new(vec![
                    only_tls,
                    written_by("LoadBalancer", "logdelivery.elasticloadbalancing.amazonaws.com", of_balancer),
                    written_by("Bucket", "logging.s3.amazonaws.com", format!("{BUCKET_PREFIX}*").into()),
                ]),
            },
        );
        stack.keep(&policy);
        Some(Self { bucket, policy })
    }
}
