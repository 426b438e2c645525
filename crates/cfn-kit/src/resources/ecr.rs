//! Amazon ECR: the image registry.
//!
//! ```
//! use cfn_kit::Stack;
//! use cfn_kit::resources::ecr::{
//!     EncryptionConfiguration, LifecyclePolicy, Repository, ScanningConfiguration, TagMutability,
//! };
//! use serde_json::json;
//!
//! let mut stack = Stack::new("Images of the shop");
//! let newest = json!({ "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 50 });
//! let rule = json!({ "rulePriority": 1, "selection": newest, "action": { "type": "expire" } });
//! let images = Repository {
//!     image_tag_mutability: TagMutability::Immutable,
//!     image_scanning_configuration: ScanningConfiguration { scan_on_push: true },
//!     encryption_configuration: EncryptionConfiguration::kms(None),
//!     lifecycle_policy: Some(LifecyclePolicy { lifecycle_policy_text: json!({ "rules": [rule] }).to_string() }),
//!     empty_on_delete: false,
//!     tags: vec![],
//! };
//! let images = stack.add("Images", images);
//! stack.output("ImagesUri", "Where to push images", &images.uri());
//! assert!(stack.finish().is_ok());
//! ```

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
