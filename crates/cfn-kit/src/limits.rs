//! The maximum size of a template:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>.

/// Maximum bytes of a template in an API call.
pub const CALL_LIMIT: usize = 51_200;

/// Maximum bytes of a template in a bucket.
pub const BUCKET_LIMIT: usize = 1_000_000;
