//! The load balancer: prod and dev listeners, a target group for each environment.

use cutover_lambda::color::Color;

use super::network::Network;
use super::{Both, Settings, tags};
use crate::cdk::{Condition, Expr, Ref, Stack, join};
use crate::resources::ec2::Subnet;
use crate::resources::elbv2::{
    Attribute, Forward, HeaderCondition, Listener, ListenerRule, LoadBalancer, Matcher, Protocol, Scheme, TargetGroup,
};
use crate::resources::values::Port;

/// The request header that addresses an environment on the dev listener, whoever is dev.
pub const ENVIRONMENT_HEADER: &str = "x-bluegreen-env";

/// The load balancer with its listeners and target groups.
pub struct LoadBalancing {
    /// What users see.
    pub prod: Ref<Listener>,
    /// Where the next version is tried.
    pub dev: Ref<Listener>,
    /// The rules that keep both target groups referenced, and so health-checked, whatever the listeners do.
    pub rules: Both<Ref<ListenerRule>>,
    /// One target group for each environment.
    pub target_groups: Both<Ref<TargetGroup>>,
    /// `http://name` of prod, without a slash at the end.
    pub prod_url: Expr<String>,
    /// `http://name:port` of dev.
    pub dev_url: Expr<String>,
}

impl LoadBalancing {
    /// Adds the load balancer to the stack. Prod forwards to green where `green_is_prod` holds, to blue elsewhere;
    /// dev to the other.
    pub fn new(stack: &mut Stack, settings: &Settings, network: &Network, green_is_prod: &Condition) -> Self {
        let load_balancer = Self::balancer(stack, network);
        let target_groups = Both::make(|color| Self::target_group(stack, settings, network, color));
        let (blue, green) = (target_groups.blue.arn(), target_groups.green.arn());
        let mut listener = |id: &str, port: Port, target: Expr<_>| {
            stack.add(
                id,
                Listener {
                    load_balancer_arn: load_balancer.arn(),
                    port,
                    protocol: Protocol::Http,
                    default_actions: vec![Forward::to(target)],
                },
            )
        };
        let prod_target = Expr::when(green_is_prod, &green, &blue);
        let prod = listener("ProdListener", settings.prod.port, prod_target);
        let dev = listener("DevListener", settings.dev.port, Expr::when(green_is_prod, &blue, &green));
        let rules = Both::make(|color| Self::rule(stack, &dev, &target_groups, color));
        let prod_url = Self::url(&load_balancer, settings.prod.port);
        let dev_url = Self::url(&load_balancer, settings.dev.port);
        Self { prod, dev, rules, target_groups, prod_url, dev_url }
    }

    fn balancer(stack: &mut Stack, network: &Network) -> Ref<LoadBalancer> {
        let load_balancer = stack.add(
            "LoadBalancer",
            LoadBalancer {
                r#type: "application",
                scheme: Scheme::InternetFacing,
                subnets: network.subnets.iter().map(Ref::<Subnet>::id).collect(),
                security_groups: vec![network.balancer_group.id()],
                load_balancer_attributes: vec![
                    Attribute::new("routing.http.drop_invalid_header_fields.enabled", "true"),
                    Attribute::new("routing.http.desync_mitigation_mode", "defensive"),
                ],
                tags: tags("load-balancer"),
            },
        );
        stack.after(&load_balancer, &network.internet_route);
        load_balancer
    }

    fn target_group(stack: &mut Stack, settings: &Settings, network: &Network, color: Color) -> Ref<TargetGroup> {
        stack.add(
            &format!("{}TargetGroup", title(color)),
            TargetGroup {
                vpc_id: network.vpc.id(),
                target_type: "ip",
                port: settings.app.port,
                protocol: Protocol::Http,
                health_check_path: settings.health_check.path.clone(),
                health_check_interval_seconds: settings.health_check.interval,
                health_check_timeout_seconds: settings.health_check.timeout,
                healthy_threshold_count: settings.health_check.healthy_threshold,
                unhealthy_threshold_count: settings.health_check.unhealthy_threshold,
                matcher: Matcher { http_code: "200".to_owned() },
                target_group_attributes: vec![Attribute::new(
                    "deregistration_delay.timeout_seconds",
                    settings.app.deregistration_delay.to_string(),
                )],
                tags: tags(color.as_str()),
            },
        )
    }

    fn rule(
        stack: &mut Stack,
        dev: &Ref<Listener>,
        target_groups: &Both<Ref<TargetGroup>>,
        color: Color,
    ) -> Ref<ListenerRule> {
        let priority = match color {
            Color::Blue => 10,
            Color::Green => 20,
        };
        stack.add(
            &format!("Dev{}Rule", title(color)),
            ListenerRule {
                listener_arn: dev.arn(),
                priority,
                conditions: vec![HeaderCondition::new(ENVIRONMENT_HEADER, color.as_str())],
                actions: vec![Forward::to(target_groups.of(color).arn())],
            },
        )
    }

    fn url(load_balancer: &Ref<LoadBalancer>, port: Port) -> Expr<String> {
        let port = if port.get() == 80 { String::new() } else { format!(":{port}") };
        join(&["http://".into(), load_balancer.dns_name(), port.into()])
    }
}

/// The color as logical ids start with it.
pub fn title(color: Color) -> &'static str {
    match color {
        Color::Blue => "Blue",
        Color::Green => "Green",
    }
}
