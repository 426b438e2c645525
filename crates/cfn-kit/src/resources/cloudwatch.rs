//! Amazon CloudWatch: metrics, alarms, dashboards.
//!
//! ```
//! use cfn_kit::Stack;
//! use cfn_kit::resources::cloudwatch::{Alarm, Comparison, Dashboard, Dimension, Metric, Statistic};
//! use cfn_kit::resources::sns::Topic;
//!
//! let mut stack = Stack::new("Slow answers reach a person");
//! let topic = stack.add("Alerts", Topic { kms_master_key_id: None, subscription: vec![], tags: vec![] });
//! let dimensions = vec![Dimension::new("LoadBalancer", "app/shop/50dc6c495c0c9188".into())];
//! let alarm = Alarm {
//!     alarm_description: "1 % of the answers take longer than 2 seconds: look at the database".to_owned(),
//!     metric: Metric { namespace: "AWS/ApplicationELB".into(), metric_name: "TargetResponseTime", dimensions },
//!     statistic: Statistic::Percentile("p99"),
//!     period: 60,
//!     evaluation_periods: 3,
//!     threshold: 2.0,
//!     comparison_operator: Comparison::GreaterThanThreshold,
//!     treat_missing_data: "notBreaching",
//!     alarm_actions: vec![topic.arn()],
//!     ok_actions: vec![topic.arn()],
//!     tags: vec![],
//! };
//! stack.add("Slow", alarm);
//! stack.add("Overview", Dashboard { dashboard_name: "shop".into(), dashboard_body: r#"{"widgets":[]}"#.into() });
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::sns::Topic;
use crate::{Arn, Expr, Resource, Tag};

/// A dimension of a metric.
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
    /// Its namespace, for example `AWS/ApplicationELB`.
    pub namespace: Expr<String>,
    /// Its name in the namespace.
    pub metric_name: &'static str,
    /// Its dimensions.
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

/// An alarm: notifies when a metric is beyond a threshold.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alarm {
    /// Its description: what it means and what to do.
    pub alarm_description: String,
    /// The metric.
    #[serde(flatten)]
    pub metric: Metric,
    /// The statistic of the values in a period.
    #[serde(flatten)]
    pub statistic: Statistic,
    /// Length of a period in seconds.
    pub period: u16,
    /// Consecutive periods that must be beyond the threshold.
    pub evaluation_periods: u8,
    /// The threshold.
    pub threshold: f64,
    /// The comparison of the value with the threshold that triggers the alarm.
    pub comparison_operator: Comparison,
    /// `notBreaching`: missing data does not trigger the alarm.
    pub treat_missing_data: &'static str,
    /// The topics to notify when it is triggered.
    pub alarm_actions: Vec<Expr<Arn<Topic>>>,
    /// The topics to notify when it returns to normal.
    #[serde(rename = "OKActions")]
    pub ok_actions: Vec<Expr<Arn<Topic>>>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Alarm {
    const TYPE: &'static str = "AWS::CloudWatch::Alarm";
}

/// The statistic of the values in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Statistic {
    /// `Sum`, `Maximum`, `Average`, `Minimum`.
    #[serde(rename = "Statistic")]
    Simple(&'static str),
    /// A percentile, for example `p99`.
    #[serde(rename = "ExtendedStatistic")]
    Percentile(&'static str),
}

/// The comparison of a value with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// Greater than or equal to the threshold.
    GreaterThanOrEqualToThreshold,
    /// Greater than the threshold.
    GreaterThanThreshold,
}

/// A dashboard.
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
