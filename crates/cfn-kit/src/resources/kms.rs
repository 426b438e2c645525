//! AWS Key Management Service.

use serde::Serialize;

use crate::{Arn, Expr, Id, PolicyDocument, Ref, Resource, Statement, Tag};

/// A key for data at rest.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    /// Its description.
    pub description: Expr<String>,
    /// Whether KMS rotates the key material every year.
    pub enable_key_rotation: bool,
    /// Days in which the deletion can be canceled, 7 to 30.
    pub pending_window_in_days: u8,
    /// The key policy.
    pub key_policy: PolicyDocument,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Key {
    const TYPE: &'static str = "AWS::KMS::Key";
}

impl Ref<Key> {
    /// The key's id.
    pub fn id(&self) -> Expr<Id<Key>> {
        self.reference()
    }

    /// The key's ARN.
    pub fn arn(&self) -> Expr<Arn<Key>> {
        self.attribute("Arn")
    }

    /// Allows encrypting and decrypting with the key.
    pub fn grant_use(&self) -> Statement {
        Statement::allow("UseKey", &["kms:Decrypt", "kms:GenerateDataKey"], vec![self.arn().text()])
    }
}
