//! The load balancer: the listeners of prod and dev, and a target group for each environment.
//!
//! The template does not determine where prod and dev send requests: each listener has one rule, which the cutover
//! function creates and changes. A rule takes precedence over the default action of the listener, which here answers
//! that there is no release yet. So no update of the stack, and no rollback of an update, moves traffic
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html>).

use model::color::Color;

use super::access_log::AccessLog;
use super::network::Network;
use super::part::{Marking, Serves};
use super::side::Sides;
use super::{Settings, tags};
use cfn_kit::resources::elbv2::{
    Action, Attribute, Certificate, HeaderCondition, Listener, ListenerRule, LoadBalancer, Matcher, Protocol, Scheme,
    SslPolicy, TargetGroup,
};
use cfn_kit::resources::values::Port;
use cfn_kit::{Expr, Ref, Stack, Statement, join, own_arn};
use model::names::ENVIRONMENT_HEADER;

/// The response of a listener that does not have its rule yet.
const NO_RELEASE: &str = "There is no release yet.";

/// The port of the target groups. It has no effect: ECS registers each task with the port of its container, which
/// overrides it. It is a constant because a change would replace the target group.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html>
const REGISTERED_WITHOUT_PORT: Port = Port::HTTP;

/// The load balancer with its listeners and target groups.
pub struct LoadBalancing {
    /// The load balancer.
    pub load_balancer: Ref<LoadBalancer>,
    /// The listener that users open.
    pub prod: Ref<Listener>,
    /// The listener to test the next release.
    pub dev: Ref<Listener>,
    /// Redirects HTTP to the prod listener.
    pub redirect: Option<Ref<Listener>>,
    /// The rules that always refer to both target groups, so that both are health-checked wherever the listeners point
    /// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>).
    pub rules: Sides<Ref<ListenerRule>>,
    /// One target group for each environment.
    pub target_groups: Sides<Ref<TargetGroup>>,
    /// URL of prod, without a slash at the end.
    pub prod_url: Expr<String>,
    /// URL of dev.
    pub dev_url: Expr<String>,
    /// The host that the function connects to instead of those in the URLs, if any (as curl's `--connect-to`).
    pub connect_to: Option<Expr<String>>,
}

impl LoadBalancing {
    /// Adds the load balancer to the stack.
    pub fn new(stack: &mut Stack, settings: &Settings, network: &Network, log: Option<&AccessLog>) -> Self {
        let stack = &mut stack.serving(Serves::Everyone);
        let load_balancer = balancer(stack, network, log);
        let target_groups = Sides::make(|color| target_group(stack, settings, network, color));
        let mut add = |id, port| {
            let added = stack.add(id, listener(settings, &load_balancer, port));
            // The function's rule refers to the target groups, and a group in use cannot be deleted: the listener must
            // be deleted first, together with its rules
            // (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeleteTargetGroup.html).
            for color in Color::ALL {
                stack.after(&added, target_groups.of(color));
            }
            added
        };
        let prod = add("ProdListener", settings.prod_port());
        let dev = add("DevListener", settings.dev_port());
        let rules = Sides::make(|color| rule(stack, &dev, &target_groups, color));
        let redirect = settings.redirects_http().then(|| redirect(stack, settings, &load_balancer));
        let prod_url = url(settings, &load_balancer, settings.prod_port());
        let dev_url = url(settings, &load_balancer, settings.dev_port());
        let connect_to = connect_to(settings, &load_balancer);
        Self { load_balancer, prod, dev, redirect, rules, target_groups, prod_url, dev_url, connect_to }
    }

    /// Allows creating rules with the tags of this stack on the listeners of prod and dev.
    pub fn grant_make_rules(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("MakeRules", actions, vec![self.prod.arn().text(), self.dev.arn().text()]).only_if(
            "StringEquals",
            "aws:RequestTag/bluegreen:stack",
            Expr::stack_name(),
        )
    }

    /// Allows tagging a rule, but only when creating it.
    pub fn grant_tag_new_rules(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("TagNewRules", actions, vec![self.rules_arn()]).only_if(
            "StringEquals",
            "elasticloadbalancing:CreateAction",
            "CreateRule",
        )
    }

