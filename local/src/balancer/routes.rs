//! The routes of every listener, from the state of the API: rules, groups by weight, and targets in turn.

use super::metrics::Counters;
use super::model::{self, Action, FixedResponse, LoadBalancer, Redirect, State};
use super::rules::Matching;
use super::sticky::Stickiness;
use super::target::Target;
use crate::engine::probe::Protocol;
use http::{HeaderMap, Method, Uri};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The duration of the stickiness of a group if an action sets none. It must set one on AWS.
const STICKY_SECONDS: u64 = 3600;

/// The registered targets of every group, by the ARN of the group.
pub(super) type Registered = BTreeMap<String, Arc<Group>>;

/// How a target group distributes its requests:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The ARN of the group.
    pub(super) arn: String,
    pub(super) protocol: Protocol,
    pub(super) stickiness: Option<Stickiness>,
    /// The target with the fewest requests in progress gets the next one.
    least_outstanding: bool,
    /// The time in which the share of a new target grows; zero if it has its full share at once.
    slow_start: Duration,
}

impl Settings {
    /// The settings of a group.
    pub(super) fn of(group: &model::TargetGroup) -> Self {
        let attribute = |key: &str| group.attributes.get(key).map(String::as_str);
        let slow_start = attribute("slow_start.duration_seconds").and_then(|text| text.parse().ok());
        Self {
            arn: group.target_group_arn.clone(),
            protocol: Protocol::read(&group.protocol, group.protocol_version.as_deref()),
            stickiness: Stickiness::read(attribute),
            least_outstanding: attribute("load_balancing.algorithm.type") == Some("least_outstanding_requests"),
            slow_start: Duration::from_secs(slow_start.unwrap_or(0)),
        }
    }
}

/// A target group for routing.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) targets: Vec<Arc<Target>>,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Settings,
    next: AtomicUsize,
}

impl Group {
    pub(super) fn new(targets: Vec<Arc<Target>>, counters: Arc<Counters>, settings: Settings) -> Self {
        Self { targets, counters, settings, next: AtomicUsize::new(0) }
    }

    /// The next target: among the healthy targets, or among all if none is healthy ("fail open").
    pub(super) fn choose(&self) -> Option<&Arc<Target>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let healthy = || self.targets.iter().filter(|target| target.serves());
        let count = healthy().count();
        if count == 0 {
            return self.targets.get(turn.checked_rem(self.targets.len())?);
        }
        // Each request begins with another target.
        let mut in_turn = healthy().cycle().skip(turn % count).take(count);
        if self.settings.least_outstanding {
            return in_turn.min_by_key(|target| target.under_way());
        }
        if self.settings.slow_start.is_zero() {
            return in_turn.next();
        }
        let now = Instant::now();
        // While all targets are new, nobody else could take their share.
        let all_new = healthy().all(|target| target.healthy_for(now) < self.settings.slow_start);
        let first = healthy().nth(turn % count);
        // The golden ratio spreads the requests that a target gets evenly.
        let point = fraction(turn / count);
        let takes = |target: &&Arc<Target>| {
            all_new || target.healthy_for(now).as_secs_f64() > self.settings.slow_start.as_secs_f64() * point
        };
        in_turn.find(takes).or(first)
    }

    /// The target with a name, if it gets requests.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.serves() && !target.is_draining() && target.name() == name)
    }
}

/// A number from 0 to 1; those of successive turns are evenly spread.
fn fraction(turn: usize) -> f64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let bits = u32::try_from((turn as u64).wrapping_mul(GOLDEN) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
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
    /// The duration for which a client stays in a group.
    pub(super) stickiness: Option<Duration>,
}

impl Shares {
    fn new(groups: Vec<(Arc<Group>, u64)>, stickiness: Option<Duration>) -> Self {
        let total = groups.iter().map(|(_, weight)| weight).sum();
        Self { groups, total, next: AtomicU64::new(0), stickiness }
    }

