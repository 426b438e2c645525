//! Alarms, their SNS topic, and a dashboard.

use model::color::Color;
use serde_json::{Value, json};

use super::keys::Keys;
use super::load_balancer::title;
use super::part::{Marking, Serves};
use super::scaling::of_group;
use super::{Settings, Watched, tags};
use cfn_kit::resources::cloudwatch::{Alarm, Comparison, Dashboard, Dimension, Metric, Statistic};
use cfn_kit::resources::events::{DetailPattern, EventPattern, Rule, Target};
use cfn_kit::resources::logs::{MetricFilter, MetricTransformation};
use cfn_kit::resources::sns::{Subscription, Topic, TopicPolicy};
use cfn_kit::{Expr, PolicyDocument, Principal, Ref, Stack, Statement, join};

/// The metric of cutovers that did not succeed, in the namespace of the stack.
const UNSUCCESSFUL: &str = "UnsuccessfulCutovers";

/// Adds the topic, if the settings request alarms.
pub(super) fn topic(stack: &mut Stack, settings: &Settings, keys: &Keys) -> Option<Ref<Topic>> {
    if !settings.has_alarms() {
        return None;
    }
    let stack = &mut stack.serving(Serves::Nobody);
    let topic = stack.add(
        "Alarms",
        Topic {
            // With the AWS managed key of SNS, CloudWatch alarms cannot publish to the topic, and messages are lost:
            // https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
            kms_master_key_id: keys.arn(),
            subscription: settings.alarms.emails.iter().map(Subscription::mail).collect(),
            tags: tags("alarms"),
        },
    );
    keys.accept_without(stack, "CKV_AWS_26", &topic);
    let from = |sid, service: &'static str| {
        Statement::allow(sid, &["sns:Publish"], vec![topic.arn().text()])
            .by(Principal::service(service))
            .only_from_this_account()
    };
    let only_tls = Statement::deny("OnlyTls", &["sns:Publish"], vec![topic.arn().text()])
        .by(Principal::ANYONE)
        .only_if("Bool", "aws:SecureTransport", "false");
    stack.add(
        "AlarmsPolicy",
        TopicPolicy {
            topics: vec![topic.arn()],
            policy_document: PolicyDocument::new(vec![
                from("Alarms", "cloudwatch.amazonaws.com"),
                from("Events", "events.amazonaws.com"),
                only_tls,
            ]),
        },
    );
    Some(topic)
}

/// Adds the alarms, the rule that forwards events of finished cutovers, and the dashboard.
pub(super) fn add(stack: &mut Stack, settings: &Settings, watched: &Watched<'_>, topic: &Ref<Topic>) {
    let stack = &mut stack.serving(Serves::Nobody);
    let limits = &settings.alarms;
    for color in Color::ALL {
        let id = |what: &str| format!("{}{what}Alarm", title(color));
        stack.add(
            &id("Errors"),
            Wanted {
                means: format!("The service in {color} answers with 5xx. If it is prod: bluegreen rollback."),
                metric: of_group(watched, color, "HTTPCode_Target_5XX_Count"),
                statistic: Statistic::Simple("Sum"),
                threshold: limits.errors.get().into(),
                periods: 1,
            }
            .told_to(topic),
        );
        stack.add(
            &id("Latency"),
            Wanted {
                means: format!("One in a hundred answers of {color} is slow, for three minutes."),
                metric: of_group(watched, color, "TargetResponseTime"),
                statistic: Statistic::Percentile("p99"),
                threshold: f64::from(limits.latency.get()) / 1000.0,
                periods: 3,
            }
            .told_to(topic),
        );
        stack.add(
            &id("Health"),
            Wanted {
                means: format!("A task of {color} has been unhealthy for three minutes: bluegreen status."),
                metric: of_group(watched, color, "UnHealthyHostCount"),
                statistic: Statistic::Simple("Maximum"),
                threshold: 1.0,
                periods: 3,
            }
            .told_to(topic),
        );
    }
    balancer(stack, settings, watched, topic);
    rules(stack, watched, topic);
    cutovers(stack, watched, topic);
    stack.add("Dashboard", Dashboard { dashboard_name: Expr::stack_name(), dashboard_body: dashboard(watched) });
}

/// The description of an alarm.
struct Wanted {
    means: String,
    metric: Metric,
    statistic: Statistic,
    threshold: f64,
    periods: u8,
}

impl Wanted {
    fn told_to(self, topic: &Ref<Topic>) -> Alarm {
        Alarm {
            alarm_description: self.means,
            metric: self.metric,
            statistic: self.statistic,
            period: 60,
            evaluation_periods: self.periods,
            threshold: self.threshold,
            comparison_operator: Comparison::GreaterThanOrEqualToThreshold,
            treat_missing_data: "notBreaching",
            alarm_actions: vec![topic.arn()],
            ok_actions: vec![topic.arn()],
            tags: Vec::new(),
        }
    }
}

/// Errors that the load balancer itself returned, without a target.
fn balancer(stack: &mut Stack, settings: &Settings, watched: &Watched<'_>, topic: &Ref<Topic>) {
    let dimensions = vec![Dimension::new("LoadBalancer", watched.balancer.load_balancer.full_name())];
    let metric = Metric { namespace: "AWS/ApplicationELB".into(), metric_name: "HTTPCode_ELB_5XX_Count", dimensions };
    stack.add(
        "LoadBalancerErrorsAlarm",
        Wanted {
            means: "The load balancer answers with 5xx itself: no task could.".to_owned(),
            metric,
            statistic: Statistic::Simple("Sum"),
            threshold: settings.alarms.errors.get().into(),
            periods: 1,
        }
        .told_to(topic),
    );
}

