//! Application Auto Scaling: scales the number of tasks with the load.

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
