//! Amazon CloudWatch Logs.

use serde::Serialize;

use super::values::RetentionDays;
use crate::cdk::{Arn, Expr, Name, Ref, Resource, Tag};

/// A group of log streams that are kept for the same time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogGroup {
    /// Days after which an entry is deleted.
    pub retention_in_days: RetentionDays,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for LogGroup {
    const TYPE: &'static str = "AWS::Logs::LogGroup";
}

impl Ref<LogGroup> {
    /// The group's name.
    pub fn name(&self) -> Expr<Name<LogGroup>> {
        self.reference()
    }

    /// The group's ARN with `:*` behind it, which covers its streams.
    pub fn arn(&self) -> Expr<Arn<LogGroup>> {
        self.attribute("Arn")
    }
}