/// Requests that the load balancer answered with a fixed response: its listeners do so only if they have no rule
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>).
fn rules(stack: &mut Stack, watched: &Watched<'_>, topic: &Ref<Topic>) {
    let dimensions = vec![Dimension::new("LoadBalancer", watched.balancer.load_balancer.full_name())];
    let metric =
        Metric { namespace: "AWS/ApplicationELB".into(), metric_name: "HTTP_Fixed_Response_Count", dimensions };
    stack.add(
        "NoRuleAlarm",
        Wanted {
            means: "Prod or dev has no rule, and answers 503: bluegreen reconcile makes it again.".to_owned(),
            metric,
            statistic: Statistic::Simple("Sum"),
            threshold: 1.0,
            periods: 1,
        }
        .told_to(topic),
    );
}

/// Cutovers that were rolled back, held, or failed, from the log of the function; and an event for every finished one.
fn cutovers(stack: &mut Stack, watched: &Watched<'_>, topic: &Ref<Topic>) {
    stack.add(
        "UnsuccessfulCutovers",
        MetricFilter {
            log_group_name: watched.cutover.log_group.name(),
            filter_pattern: "{ $.Unsuccessful = 1 }".to_owned(),
            metric_transformations: [MetricTransformation {
                metric_namespace: namespace(),
                metric_name: UNSUCCESSFUL,
                metric_value: "1",
                default_value: 0,
            }],
        },
    );
    stack.add(
        "CutoverAlarm",
        Wanted {
            means: "A cutover was rolled back, held or failed: bluegreen history, bluegreen status.".to_owned(),
            metric: Metric { namespace: namespace(), metric_name: UNSUCCESSFUL, dimensions: Vec::new() },
            statistic: Statistic::Simple("Sum"),
            threshold: 1.0,
            periods: 1,
        }
        .told_to(topic),
    );
    let errors = stack.add(
        "CutoverFunctionAlarm",
        Wanted {
            means: "The cutover function ended without an outcome: bluegreen status.".to_owned(),
            metric: Metric {
                namespace: "AWS/Lambda".into(),
                metric_name: "Errors",
                dimensions: vec![Dimension::new("FunctionName", watched.cutover.function.name().text())],
            },
            statistic: Statistic::Simple("Sum"),
            threshold: 1.0,
            periods: 1,
        }
        .told_to(topic),
    );
    stack.when(&errors, &watched.cutover.deployed);
    stack.add(
        "CutoverFinished",
        Rule {
            description: "Tells of every finished cutover".to_owned(),
            event_pattern: Some(EventPattern {
                source: vec![model::names::EVENT_SOURCE],
                detail: DetailPattern { stack: vec![Expr::stack_name()] },
            }),
            schedule_expression: None,
            // The topic sends mail to people. Programs create their own rules on the bus.
            targets: vec![Target::topic("alarms", topic, "$.detail.summary")],
        },
    );
}

/// The namespace of the metrics of the stack.
fn namespace() -> Expr<String> {
    join(&["bluegreen/".into(), Expr::stack_name()])
}

/// The dashboard: traffic, errors, latency and hosts of each environment, and cutovers that did not succeed.
fn dashboard(watched: &Watched<'_>) -> Expr<String> {
    const BLUE: &str = "#1f77b4";
    const GREEN: &str = "#2ca02c";
    let graph = |place: usize, name: &str, metric: &str, stat: &str| {
        let look = |color: &str, paint: &str| json!({ "label": color, "color": paint, "stat": stat });
        // A dot repeats the value of the line above:
        // https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
        let lines = json!([
            ["AWS/ApplicationELB", metric, "LoadBalancer", "@balancer", "TargetGroup", "@blue", look("blue", BLUE)],
            [".", ".", ".", ".", ".", "@green", look("green", GREEN)],
        ]);
        widget(place, name, &lines)
    };
    let body = json!({ "widgets": [
        graph(0, "Requests a minute", "RequestCount", "Sum"),
        graph(1, "Answers of 5xx", "HTTPCode_Target_5XX_Count", "Sum"),
        graph(2, "Latency, 50th percentile (s)", "TargetResponseTime", "p50"),
        graph(3, "Latency, 99th percentile (s)", "TargetResponseTime", "p99"),
        graph(4, "Healthy tasks", "HealthyHostCount", "Minimum"),
        widget(5, "Cutovers that did not succeed", &json!([["bluegreen/@stack", UNSUCCESSFUL, { "stat": "Sum" }]])),
    ] });
    let groups = &watched.balancer.target_groups;
    let values = [
        ("@balancer", watched.balancer.load_balancer.full_name()),
        ("@blue", groups.blue.full_name()),
        ("@green", groups.green.full_name()),
        ("@stack", Expr::stack_name()),
        ("@region", Expr::region()),
    ];
    fill(&body.to_string(), &values)
}

/// A graph; two in each row.
fn widget(place: usize, title: &str, metrics: &Value) -> Value {
    json!({
        "type": "metric", "x": 12 * (place % 2), "y": 6 * (place / 2), "width": 12, "height": 6,
        "properties": { "title": title, "metrics": metrics, "period": 60, "region": "@region" },
    })
}

/// The text with each name replaced by its value.
fn fill(text: &str, values: &[(&str, Expr<String>)]) -> Expr<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, (name, value))) =
        values.iter().filter_map(|pair| Some((rest.find(pair.0)?, pair))).min_by_key(|(at, _)| *at)
    {
        parts.push(rest[..at].into());
        parts.push(value.clone());
        rest = &rest[at + name.len()..];
    }
    parts.push(rest.into());
    join(&parts)
}