    /// The group with an ARN, whatever its weight is.
    pub(super) fn find(&self, arn: &str) -> Option<&Arc<Group>> {
        self.groups.iter().map(|(group, _)| group).find(|group| group.settings.arn == arn)
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

/// The TLS settings of an HTTPS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// The names of each certificate, the default one first; none for a certificate that ACM does not have.
    certificates: Vec<Option<Vec<String>>>,
    pub(super) policy: String,
}

impl Tls {
    /// The names of the certificate for a host: the first one of the list that fits, or the default one. None if ACM does
    /// not have it. See
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html>.
    pub(super) fn names(&self, host: Option<&str>) -> Option<Vec<String>> {
        let covers = |names: &&Vec<String>| host.is_some_and(|host| names.iter().any(|name| is_for(name, host)));
        let fitting = self.certificates.iter().flatten().find(covers);
        fitting.or_else(|| self.certificates.first()?.as_ref()).cloned()
    }
}

/// Whether a name of a certificate, which can begin with `*.`, is for a host.
fn is_for(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// One listener port.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) port: u16,
    pub(super) balancer: LoadBalancer,
    /// None for HTTP.
    pub(super) tls: Option<Tls>,
    rules: Vec<Rule>,
}

impl Listener {
    /// Whether this is the DNS name of its load balancer.
    fn is_named(&self, name: &str) -> bool {
        self.balancer.dns_name.eq_ignore_ascii_case(name)
    }

    /// An attribute of its load balancer.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.balancer.attributes.get(key).map(String::as_str)
    }

    /// An attribute of its load balancer that is a number of seconds.
    pub(super) fn seconds(&self, key: &str) -> Option<Duration> {
        self.setting(key).and_then(|text| text.parse().ok()).map(Duration::from_secs)
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
    /// None for HTTP.
    pub(super) tls: Option<Tls>,
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
                tls: (listener.protocol == "HTTPS").then(|| tls(state, listener)),
                rules: rules(state, &listener.listener_arn),
            }));
        }
    }
    plan
}

fn tls(state: &State, listener: &model::Listener) -> Tls {
    let names = |arn: &String| {
        let known = state.certificates.iter().find(|one| one.certificate_arn == *arn);
        known.map(|one| one.names.clone())
    };
    Tls {
        certificates: listener.certificates.iter().map(names).collect(),
        policy: listener.ssl_policy.clone().unwrap_or_default(),
    }
}

fn rules(state: &State, listener: &str) -> Vec<model::Rule> {
    let mut found: Vec<_> = state.rules.iter().filter(|rule| rule.listener_arn == listener).cloned().collect();
    found.sort_by_key(|rule| (rule.is_default, rule.priority.parse::<u32>().unwrap_or(u32::MAX)));
    found
}

/// The load balancer of each set of forwarded ports, by its ARN; none for a set that no load balancer has yet.
pub(super) type Owners = Vec<Option<String>>;

/// Gives each load balancer with a listener on one of these ports a set of its own, and keeps what it has. A new load
/// balancer gets the first free set.
pub(super) fn assign(owners: &mut Owners, plan: &Plan, ports: &[u16]) {
    let served = plan.iter().filter(|listening| ports.contains(&listening.port));
    let arns: Vec<&str> = served.map(|listening| listening.balancer.load_balancer_arn.as_str()).collect();
    for owner in &mut *owners {
        owner.take_if(|arn| !arns.contains(&arn.as_str()));
    }
    for arn in arns {
        if owners.iter().flatten().any(|owner| owner == arn) {
            continue;
        }
        match owners.iter_mut().find(|owner| owner.is_none()) {
            Some(free) => *free = Some(arn.to_owned()),
            None => owners.push(Some(arn.to_owned())),
        }
    }
}

/// Every listener, those of the oldest load balancer first, and the load balancers of the forwarded ports.
#[derive(Debug, Default)]
pub(super) struct Routes {
    listeners: Vec<Listener>,
    owners: Owners,
}

impl Routes {
    pub(super) fn new(plan: &[Arc<Listening>], groups: &Registered, owners: &Owners) -> Self {
        let rule = |rule: &model::Rule| Rule {
            conditions: rule.conditions.iter().map(Matching::read).collect(),
            route: route(&rule.actions, groups),
        };
        let listener = |listening: &Arc<Listening>| Listener {
            port: listening.port,
            balancer: listening.balancer.clone(),
            tls: listening.tls.clone(),
            rules: listening.rules.iter().map(rule).collect(),
        };
        Self { listeners: plan.iter().map(listener).collect(), owners: owners.clone() }
    }

