//! The routes of every listener, from the state of the API: rules, groups by weight, and targets in turn.

use super::metrics::Counters;
use super::model::{self, Action, FixedResponse, LoadBalancer, Redirect, State};
use super::rules::Matching;
use super::target::Target;
use http::{HeaderMap, Method, Uri};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The registered targets of every group, by the ARN of the group.
pub(super) type Registered = BTreeMap<String, Arc<Group>>;

/// A target group for routing.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) targets: Vec<Arc<Target>>,
    pub(super) counters: Arc<Counters>,
    next: AtomicUsize,
}

impl Group {
    pub(super) fn new(targets: Vec<Arc<Target>>, counters: Arc<Counters>) -> Self {
        Self { targets, counters, next: AtomicUsize::new(0) }
    }

    /// The next target in turn: among the healthy targets, or among all if none is healthy ("fail open").
    pub(super) fn choose(&self) -> Option<&Arc<Target>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let healthy = self.targets.iter().filter(|target| target.serves());
        match healthy.clone().count() {
            0 => self.targets.get(turn.checked_rem(self.targets.len())?),
            count => healthy.clone().nth(turn % count),
        }
    }
}

/// The action for a request.
#[derive(Debug)]
pub(super) enum Route {
    Forward(Shares),
    Fixed(FixedResponse),
    Redirect(Redirect),
    /// An unsupported action.
    Unknown(String),
}

/// Groups with their weights.
#[derive(Debug)]
pub(super) struct Shares {
    groups: Vec<(Arc<Group>, u64)>,
    total: u64,
    next: AtomicU64,
}

impl Shares {
    fn new(groups: Vec<(Arc<Group>, u64)>) -> Self {
        let total = groups.iter().map(|(_, weight)| weight).sum();
        Self { groups, total, next: AtomicU64::new(0) }
    }

    /// The next group. Over any 1,000 requests, each group gets its share, evenly distributed.
    pub(super) fn choose(&self) -> Option<&Arc<Group>> {
        if let [(only, weight)] = self.groups.as_slice() {
            return (*weight > 0).then_some(only);
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        // Multiples of the golden ratio fill the interval evenly (a low-discrepancy sequence).
        let point = (u128::from(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * u128::from(self.total)) >> 64;
        let mut point = u64::try_from(point).unwrap_or_default();
        for (group, weight) in &self.groups {
            if point < *weight {
                return Some(group);
            }
            point -= weight;
        }
        None
    }
}

#[derive(Debug)]
struct Rule {
    conditions: Vec<Matching>,
    route: Route,
}

/// One listener port.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) port: u16,
    pub(super) balancer: LoadBalancer,
    rules: Vec<Rule>,
}

impl Listener {
    /// Whether a Boolean attribute of its load balancer is `true`.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.balancer.attributes.get(key).map(String::as_str)
    }

    /// The first rule that matches; the default rule is last.
    pub(super) fn route(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&Route> {
        let holds = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.holds(method, uri, headers));
        self.rules.iter().find(holds).map(|rule| &rule.route)
    }
}

/// A listener of the API: everything that decides the target of its requests, except the targets of the groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) arn: String,
    pub(super) port: u16,
    pub(super) balancer: LoadBalancer,
    /// By priority, the default rule last.
    rules: Vec<model::Rule>,
}

/// All listeners; those of the oldest load balancer are first.
pub(super) type Plan = Vec<Arc<Listening>>;

/// The listeners in a state.
pub(super) fn plan(state: &State) -> Plan {
    let mut plan = Plan::new();
    for balancer in &state.load_balancers {
        for listener in state.listeners.iter().filter(|one| one.load_balancer_arn == balancer.load_balancer_arn) {
            plan.push(Arc::new(Listening {
                arn: listener.listener_arn.clone(),
                port: listener.port,
                balancer: balancer.clone(),
                rules: rules(state, &listener.listener_arn),
            }));
        }
    }
    plan
}

fn rules(state: &State, listener: &str) -> Vec<model::Rule> {
    let mut found: Vec<_> = state.rules.iter().filter(|rule| rule.listener_arn == listener).cloned().collect();
    found.sort_by_key(|rule| (rule.is_default, rule.priority.parse::<u32>().unwrap_or(u32::MAX)));
    found
}

/// Every listener by its port. If several load balancers have the same port, the oldest gets it.
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<u16, Listener>);

impl Routes {
    pub(super) fn new(plan: &[Arc<Listening>], groups: &Registered) -> Self {
        let rule = |rule: &model::Rule| Rule {
            conditions: rule.conditions.iter().map(Matching::read).collect(),
            route: route(&rule.actions, groups),
        };
        let mut routes = BTreeMap::new();
        for listening in plan {
            routes.entry(listening.port).or_insert_with(|| Listener {
                port: listening.port,
                balancer: listening.balancer.clone(),
                rules: listening.rules.iter().map(rule).collect(),
            });
        }
        Self(routes)
    }

    pub(super) fn listener(&self, port: u16) -> Option<&Listener> {
        self.0.get(&port)
    }
}

