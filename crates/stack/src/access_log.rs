//! The access logs of the load balancer and of the stack's bucket.

use super::part::{Marking, Serves};
use super::{Settings, tags};
use cfn_kit::resources::s3::{
    AbortIncompleteMultipartUpload, Bucket, BucketPolicy, Lifecycle, LifecycleRule, NoncurrentVersionExpiration,
};
use cfn_kit::resources::values::BucketName;
use cfn_kit::{Expr, Name, PolicyDocument, Principal, Ref, Stack, Statement, join};

/// Key prefix of the load balancer's log.
const BALANCER_PREFIX: &str = "load-balancer";
/// Key prefix of the bucket's log.
const BUCKET_PREFIX: &str = "bucket/";

/// The bucket with the logs.
pub struct AccessLog {
    /// Its name.
    pub bucket: Expr<Name<Bucket>>,
    /// Key prefix of the load balancer's log.
    pub balancer_prefix: Expr<String>,
    /// Key prefix of the bucket's log.
    pub bucket_prefix: Expr<String>,
    /// The policy that allows writing logs to it, if the stack creates the bucket.
    policy: Option<Ref<BucketPolicy>>,
}

impl AccessLog {
    /// The bucket that the settings request: an existing one, or one that is added to the stack.
    pub fn new(stack: &mut Stack, settings: &Settings) -> Option<Self> {
        match &settings.logs.access_bucket {
            Some(bucket) => Some(Self::existing(bucket)),
            None => settings.logs.access.then(|| Self::own(stack, settings)),
        }
    }

    /// Makes a resource that writes logs depend on the permission to write them.
    pub fn before<R>(&self, stack: &mut Stack, resource: &Ref<R>) {
        if let Some(policy) = &self.policy {
            stack.after(resource, policy);
        }
    }

    /// An existing bucket. Others write to it too, so the logs of this stack are below its name.
    fn existing(bucket: &BucketName) -> Self {
        let under = |prefix: &str| join(&[Expr::stack_name(), format!("/{prefix}").into()]);
        Self {
            bucket: bucket.into(),
            balancer_prefix: under(BALANCER_PREFIX),
            bucket_prefix: under(BUCKET_PREFIX),
            policy: None,
        }
    }

    /// A bucket that the stack creates. Deleting the stack keeps it, because access logs are evidence.
    fn own(stack: &mut Stack, settings: &Settings) -> Self {
        let stack = &mut stack.serving(Serves::Nobody);
        let bucket = stack.add(
            "AccessLogBucket",
            Bucket {
                // A private bucket has SSE-S3, the only encryption that load balancers write access logs with:
                // https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
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
                ..Bucket::private(tags("access-log"))
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
        Self {
            bucket: bucket.name(),
            balancer_prefix: BALANCER_PREFIX.into(),
            bucket_prefix: BUCKET_PREFIX.into(),
            policy: Some(policy),
        }
    }
}
