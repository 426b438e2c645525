//! Amazon CloudWatch Logs.
//!
//! ```
//! use cfn_kit::Stack;
//! use cfn_kit::resources::logs::{LogGroup, MetricFilter, MetricTransformation};
//! use cfn_kit::resources::values::RetentionDays;
//!
//! let mut stack = Stack::new("Errors are counted");
//! let log = LogGroup {
//!     retention_in_days: RetentionDays::MONTH,
//!     log_group_name: None,
//!     kms_key_id: None,
//!     tags: vec![],
//! };
//! let log = stack.add("Log", log);
//! let count = MetricTransformation {
//!     metric_namespace: "Shop".into(),
//!     metric_name: "Errors",
//!     metric_value: "1",
//!     default_value: 0,
//! };
//! let errors = MetricFilter {
//!     log_group_name: log.name(),
//!     filter_pattern: r#"{ $.level = "ERROR" }"#.to_owned(),
//!     metric_transformations: [count],
//! };
//! stack.add("Errors", errors);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::kms::Key;
use super::values::RetentionDays;
use crate::{Arn, Expr, Name, Ref, Resource, Tag, sub};

/// A log group: log streams with the same retention.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogGroup {
    /// Days after which entries are deleted.
    pub retention_in_days: RetentionDays,
    /// Its name; if absent, CloudFormation generates one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group_name: Option<Expr<String>>,
    /// The key that encrypts it; if absent, a key of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<Expr<Arn<Key>>>,
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

    /// The ARN of the group, without `:*`.
    pub fn arn_of_group(&self) -> Expr<Arn<LogGroup>> {
        let id = self.logical_id();
        let arn =
            sub(&format!("arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:${{{id}}}"));
        Expr::from_json(arn.json().clone())
    }

    /// The ARN of the group with `:*` at the end, which covers its streams
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html>).
    pub fn arn(&self) -> Expr<Arn<LogGroup>> {
        self.attribute("Arn")
    }
}

/// Counts entries of a log as a metric.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricFilter {
    /// The log group.
    pub log_group_name: Expr<Name<LogGroup>>,
    /// The pattern that entries must match.
    pub filter_pattern: String,
    /// The metric.
    pub metric_transformations: [MetricTransformation; 1],
}

impl Resource for MetricFilter {
    const TYPE: &'static str = "AWS::Logs::MetricFilter";
}

/// The metric that is computed from entries.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricTransformation {
    /// Its namespace.
    pub metric_namespace: Expr<String>,
    /// Its name in the namespace.
    pub metric_name: &'static str,
    /// The value of an entry: a number as text, or a field of the entry.
    pub metric_value: &'static str,
    /// The value if there is no entry.
    pub default_value: u8,
}
