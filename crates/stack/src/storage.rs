//! Storage: the image registry, and the bucket with the code of the function and the ledger.

use model::keys;
use model::names::STACK_TAG;
use model::permissions::{Scope, actions};

use super::access_log::AccessLog;
use super::keys::Keys;
use super::part::{Marking, Serves};
use super::tags;
use cfn_kit::resources::ecr::{EncryptionConfiguration, Repository, ScanningConfiguration, TagMutability};
use cfn_kit::resources::s3::{
    AbortIncompleteMultipartUpload, Bucket, BucketLogging, BucketPolicy, Lifecycle, LifecycleRule,
    NoncurrentVersionExpiration,
};
use cfn_kit::resources::values::RetentionDays;
use cfn_kit::{Arn, Expr, PolicyDocument, Principal, Ref, Stack, Statement, Tag, join};

/// Key prefix of the function's code.
const CODE_PREFIX: &str = "code/";

/// Key prefix of the releases of an environment.
pub const RELEASE_PREFIX: &str = "releases/";

/// Key prefix of templates uploaded for CloudFormation.
const TEMPLATE_PREFIX: &str = "templates/";

/// Logical id of the bucket.
pub const BUCKET: &str = "Bucket";

/// Logical id of the registry.
pub const REGISTRY: &str = "Registry";

/// Logical id of the bucket's policy.
const BUCKET_POLICY: &str = "BucketPolicy";

/// The resources that must exist before a template can be uploaded to the bucket.
pub(super) const FIRST: [&str; 2] = [BUCKET, BUCKET_POLICY];

/// The S3 key of the cutover function's zip with this hash.
pub fn code_key(hash: &str) -> String {
    format!("{CODE_PREFIX}{hash}.zip")
}

/// The S3 key of a template with this hash, under the user id of the uploader.
pub fn template_key(caller: &str, hash: &str) -> String {
    format!("{TEMPLATE_PREFIX}{caller}/{hash}.json")
}

/// The stack's storage.
pub struct Storage {
    /// Images.
    pub registry: Ref<Repository>,
    /// The function's code and the ledger.
    pub bucket: Ref<Bucket>,
}

impl Storage {
    /// Adds the registry and the bucket to the stack.
    pub fn new(stack: &mut Stack, keys: &Keys, log: Option<&AccessLog>) -> Self {
        // The live environment starts its tasks from images in the registry.
        let registry = stack.serving(Serves::Everyone).add(
            REGISTRY,
            Repository {
                image_tag_mutability: TagMutability::Immutable,
                image_scanning_configuration: ScanningConfiguration { scan_on_push: true },
                encryption_configuration: EncryptionConfiguration::kms(keys.arn()),
                lifecycle_policy: None,
                empty_on_delete: true,
                tags: marked("registry"),
            },
        );
        let stack = &mut stack.serving(Serves::Nobody);
        let bucket = stack.add(
            BUCKET,
            Bucket {
                bucket_encryption: keys.bucket(),
                lifecycle_configuration: Lifecycle {
                    rules: vec![
                        expire("expire-old-versions", None, None, 30),
                        // CloudFormation reads a template only when it creates the change set.
                        expire("expire-templates", Some(TEMPLATE_PREFIX), Some(RetentionDays::DAY), 1),
                    ],
                },
                logging_configuration: log.map(|log| BucketLogging {
                    destination_bucket_name: log.bucket.clone(),
                    log_file_prefix: log.bucket_prefix.clone(),
                }),
                ..Bucket::private(marked("bucket"))
            },
        );
        stack.delete_with_stack(&registry);
        stack.delete_with_stack(&bucket);
        if let Some(log) = log {
            log.before(stack, &bucket);
        }
        let only_tls = Statement::deny("OnlyTls", &["s3:*"], vec![bucket.arn().text(), objects(&bucket.arn(), "")])
            .by(Principal::ANYONE)
            .only_if("Bool", "aws:SecureTransport", "false");
        stack.add(
            BUCKET_POLICY,
            BucketPolicy { bucket: bucket.name(), policy_document: PolicyDocument::new(vec![only_tls]) },
        );
        Self { registry, bucket }
    }

