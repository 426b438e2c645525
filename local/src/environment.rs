//! The environment variables that point a program at the local cloud: those of AWS and those of bluegreen.

use crate::access::AccessKey;
use crate::balancer::ForwardSet;
use crate::commands::block_on;
use crate::control::{self, Question};
use crate::error::Result;
use crate::instance::{Layout, Record};
use std::net::Ipv4Addr;

/// Variables that would point the AWS configuration elsewhere and must be unset.
pub(crate) const REMOVED: [&str; 6] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ENDPOINT_URL_S3",
];

/// How to reach the listeners of the load balancers: as in curl's `--connect-to`, comma separated, with the addresses of
/// all nodes. Each load balancer has its own ports. The last rules have no host: they are for the next load balancer, whose
/// DNS name nobody knows yet.
pub(crate) fn connect_to(nodes: &[Ipv4Addr], sets: &[ForwardSet]) -> String {
    let nodes: Vec<String> = nodes.iter().map(Ipv4Addr::to_string).collect();
    let nodes = nodes.join("|");
    let rules = |set: &ForwardSet| -> Vec<String> {
        let host = set.balancer.as_deref().unwrap_or_default();
        set.forwards.iter().map(|forward| format!("{host}:{}:{nodes}:{}", forward.listener, forward.local)).collect()
    };
    let taken = sets.iter().filter(|set| set.balancer.is_some());
    let free = sets.iter().find(|set| set.balancer.is_none());
    taken.chain(free).flat_map(rules).collect::<Vec<_>>().join(",")
}

/// The sets of forwarded ports of the running instance.
pub(crate) fn forwards(layout: &Layout) -> Result<Vec<ForwardSet>> {
    block_on(control::ask(&layout.control_socket(), &Question::Forwards))
}

/// The variables for a program that uses this instance.
pub(crate) fn variables(layout: &Layout, record: &Record) -> Result<Vec<(&'static str, String)>> {
    let key = AccessKey::read(&layout.credentials())?;
    let forwards = forwards(layout)?;
    let no_proxy = without_proxy(&std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default());
    Ok(vec![
        ("AWS_ENDPOINT_URL", record.endpoint()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ("AWS_REGION", record.region.clone()),
        ("AWS_DEFAULT_REGION", record.region.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
        // Probes of HTTPS listeners trust it. The endpoint itself has no TLS.
        ("AWS_CA_BUNDLE", layout.authority().display().to_string()),
        ("BLUEGREEN_CONNECT_TO", connect_to(&record.nodes, &forwards)),
        ("BLUEGREEN_REGISTRY", record.endpoint()),
        ("NO_PROXY", no_proxy.clone()),
        ("no_proxy", no_proxy),
    ])
}

/// The hosts that are reached without a proxy: those of the caller, and this machine, which no proxy can reach.
fn without_proxy(given: &str) -> String {
    let own = ["127.0.0.1", "localhost", "::1"];
    let known: Vec<&str> = given.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    if known.contains(&"*") {
        return "*".to_owned();
    }
    let missing = own.into_iter().filter(|host| !known.contains(host));
    known.iter().copied().chain(missing).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Forward;

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        let own = "127.0.0.1,localhost,::1";
        assert_eq!(without_proxy(""), own);
        assert_eq!(without_proxy("intra.example, localhost"), "intra.example,localhost,127.0.0.1,::1");
        assert_eq!(without_proxy("a,*"), "*");
    }

    fn set(balancer: Option<&str>, first: u16) -> ForwardSet {
        let forwards = vec![Forward { local: first, listener: 80 }, Forward { local: first + 1, listener: 81 }];
        ForwardSet { balancer: balancer.map(str::to_owned), forwards, secure: Vec::new() }
    }

    #[test]
    fn the_first_free_set_is_for_any_host_and_every_other_for_its_load_balancer() {
        let nodes = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 64, 0, 1)];
        assert_eq!(
            connect_to(&nodes, &[set(None, 8080), set(None, 9000)]),
            ":80:127.0.0.1|127.64.0.1:8080,:81:127.0.0.1|127.64.0.1:8081"
        );
        assert_eq!(
            connect_to(&nodes[..1], &[set(None, 8080), set(Some("two"), 9000)]),
            "two:80:127.0.0.1:9000,two:81:127.0.0.1:9001,:80:127.0.0.1:8080,:81:127.0.0.1:8081"
        );
        assert_eq!(connect_to(&nodes, &[]), "");
    }
}
