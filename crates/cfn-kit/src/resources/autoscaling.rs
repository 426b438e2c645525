//! Application Auto Scaling: as many tasks as the load asks for.

use serde::Serialize;

use super::cloudwatch::MetricQuery;
use super::values::Count;
use crate::{Expr, Id, Ref, Resource};

/// Something whose capacity is scaled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScalableTarget {
    /// The service that it belongs to: `ecs`.
    pub service_namespace: &'static str,
    /// What is scaled, for example `ecs:service:DesiredCount`.
    pub scalable_dimension: &'static str,
    /// Of which thing, for example `service/CLUSTER/SERVICE`.
    pub resource_id: Expr<String>,
    /// The least.
    pub min_capacity: Count,
    /// The most.
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

/// When the capacity changes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScalingPolicy {
    /// Its name.
    pub policy_name: Expr<String>,
    /// `TargetTrackingScaling`.
    pub policy_type: &'static str,
    /// What is scaled.
    pub scaling_target_id: Expr<Id<ScalableTarget>>,
    /// What is aimed at.
    pub target_tracking_scaling_policy_configuration: TargetTracking,
}

impl Resource for ScalingPolicy {
    const TYPE: &'static str = "AWS::ApplicationAutoScaling::ScalingPolicy";
}

/// A value of a metric that is aimed at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetTracking {
    /// The value.
    pub target_value: u32,
    /// Seconds after more capacity before still more is added.
    pub scale_out_cooldown: u32,
    /// Seconds after less capacity before still less is kept.
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