    /// Allows pulling images from the registry. `ecr:GetAuthorizationToken` accepts only the resource `*`
    /// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>).
    pub fn grant_pull(&self) -> Vec<Statement> {
        vec![
            Statement::allow("RegistryLogin", &["ecr:GetAuthorizationToken"], vec!["*".into()]),
            Statement::allow(
                "PullImages",
                &["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                vec![self.registry.arn().text()],
            ),
        ]
    }

    /// Allows pushing images to the registry and listing them.
    pub fn grant_push(&self) -> Vec<Statement> {
        let mut may = self.grant_pull();
        may.push(Statement::allow(
            "PushImages",
            &["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"],
            vec![self.registry.arn().text()],
        ));
        may
    }

    /// Allows reading the tags of the registry and the bucket, which name their stack.
    pub fn grant_see_owner(&self) -> Vec<Statement> {
        vec![
            Statement::allow("SeeRegistryTags", &["ecr:ListTagsForResource"], vec![self.registry.arn().text()]),
            Statement::allow("SeeBucketTags", &["s3:GetBucketTagging"], vec![self.bucket.arn().text()]),
        ]
    }

    /// Allows listing the images in the registry.
    pub fn grant_see_images(&self) -> Statement {
        Statement::allow("SeeImages", &["ecr:DescribeImages"], vec![self.registry.arn().text()])
    }

    /// Allows uploading templates under the caller's own user id, and CloudFormation to read them on the caller's
    /// behalf. No other identity can replace an uploaded template, so nobody executes a template that somebody else
    /// uploaded: `aws:userid` is the caller's own
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).
    pub fn grant_own_templates(&self) -> Statement {
        let own = objects(&self.bucket.arn(), &format!("{TEMPLATE_PREFIX}${{aws:userid}}/"));
        Statement::allow("OwnTemplates", &["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], vec![own])
    }

    /// Allows checking whether the code of the function exists.
    pub fn grant_see_code(&self) -> Statement {
        Statement::allow("SeeCode", &["s3:GetObject"], vec![objects(&self.bucket.arn(), CODE_PREFIX)])
    }

    /// Allows reading the ledger and the releases, but not writing them.
    pub fn grant_read_ledger(&self) -> Vec<Statement> {
        let read = [keys::LEDGER, RELEASE_PREFIX].map(|prefix| objects(&self.bucket.arn(), prefix));
        let list = Statement::allow("LedgerList", &["s3:ListBucket"], vec![self.bucket.arn().text()]);
        let prefixes = [keys::LEDGER, RELEASE_PREFIX].map(|prefix| format!("{prefix}*"));
        vec![
            Statement::allow("ReadLedger", &["s3:GetObject"], read.to_vec()),
            // "IfExists": for the same reason as in `grant_ledger_list`.
            list.only_if_one_of("StringLikeIfExists", "s3:prefix", prefixes.to_vec()),
        ]
    }

    /// Allows acquiring the lease and recording releases. Only the function writes the records of cutovers.
    pub fn grant_lease_and_releases(&self) -> Statement {
        let lease = join(&[self.bucket.arn().text(), format!("/{}", keys::LOCK).into()]);
        let releases = objects(&self.bucket.arn(), RELEASE_PREFIX);
        Statement::allow("LeaseAndReleases", &["s3:PutObject"], vec![lease, releases])
    }

    /// Allows the calls of the ledger: reading and writing the ledger, and nothing else in the bucket.
    pub fn grant_ledger(&self) -> Vec<Statement> {
        vec![
            self.grant_ledger_objects(&actions(Scope::LedgerObjects)),
            self.grant_ledger_list(&actions(Scope::LedgerList)),
        ]
    }

    /// Allows reading and writing the objects of the ledger.
    fn grant_ledger_objects(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("LedgerObjects", actions, vec![objects(&self.bucket.arn(), keys::LEDGER)])
    }

    /// Allows listing the ledger.
    fn grant_ledger_list(&self, actions: &[&'static str]) -> Statement {
        // "IfExists": S3 also checks this permission without a prefix, when it decides whether a missing object is
        // answered with 404 or with 403 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
        Statement::allow("LedgerList", actions, vec![self.bucket.arn().text()]).only_if(
            "StringLikeIfExists",
            "s3:prefix",
            format!("{}*", keys::LEDGER),
        )
    }
}

/// The tags of resources that only this stack may use: every command checks the name of the stack before it uses them.
fn marked(name: &str) -> Vec<Tag> {
    let mut tags = tags(name);
    tags.push(Tag::new(STACK_TAG, Expr::stack_name()));
    tags
}

fn expire(
    id: &'static str,
    prefix: Option<&'static str>,
    expiration_in_days: Option<RetentionDays>,
    noncurrent_days: u16,
) -> LifecycleRule {
    LifecycleRule {
        id,
        status: "Enabled",
        prefix,
        expiration_in_days,
        noncurrent_version_expiration: NoncurrentVersionExpiration { noncurrent_days },
        abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload { days_after_initiation: 1 },
    }
}

fn objects(bucket: &Expr<Arn<Bucket>>, prefix: &str) -> Expr<String> {
    join(&[bucket.text(), format!("/{prefix}*").into()])
}
