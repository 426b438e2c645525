//! Scales the number of tasks with the load.
//!
//! Each environment scales by the load of both environments per own task, as if it served all traffic. So the idle one
//! is always large enough for a cutover or a rollback.

use model::color::Color;

use super::load_balancer::title;
use super::part::Marking;
use super::{Settings, Watched};
use cfn_kit::resources::autoscaling::{CustomizedMetric, ScalableTarget, ScalingPolicy, TargetTracking};
use cfn_kit::resources::cloudwatch::{Dimension, Metric, MetricQuery};
use cfn_kit::resources::elbv2::TargetGroup;
use cfn_kit::resources::values::Count;
use cfn_kit::{Expr, Ref, Stack, join};

/// Seconds after tasks were added before more are added: at least the time until a task is healthy.
const SCALE_OUT_COOLDOWN: u32 = 60;
/// Seconds after tasks were removed before more are removed.
const SCALE_IN_COOLDOWN: u32 = 300;

/// Adds the scaling of both environments.
pub(super) fn add(stack: &mut Stack, settings: &Settings, max: Count, watched: &Watched<'_>) {
    for color in Color::ALL {
        let stack = &mut stack.serving_half(color);
        let environment = watched.environments.of(color);
        let id = |what: &str| format!("{}{what}", title(color));
        let target = stack.add(
            &id("Capacity"),
            ScalableTarget {
                service_namespace: "ecs",
                scalable_dimension: "ecs:service:DesiredCount",
                resource_id: join(&[
                    "service/".into(),
                    watched.fleet.cluster.name().text(),
                    "/".into(),
                    environment.service.name().text(),
                ]),
                min_capacity: settings.app.count,
                max_capacity: max,
            },
        );
        stack.when(&target, &environment.deployed);
        let policy = stack.add(
            &id("Scaling"),
            ScalingPolicy {
                policy_name: join(&[Expr::stack_name(), format!("-{color}").into()]),
                policy_type: "TargetTrackingScaling",
                scaling_target_id: target.id(),
                target_tracking_scaling_policy_configuration: TargetTracking {
                    target_value: 100,
                    scale_out_cooldown: SCALE_OUT_COOLDOWN,
                    scale_in_cooldown: SCALE_IN_COOLDOWN,
                    customized_metric_specification: CustomizedMetric { metrics: load(settings, watched, color) },
                },
            },
        );
        stack.when(&policy, &environment.deployed);
    }
}

/// The load of both environments per healthy task of this one, in percent of its target: of CPU or of requests,
/// whichever is higher.
fn load(settings: &Settings, watched: &Watched<'_>, color: Color) -> Vec<MetricQuery> {
    let mut terms = Vec::new();
    for each in Color::ALL {
        let tasks = of_group(watched, each, "HealthyHostCount");
        terms.push(MetricQuery::term(format!("{each}_tasks"), tasks, "Average"));
        terms.push(MetricQuery::term(format!("{each}_cpu"), cpu(watched, each, color), "Average"));
        let requests = of_group(watched, each, "RequestCount");
        terms.push(MetricQuery::term(format!("{each}_requests"), requests, "Sum"));
    }
    let used = |each: Color| format!("FILL({each}_cpu, 0) * FILL({each}_tasks, 0)");
    let cpu = format!("({} + {}) / {}", used(Color::Blue), used(Color::Green), settings.autoscaling.cpu);
    let requests = format!("(FILL(blue_requests, 0) + FILL(green_requests, 0)) / {}", settings.autoscaling.requests);
    terms.push(MetricQuery::result(format!("100 * IF({cpu} > {requests}, {cpu}, {requests}) / {color}_tasks")));
    terms
}

/// The CPU utilization of an environment's tasks in percent, for the scaling policy of the environment `of`.
fn cpu(watched: &Watched<'_>, each: Color, of: Color) -> Metric {
    let service = watched.environments.of(each);
    let name = service.service.name().text();
    // If the other environment is not deployed, use a name that no service has.
    let name = if each == of { name } else { Expr::when(&service.deployed, &name, &"none".into()) };
    let dimensions =
        vec![Dimension::new("ClusterName", watched.fleet.cluster.name().text()), Dimension::new("ServiceName", name)];
    Metric { namespace: "AWS/ECS".into(), metric_name: "CPUUtilization", dimensions }
}

/// A metric of an environment's target group.
pub(super) fn of_group(watched: &Watched<'_>, color: Color, metric_name: &'static str) -> Metric {
    let group: &Ref<TargetGroup> = watched.balancer.target_groups.of(color);
    let dimensions = vec![
        Dimension::new("LoadBalancer", watched.balancer.load_balancer.full_name()),
        Dimension::new("TargetGroup", group.full_name()),
    ];
    Metric { namespace: "AWS/ApplicationELB".into(), metric_name, dimensions }
}