    /// Allows moving traffic: changing the rules with the tag of this stack, and no others.
    pub fn grant_move(&self, actions: &[&'static str]) -> Statement {
        Statement::allow("MoveTraffic", actions, vec![self.rules_arn()]).only_if(
            "StringEquals",
            "aws:ResourceTag/bluegreen:stack",
            Expr::stack_name(),
        )
    }

    /// Every rule of the load balancer.
    fn rules_arn(&self) -> Expr<String> {
        own_arn("elasticloadbalancing", &["listener-rule/".into(), self.load_balancer.full_name(), "/*".into()])
    }

    /// Allows reading. The `Describe*` actions of a load balancer accept only the resource `*`
    /// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html>).
    pub fn grant_see(actions: &[&'static str]) -> Statement {
        Statement::allow("SeeTraffic", actions, vec!["*".into()])
    }
}

fn balancer(stack: &mut Stack, network: &Network, log: Option<&AccessLog>) -> Ref<LoadBalancer> {
    let mut attributes = vec![
        Attribute::new("routing.http.drop_invalid_header_fields.enabled", "true"),
        Attribute::new("routing.http.desync_mitigation_mode", "defensive"),
    ];
    if let Some(log) = log {
        attributes.push(Attribute::new("access_logs.s3.enabled", "true"));
        attributes.push(Attribute::new("access_logs.s3.bucket", log.bucket.text()));
        attributes.push(Attribute::new("access_logs.s3.prefix", log.balancer_prefix.clone()));
    }
    let load_balancer = stack.add(
        "LoadBalancer",
        LoadBalancer {
            r#type: "application",
            scheme: Scheme::InternetFacing,
            subnets: network.public_subnets.clone(),
            security_groups: vec![network.balancer_group.id()],
            load_balancer_attributes: attributes,
            tags: tags("load-balancer"),
        },
    );
    network.internet_route.iter().for_each(|route| stack.after(&load_balancer, route));
    // The load balancer writes a test file to the bucket when access logs are turned on.
    if let Some(log) = log {
        log.before(stack, &load_balancer);
    }
    load_balancer
}

fn listener(settings: &Settings, load_balancer: &Ref<LoadBalancer>, port: Port) -> Listener {
    let certificate = settings.https.certificate.clone();
    Listener {
        load_balancer_arn: load_balancer.arn(),
        port,
        protocol: if certificate.is_some() { Protocol::Https } else { Protocol::Http },
        ssl_policy: certificate.is_some().then_some(SslPolicy::Tls13),
        certificates: certificate.into_iter().map(|certificate_arn| Certificate { certificate_arn }).collect(),
        default_actions: vec![Action::unavailable(NO_RELEASE)],
    }
}

/// The listener that redirects HTTP to prod.
fn redirect(stack: &mut Stack, settings: &Settings, load_balancer: &Ref<LoadBalancer>) -> Ref<Listener> {
    stack.add(
        "RedirectListener",
        Listener {
            load_balancer_arn: load_balancer.arn(),
            port: Port::HTTP,
            protocol: Protocol::Http,
            ssl_policy: None,
            certificates: Vec::new(),
            default_actions: vec![Action::to_https(settings.prod_port())],
        },
    )
}

fn target_group(stack: &mut Stack, settings: &Settings, network: &Network, color: Color) -> Ref<TargetGroup> {
    let check = &settings.health_check;
    stack.serving_half(color).add(
        &format!("{}TargetGroup", title(color)),
        TargetGroup {
            vpc_id: network.vpc.clone(),
            target_type: "ip",
            port: REGISTERED_WITHOUT_PORT,
            protocol: Protocol::Http,
            health_check_path: check.path.clone(),
            health_check_interval_seconds: check.interval,
            health_check_timeout_seconds: check.timeout,
            healthy_threshold_count: check.healthy_threshold,
            unhealthy_threshold_count: check.unhealthy_threshold,
            matcher: Matcher { http_code: check.success_codes.to_string() },
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
    target_groups: &Sides<Ref<TargetGroup>>,
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
            actions: vec![Action::forward(target_groups.of(color).arn())],
        },
    )
}

fn url(settings: &Settings, load_balancer: &Ref<LoadBalancer>, port: Port) -> Expr<String> {
    let (scheme, usual) = if settings.has_https() { ("https://", Port::HTTPS) } else { ("http://", Port::HTTP) };
    let name = match &settings.https.domain {
        Some(domain) => domain.as_str().into(),
        None => load_balancer.dns_name(),
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    join(&[scheme.into(), name, port.into()])
}

/// If there is a domain, the function still connects to the load balancer by its own DNS name, so it works before the
/// DNS record of the domain exists.
fn connect_to(settings: &Settings, load_balancer: &Ref<LoadBalancer>) -> Option<Expr<String>> {
    let domain = settings.https.domain.as_ref()?;
    let mut parts = Vec::new();
    for (comma, port) in [("", settings.prod_port()), (",", settings.dev_port())] {
        parts.push(format!("{comma}{domain}:{port}:").into());
        parts.push(load_balancer.dns_name());
        parts.push(format!(":{port}").into());
    }
    Some(join(&parts))
}

/// The color as logical ids start with it.
pub fn title(color: Color) -> &'static str {
    match color {
        Color::Blue => "Blue",
        Color::Green => "Green",
    }
}