    /// The listener with a port for a request that arrived at a forwarded port of a set: that of the load balancer which
    /// the `Host` header names, or that of the load balancer which has the set.
    pub(super) fn listener(&self, set: usize, port: u16, host: Option<&str>) -> Option<&Listener> {
        let name = host.map_or("", |host| host.rsplit_once(':').map_or(host, |(name, _)| name));
        let mut with_port = self.listeners.iter().filter(|listener| listener.port == port);
        if is_of_a_load_balancer(name) || self.listeners.iter().any(|listener| listener.is_named(name)) {
            return with_port.find(|listener| listener.is_named(name));
        }
        let owner = self.owners.get(set).and_then(Option::as_ref);
        let has_the_set = |listener: &&Listener| Some(&listener.balancer.load_balancer_arn) == owner;
        // The first set is for every listener that has no other, and a domain name may lead to any load balancer.
        let any = set == 0 || !is_this_machine(name);
        with_port.clone().find(has_the_set).or_else(|| with_port.next().filter(|_| any))
    }

    /// Whether there is an HTTPS listener with a port.
    pub(super) fn any_tls(&self, port: u16) -> bool {
        self.listeners.iter().any(|listener| listener.port == port && listener.tls.is_some())
    }
}

/// Whether a host is the DNS name of a load balancer, existing or not:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html>.
fn is_of_a_load_balancer(name: &str) -> bool {
    name.to_ascii_lowercase().split('.').any(|label| label == "elb")
}

