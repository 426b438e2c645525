//! Amazon CloudWatch: metrics, alarms, dashboards.

use serde::Serialize;

use super::sns::Topic;
use crate::{Arn, Expr, Resource, Tag};

/// What a metric is of.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dimension {
    /// The name, for example `LoadBalancer`.
    pub name: &'static str,
    /// The value.
    pub value: Expr<String>,
}

impl Dimension {
    /// The dimension `name` with this value.
    pub fn new(name: &'static str, value: Expr<String>) -> Self {
        Self { name, value }
    }
}

/// A metric.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metric {
    /// Where it is kept, for example `AWS/ApplicationELB`.
    pub namespace: Expr<String>,
    /// Its name there.
    pub metric_name: &'static str,
    /// What it is of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<Dimension>,
}

/// A metric as a term of an expression, or an expression over such terms.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricQuery {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_stat: Option<MetricStat>,
    return_data: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    metric: Metric,
    stat: &'static str,
}

impl MetricQuery {
    /// The term `id`: a statistic of a metric.
    pub fn term(id: impl Into<String>, metric: Metric, stat: &'static str) -> Self {
        Self { id: id.into(), expression: None, metric_stat: Some(MetricStat { metric, stat }), return_data: false }
    }

    /// The result: an expression over the terms.
    pub fn result(expression: impl Into<String>) -> Self {
        Self { id: "result".to_owned(), expression: Some(expression.into()), metric_stat: None, return_data: true }
    }
}

/// Tells somebody when a metric is out of bounds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alarm {
    /// What it means and what to do.
    pub alarm_description: String,
    /// The metric.
    #[serde(flatten)]
    pub metric: Metric,
    /// How the values of a period become one.
    #[serde(flatten)]
    pub statistic: Statistic,
    /// Seconds of a period.
    pub period: u16,
    /// Periods in a row that must be out of bounds.
    pub evaluation_periods: u8,
    /// The bound.
    pub threshold: f64,
    /// How the value stands to the bound when the alarm goes off.
    pub comparison_operator: Comparison,
    /// `notBreaching`: no data is good data.
    pub treat_missing_data: &'static str,
    /// Who is told when it goes off.
    pub alarm_actions: Vec<Expr<Arn<Topic>>>,
    /// Who is told when it is over.
    #[serde(rename = "OKActions")]
    pub ok_actions: Vec<Expr<Arn<Topic>>>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Alarm {
    const TYPE: &'static str = "AWS::CloudWatch::Alarm";
}

/// How the values of a period become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Statistic {
    /// `Sum`, `Maximum`, `Average`, `Minimum`.
    #[serde(rename = "Statistic")]
    Simple(&'static str),
    /// A percentile, for example `p99`.
    #[serde(rename = "ExtendedStatistic")]
    Percentile(&'static str),
}

/// How a value stands to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// At or above it.
    GreaterThanOrEqualToThreshold,
    /// Above it.
    GreaterThanThreshold,
}

/// A page of graphs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dashboard {
    /// Its name.
    pub dashboard_name: Expr<String>,
    /// The graphs as JSON text.
    pub dashboard_body: Expr<String>,
}

impl Resource for Dashboard {
    const TYPE: &'static str = "AWS::CloudWatch::Dashboard";
}
