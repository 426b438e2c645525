//! How large a template can be:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>.

/// Bytes of a template that a call takes.
pub const CALL_LIMIT: usize = 51_200;

/// Bytes of a template that CloudFormation takes from a bucket.
pub const BUCKET_LIMIT: usize = 1_000_000;
