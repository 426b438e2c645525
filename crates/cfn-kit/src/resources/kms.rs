//! AWS Key Management Service.
//!
//! ```
//! use cfn_kit::resources::kms::Key;
//! use cfn_kit::{PolicyDocument, Principal, Stack, Statement};
//!
//! let mut stack = Stack::new("A key for data at rest");
//! let owner = Statement::allow("Owner", &["kms:*"], vec!["*".into()]).by(Principal::this_account());
//! let key = Key {
//!     description: "Data of the shop".into(),
//!     enable_key_rotation: true,
//!     pending_window_in_days: 30,
//!     key_policy: PolicyDocument::new(vec![owner]),
//!     tags: vec![],
//! };
//! let key = stack.add("Key", key);
//! let grant = serde_json::to_value(key.grant_use()).unwrap();
//! assert_eq!(grant["Action"], serde_json::json!(["kms:Decrypt", "kms:GenerateDataKey"]));
//! assert!(stack.finish().is_ok());
//! ```

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
