//! The maximum size of a template:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>.
//!
//! ```
//! use cfn_kit::Stack;
//! use cfn_kit::limits::{BUCKET_LIMIT, CALL_LIMIT};
//!
//! let template = Stack::new("A stack").finish().unwrap().to_json().unwrap();
//! assert!(template.len() <= CALL_LIMIT, "a larger one goes through a bucket, up to {BUCKET_LIMIT} bytes");
//! ```

/// Maximum bytes of a template in an API call.
pub const CALL_LIMIT: usize = 51_200;

/// Maximum bytes of a template in a bucket.
pub const BUCKET_LIMIT: usize = 1_000_000;
