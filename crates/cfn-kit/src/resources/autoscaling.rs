//! Application Auto Scaling: scales the number of tasks with the load.
//!
//! ```
//! use cfn_kit::Stack;
//! use cfn_kit::resources::autoscaling::{CustomizedMetric, ScalableTarget, ScalingPolicy, TargetTracking};
//! use cfn_kit::resources::cloudwatch::{Dimension, Metric, MetricQuery};
//! use cfn_kit::resources::values::Count;
//!
//! let mut stack = Stack::new("More tasks under load");
//! let capacity = ScalableTarget {
//!     service_namespace: "ecs",
//!     scalable_dimension: "ecs:service:DesiredCount",
//!     resource_id: "service/shop/orders".into(),
//!     min_capacity: Count::of(2),
//!     max_capacity: Count::of(10),
//! };
//! let capacity = stack.add("Capacity", capacity);
//!
//! let dimensions = vec![Dimension::new("ServiceName", "orders".into())];
//! let cpu = Metric { namespace: "AWS/ECS".into(), metric_name: "CPUUtilization", dimensions };
//! let metrics = vec![MetricQuery::term("cpu", cpu, "Average"), MetricQuery::result("FILL(cpu, 0)")];
//! let tracking = TargetTracking {
//!     target_value: 60,
//!     scale_out_cooldown: 60,
//!     scale_in_cooldown: 300,
//!     customized_metric_specification: CustomizedMetric { metrics },
//! };
//! let policy = ScalingPolicy {
//!     policy_name: "cpu".into(),
//!     policy_type: "TargetTrackingScaling",
//!     scaling_target_id: capacity.id(),
//!     target_tracking_scaling_policy_configuration: tracking,
//! };
//! stack.add("Scaling", policy);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::cloudwatch::MetricQuery;
use super::values::Count;
use crate::{Expr, Id, Ref, Resource};

/// A scalable target: a resource whose capacity is scaled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScalableTarget {
    /// The namespace of its service: `ecs`.
    pub service_namespace: &'static str,
    /// The scaled dimension, for example `ecs:service:DesiredCount`.
    pub scalable_dimension: &'static str,
    /// The scaled resource, for example `service/CLUSTER/SERVICE`.
    pub resource_id: Expr<String>,
    /// The minimum.
    pub min_capacity: Count,
    /// The maximum.
    pub max_capacity: Count,
}

impl Resource for ScalableTarget {
    const TYPE: &'static str = "AWS::ApplicationAutoScaling::ScalableTarget";
}

impl Ref<ScalableTarget> {
    /// The target's id.
    pub fn id(&self) -> Expr<Id<ScalableTarget>> {
        self.reference()
    }
}

/// A scaling policy: when the capacity changes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScalingPolicy {
    /// Its name.
    pub policy_name: Expr<String>,
    /// `TargetTrackingScaling`.
    pub policy_type: &'static str,
    /// The scalable target.
    pub scaling_target_id: Expr<Id<ScalableTarget>>,
    /// The target value of the metric.
    pub target_tracking_scaling_policy_configuration: TargetTracking,
}

impl Resource for ScalingPolicy {
    const TYPE: &'static str = "AWS::ApplicationAutoScaling::ScalingPolicy";
}

/// A target value of a metric.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetTracking {
    /// The value.
    pub target_value: u32,
    /// Cooldown in seconds after capacity was added.
    pub scale_out_cooldown: u32,
    /// Cooldown in seconds after capacity was removed.
    pub scale_in_cooldown: u32,
    /// The metric.
    pub customized_metric_specification: CustomizedMetric,
}

/// A metric computed from others.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomizedMetric {
    /// The metrics, and an expression over them.
    pub metrics: Vec<MetricQuery>,
}
