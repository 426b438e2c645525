//! Amazon ECR: the image registry.

use serde::Serialize;

use super::kms::Key;
use crate::{Arn, Expr, Name, Ref, Resource, Tag};

/// A repository of container images.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Repository {
    /// Whether a tag can be moved to another image.
    pub image_tag_mutability: TagMutability,
    /// Whether an image is scanned when it is pushed.
    pub image_scanning_configuration: ScanningConfiguration,
    /// How images are encrypted at rest.
    pub encryption_configuration: EncryptionConfiguration,
    /// Which images expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle_policy: Option<LifecyclePolicy>,
    /// Whether deleting the repository deletes its images. If not, deleting a repository with images fails
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-repository.html>).
    pub empty_on_delete: bool,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Repository {
    const TYPE: &'static str = "AWS::ECR::Repository";
}

impl Ref<Repository> {
    /// The repository's name.
    pub fn name(&self) -> Expr<Name<Repository>> {
        self.reference()
    }

    /// The repository's ARN.
    pub fn arn(&self) -> Expr<Arn<Repository>> {
        self.attribute("Arn")
    }

    /// The prefix of image references: registry host and repository name.
    pub fn uri(&self) -> Expr<String> {
        self.attribute("RepositoryUri")
    }
}

/// Whether tags can be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TagMutability {
    /// A tag stays with its image.
    Immutable,
    /// A tag can be moved.
    Mutable,
}

/// When images are scanned.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScanningConfiguration {
    /// When they are pushed.
    pub scan_on_push: bool,
}

/// How images are encrypted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptionConfiguration {
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<Expr<Arn<Key>>>,
}

impl EncryptionConfiguration {
    /// With KMS: a customer managed key, or the AWS managed key of the account.
    pub fn kms(key: Option<Expr<Arn<Key>>>) -> Self {
        Self { encryption_type: "KMS", kms_key: key }
    }
}

/// Which images expire.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LifecyclePolicy {
    /// The policy as JSON text.
    pub lifecycle_policy_text: String,
}