/// Whether a host is a name of this machine, so that the request came to a forwarded port.
pub(super) fn is_this_machine(name: &str) -> bool {
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
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
            let sticky = action.forward_config.as_ref().map(|config| &config.target_group_stickiness_config);
            let sticky = sticky.filter(|sticky| sticky.enabled);
            let stickiness =
                sticky.map(|sticky| Duration::from_secs(sticky.duration_seconds.unwrap_or(STICKY_SECONDS)));
            Route::Forward(Shares::new(weighted(action).into_iter().filter_map(known).collect(), stickiness))
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
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            Target::new(&format!("{name}{index}"), address, health.clone(), Protocol::default())
        };
        let targets = health.iter().enumerate().map(target).collect();
        Arc::new(Group::new(targets, Counters::new(), Settings { arn: name.to_owned(), ..Settings::default() }))
    }

    fn with(group: &Arc<Group>, settings: Settings) -> Group {
        Group::new(group.targets.clone(), Counters::new(), settings)
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
        let shares = Shares::new(vec![(Arc::clone(&few), 10), (most, 90)], None);
        let turns: Vec<bool> = (0..1000).map(|_| Arc::ptr_eq(shares.choose().unwrap(), &few)).collect();
        let count = turns.iter().filter(|few| **few).count();
        assert!((95..=105).contains(&count), "{count}");
        let longest_gap = turns.split(|few| *few).map(<[bool]>::len).max().unwrap();
        assert!(longest_gap < 30, "{longest_gap}");
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let (off, on) = (group("off", &[]), group("on", &[]));
        let shares = Shares::new(vec![(Arc::clone(&off), 0), (Arc::clone(&on), 1)], None);
        assert!((0..100).all(|_| Arc::ptr_eq(shares.choose().unwrap(), &on)));
        assert!(shares.find("on").is_some() && shares.find("off").is_some() && shares.find("other").is_none());
        assert!(Shares::new(vec![(off, 0)], None).choose().is_none());
    }

    #[test]
    fn the_target_with_the_fewest_requests_is_next_if_the_group_says_so() {
        let group = with(
            &group("t", &[Health::healthy(), Health::healthy()]),
            Settings { least_outstanding: true, ..Settings::default() },
        );
        let held = group.targets[0].enter().unwrap();
        assert_eq!(chosen(&group, 4), BTreeMap::from([("t1".into(), 4)]));
        drop(held);
        assert_eq!(chosen(&group, 4), BTreeMap::from([("t0".into(), 2), ("t1".into(), 2)]));
    }

    #[test]
    fn a_new_target_gets_few_requests_while_others_are_not_new() {
        let old = group("t", &[Health::healthy(), Health::initial()]);
        std::thread::sleep(Duration::from_millis(20));
        old.targets[1].set(Health::healthy());
        let slow = |slow_start| with(&old, Settings { slow_start, ..Settings::default() });
        let begun = chosen(&slow(Duration::from_millis(20)), 100);
        assert!(begun["t1"] < 50, "{begun:?}");
        assert_eq!(chosen(&slow(Duration::from_hours(1)), 100)["t1"], 50, "all are new");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(chosen(&slow(Duration::from_millis(20)), 100)["t1"], 50, "it is no longer new");
    }

    #[test]
    fn the_certificate_of_a_host_is_the_one_that_names_it_or_the_default() {
        let names = |all: &[&str]| Some(all.iter().map(ToString::to_string).collect::<Vec<_>>());
        let tls = Tls {
            certificates: vec![names(&["shop.example"]), names(&["*.cart.example", "cart.example"]), None],
            policy: String::new(),
        };
        let first = |host| tls.names(host).unwrap().swap_remove(0);
        assert_eq!(first(Some("SHOP.example")), "shop.example");
        assert_eq!(first(Some("a.cart.example")), "*.cart.example");
        assert_eq!(first(Some("a.b.cart.example")), "shop.example");
        assert_eq!(first(None), "shop.example");
        assert_eq!(Tls { certificates: vec![None], policy: String::new() }.names(Some("a")), None);
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
        let routes = Routes::new(&plan(&state), &BTreeMap::new(), &Owners::new());
        let status = |header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("x-env", value.parse().unwrap());
            }
            let route = routes.listener(0, 81, None).unwrap().route(&Method::GET, &Uri::from_static("/"), &headers);
            match route {
                Some(Route::Fixed(fixed)) => fixed.status_code.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([status(Some("blue")), status(Some("green")), status(None)], ["203", "202", "200"]);
        assert!(routes.listener(0, 80, None).is_none());
    }

    /// Load balancers with these names, each with listeners on these ports.
    fn balancers(all: &[(&str, &[u16])]) -> Plan {
        let listeners = all.iter().flat_map(|(name, ports)| {
            let listener = move |port: &u16| {
                serde_json::json!({"ListenerArn": format!("{name}{port}"), "LoadBalancerArn": name, "Port": port})
            };
            ports.iter().map(listener)
        });
        let balancer = |(name, _): &(&str, &[u16])| serde_json::json!({"LoadBalancerArn": name, "DNSName": format!("{name}.elb.example")});
        let state: State = serde_json::from_value(serde_json::json!({
            "LoadBalancers": all.iter().map(balancer).collect::<Vec<_>>(),
            "Listeners": listeners.collect::<Vec<_>>(),
            "Rules": [],
            "TargetGroups": [],
        }))
        .unwrap();
        plan(&state)
    }

    #[test]
    fn each_load_balancer_has_its_own_set_and_keeps_it() {
        let mut owners = Owners::new();
        let mut assigned = |all: &[(&str, &[u16])]| {
            assign(&mut owners, &balancers(all), &[80, 81]);
            owners.iter().map(|owner| owner.clone().unwrap_or_default()).collect::<Vec<_>>().join(",")
        };
        assert_eq!(assigned(&[("other", &[9000]), ("one", &[80, 81]), ("two", &[80])]), "one,two");
        assert_eq!(assigned(&[("two", &[80])]), ",two", "two keeps its ports");
        assert_eq!(assigned(&[("two", &[80]), ("three", &[81])]), "three,two");
        assert_eq!(assigned(&[]), ",");
    }

    #[test]
    fn a_request_reaches_the_load_balancer_that_its_host_names_or_that_has_the_port() {
        let plan = balancers(&[("one", &[80, 81]), ("two", &[80, 82])]);
        let mut owners = Owners::new();
        assign(&mut owners, &plan, &[80, 81, 82]);
        let routes = Routes::new(&plan, &BTreeMap::new(), &owners);
        let found = |set, port, host| {
            let listener = routes.listener(set, port, Some(host));
            listener.map_or("none", |listener| listener.balancer.load_balancer_arn.as_str())
        };
        for set in 0..3 {
            assert_eq!(found(set, 80, "one.elb.example"), "one");
            assert_eq!(found(set, 80, "TWO.elb.example:80"), "two");
            assert_eq!(found(set, 81, "two.elb.example:81"), "none", "not the listener of another load balancer");
            assert_eq!(found(set, 80, "gone.elb.example"), "none", "not another load balancer");
        }
        assert_eq!([found(0, 80, "127.0.0.1:8080"), found(1, 80, "localhost:8090")], ["one", "two"]);
        assert_eq!([found(0, 82, "127.0.0.1:8082"), found(1, 81, "127.0.0.1:9")], ["two", "none"]);
        assert_eq!([found(2, 80, "127.0.0.1:8100"), found(2, 80, "shop.example")], ["none", "one"]);
    }
}
