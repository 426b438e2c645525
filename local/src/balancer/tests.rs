//! How the nodes follow changes of the API.

use super::*;
use routes::Route;
use serde_json::json;

/// Longer than any test runs.
const HOUR_MS: u64 = 3_600_000;

fn balancer() -> Arc<Balancer> {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open(&crate::instance::Layout::new(dir.path()).unwrap()).unwrap();
    Balancer::new("http://127.0.0.1:9", TaskFaults::new().0, authority)
}

/// A listener on port 80 that forwards to one of two groups; each group has these targets.
fn snapshot(version: i64, to: &str, targets: &[&str]) -> Snapshot {
    let group = |arn: &str| {
        let targets: Vec<_> = targets.iter().map(|id| json!({"Id": id, "Port": 8080})).collect();
        json!({
            "TargetGroupArn": arn, "TargetGroupName": arn, "Port": 8080, "HealthCheckEnabled": false,
            "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2, "Targets": targets,
        })
    };
    serde_json::from_value(json!({
        "Version": version,
        "State": {
            "LoadBalancers": [{"LoadBalancerArn": "lb", "DNSName": "lb.example"}],
            "Listeners": [{"ListenerArn": "l", "LoadBalancerArn": "lb", "Port": 80}],
            "Rules": [{
                "ListenerArn": "l", "Priority": "default", "IsDefault": true,
                "Actions": [{"Type": "forward", "TargetGroupArn": to}],
            }],
            "TargetGroups": [group("one"), group("two")],
        },
    }))
    .unwrap()
}

/// The group and its targets to which each node sends requests.
fn sent(balancer: &Balancer) -> [(String, Vec<String>); NODES] {
    let registered = balancer.known().registered.clone();
    std::array::from_fn(|node| {
        let routes = balancer.routes(node);
        let listener = routes.listener(0, 80, None).unwrap();
        let route = listener.route(&http::Method::GET, &http::Uri::from_static("/"), &http::HeaderMap::new());
        let Some(Route::Forward(shares)) = route else { panic!("{route:?}") };
        let group = shares.choose().unwrap();
        let (arn, _) = registered.iter().find(|(_, registered)| Arc::ptr_eq(registered, group)).unwrap();
        (arn.clone(), group.targets.iter().map(|target| target.id.clone()).collect())
    })
}

fn to(group: &str, targets: &[&str]) -> (String, Vec<String>) {
    (group.to_owned(), targets.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_node_that_lags_keeps_its_rules_and_has_the_targets_of_now() {
    let balancer = balancer();
    balancer.apply(snapshot(1, "one", &["127.0.0.1"]));
    balancer.set_lag(HOUR_MS);
    balancer.apply(snapshot(2, "two", &["127.0.0.1", "127.0.0.2"]));
    assert_eq!(sent(&balancer)[1], to("one", &["127.0.0.1", "127.0.0.2"]));
    balancer.apply(snapshot(3, "two", &["127.0.0.2"]));
    assert_eq!(sent(&balancer)[1], to("one", &["127.0.0.2"]));
}

#[tokio::test]
async fn without_lag_all_nodes_have_followed_when_a_change_is_read() {
    let balancer = balancer();
    balancer.set_lag(0);
    for (version, group) in [(1, "one"), (2, "two"), (3, "one")] {
        balancer.apply(snapshot(version, group, &["127.0.0.1"]));
        assert_eq!(sent(&balancer), [to(group, &["127.0.0.1"]), to(group, &["127.0.0.1"])]);
    }
}

#[tokio::test]
async fn every_node_follows_by_itself_within_a_moment() {
    let balancer = balancer();
    balancer.apply(snapshot(1, "one", &["127.0.0.1"]));
    balancer.apply(snapshot(2, "two", &["127.0.0.1"]));
    let deadline = Instant::now() + Duration::from_secs(30);
    while sent(&balancer) != [to("two", &["127.0.0.1"]), to("two", &["127.0.0.1"])] {
        assert!(Instant::now() < deadline, "{:?}", sent(&balancer));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_lag_that_ends_leaves_nothing_waiting() {
    let balancer = balancer();
    balancer.apply(snapshot(1, "one", &["127.0.0.1"]));
    let lag = balancer.set_lag(HOUR_MS);
    balancer.apply(snapshot(2, "two", &["127.0.0.1"]));
    assert_eq!((balancer.clear_lag(Some(lag.id + 1)), balancer.lag().map(|lag| lag.ms)), (0, Some(HOUR_MS)));
    assert_eq!(sent(&balancer)[1], to("one", &["127.0.0.1"]));
    balancer.set_lag(0);
    assert_eq!(sent(&balancer)[1], to("two", &["127.0.0.1"]));
    assert_eq!((balancer.clear_lag(None), balancer.clear_lag(None)), (1, 0));
}