/// The groups in use by a rule, with the load balancer of the rule: only those get health checks.
pub(super) fn in_use(state: &State) -> BTreeMap<&str, &str> {
    let mut used = BTreeMap::new();
    for listener in &state.listeners {
        let rules = state.rules.iter().filter(|rule| rule.listener_arn == listener.listener_arn);
        let groups = rules.flat_map(|rule| &rule.actions).flat_map(weighted).map(|(group, _)| group);
        used.extend(groups.map(|group| (group, listener.load_balancer_arn.as_str())));
    }
    used
}

fn weighted(action: &Action) -> Vec<(&str, u64)> {
    match &action.forward_config {
        Some(config) if !config.target_groups.is_empty() => {
            let groups = config.target_groups.iter();
            groups.map(|group| (group.target_group_arn.as_str(), u64::from(group.weight))).collect()
        }
        _ => action.target_group_arn.as_deref().map(|arn| (arn, 1)).into_iter().collect(),
    }
}

/// The final action: the last one. Actions before it are not performed.
fn route(actions: &[Action], groups: &Registered) -> Route {
    let Some(action) = actions.iter().max_by_key(|action| action.order) else {
        return Route::Unknown("nothing".to_owned());
    };
    match (action.r#type.as_str(), &action.fixed_response_config, &action.redirect_config) {
        ("forward", _, _) => {
            let known = |(arn, weight)| groups.get(arn).map(|group| (Arc::clone(group), weight));
            Route::Forward(Shares::new(weighted(action).into_iter().filter_map(known).collect()))
        }
        ("fixed-response", Some(fixed), _) => Route::Fixed(fixed.clone()),
        ("redirect", _, Some(redirect)) => Route::Redirect(redirect.clone()),
        (other, _, _) => Route::Unknown(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::target::Health;
    use std::net::SocketAddr;

    fn group(name: &str, health: &[Health]) -> Arc<Group> {
        let target = |(index, health): (usize, &Health)| {
            let port = u16::try_from(index).unwrap();
            Target::new(&format!("{name}{index}"), SocketAddr::from(([127, 0, 0, 1], port)), health.clone())
        };
        Arc::new(Group::new(health.iter().enumerate().map(target).collect(), Counters::new()))
    }

    fn chosen(group: &Group, times: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..times {
            *counts.entry(group.choose().unwrap().id.clone()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn healthy_targets_take_turns_and_others_get_nothing() {
        let group = group("t", &[Health::healthy(), Health::initial(), Health::healthy()]);
        assert_eq!(chosen(&group, 10), BTreeMap::from([("t0".into(), 5), ("t2".into(), 5)]));
    }

    #[test]
    fn a_group_without_a_healthy_target_sends_to_all_and_one_without_targets_to_none() {
        let without_healthy = group("t", &[Health::initial(), Health::initial()]);
        assert_eq!(chosen(&without_healthy, 4), BTreeMap::from([("t0".into(), 2), ("t1".into(), 2)]));
        assert!(group("t", &[]).choose().is_none());
    }

    #[test]
    fn shares_are_kept_and_spread_evenly() {
        let (few, most) = (group("few", &[]), group("most", &[]));
        let shares = Shares::new(vec![(Arc::clone(&few), 10), (most, 90)]);
        let turns: Vec<bool> = (0..1000).map(|_| Arc::ptr_eq(shares.choose().unwrap(), &few)).collect();
        let count = turns.iter().filter(|few| **few).count();
        assert!((95..=105).contains(&count), "{count}");
        let longest_gap = turns.split(|few| *few).map(<[bool]>::len).max().unwrap();
        assert!(longest_gap < 30, "{longest_gap}");
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let (off, on) = (group("off", &[]), group("on", &[]));
        let shares = Shares::new(vec![(Arc::clone(&off), 0), (Arc::clone(&on), 1)]);
        assert!((0..100).all(|_| Arc::ptr_eq(shares.choose().unwrap(), &on)));
        assert!(Shares::new(vec![(off, 0)]).choose().is_none());
    }

    #[test]
    fn rules_go_by_priority_and_the_default_comes_last() {
        let rule = |priority: &str, header: Option<&str>, status: &str| {
            let conditions = header.map(|value| {
                serde_json::json!({
                    "Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x-env", "Values": [value]}
                })
            });
            serde_json::json!({
                "ListenerArn": "l", "Priority": priority, "IsDefault": header.is_none(),
                "Conditions": conditions.into_iter().collect::<Vec<_>>(),
                "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status}}],
            })
        };
        let state: State = serde_json::from_value(serde_json::json!({
            "LoadBalancers": [{"LoadBalancerArn": "lb", "DNSName": "lb.example"}],
            "Listeners": [{"ListenerArn": "l", "LoadBalancerArn": "lb", "Port": 81}],
            "Rules": [rule("default", None, "200"), rule("20", Some("*"), "202"), rule("3", Some("blue"), "203")],
            "TargetGroups": [],
        }))
        .unwrap();
        let routes = Routes::new(&plan(&state), &BTreeMap::new());
        let status = |header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("x-env", value.parse().unwrap());
            }
            let route = routes.listener(81).unwrap().route(&Method::GET, &Uri::from_static("/"), &headers);
            match route {
                Some(Route::Fixed(fixed)) => fixed.status_code.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([status(Some("blue")), status(Some("green")), status(None)], ["203", "202", "200"]);
        assert!(routes.listener(80).is_none());
    }
}
