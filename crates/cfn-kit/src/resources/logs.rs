//! Amazon CloudWatch Logs.

use serde::Serialize;

use super::kms::Key;
use super::values::RetentionDays;
use crate::{Arn, Expr, Name, Ref, Resource, Tag, sub};

/// A group of log streams that are kept for the same time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogGroup {
    /// Days after which an entry is deleted.
    pub retention_in_days: RetentionDays,
    /// Its name; CloudFormation makes one up where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group_name: Option<Expr<String>>,
    /// The key that it is encrypted with; one of the service's where there is none.
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

    /// The group's ARN itself.
    pub fn arn_of_group(&self) -> Expr<Arn<LogGroup>> {
        let id = self.logical_id();
        let arn =
            sub(&format!("arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:${{{id}}}"));
        Expr::from_json(arn.json().clone())
    }

    /// The group's ARN with `:*` behind it, which covers its streams.
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
    /// What an entry must look like.
    pub filter_pattern: String,
    /// The metric.
    pub metric_transformations: [MetricTransformation; 1],
}

impl Resource for MetricFilter {
    const TYPE: &'static str = "AWS::Logs::MetricFilter";
}

/// The metric that entries become.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricTransformation {
    /// Where it is kept.
    pub metric_namespace: Expr<String>,
    /// Its name there.
    pub metric_name: &'static str,
    /// The value of an entry, a number in text or a field of it.
    pub metric_value: &'static str,
    /// The value where there is no entry.
    pub default_value: u8,
}
