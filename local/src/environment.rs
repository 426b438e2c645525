//! The environment variables that point a program at the local cloud: those of AWS and those of bluegreen.

use crate::access::AccessKey;
use crate::error::Result;
use crate::instance::{Forward, Layout, Record};
use std::net::Ipv4Addr;

/// Variables that would point the AWS configuration elsewhere and must be unset.
pub(crate) const REMOVED: [&str; 7] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ENDPOINT_URL_S3",
];

/// How to reach the listeners of the load balancer: as in curl's `--connect-to`, comma separated, with the addresses of
/// all nodes. The host is empty, because no DNS name of a load balancer resolves here.
pub(crate) fn connect_to(nodes: &[Ipv4Addr], forwards: &[Forward]) -> String {
    let nodes: Vec<String> = nodes.iter().map(Ipv4Addr::to_string).collect();
    let nodes = nodes.join("|");
    let rule = |forward: &Forward| format!(":{}:{nodes}:{}", forward.listener, forward.local);
    forwards.iter().map(rule).collect::<Vec<_>>().join(",")
}

/// The variables for a program that uses this instance.
pub(crate) fn variables(layout: &Layout, record: &Record) -> Result<Vec<(&'static str, String)>> {
    let key = AccessKey::read(&layout.credentials())?;
    Ok(vec![
        ("AWS_ENDPOINT_URL", record.endpoint()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ("AWS_REGION", record.region.clone()),
        ("AWS_DEFAULT_REGION", record.region.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ("BLUEGREEN_CONNECT_TO", connect_to(&record.nodes, &record.forwards)),
        ("BLUEGREEN_REGISTRY", record.endpoint()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forward_becomes_one_connect_to_entry_for_any_host() {
        let forwards = [Forward { local: 8080, listener: 80 }, Forward { local: 8081, listener: 81 }];
        let nodes = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 64, 0, 1)];
        let expected = ":80:127.0.0.1|127.64.0.1:8080,:81:127.0.0.1|127.64.0.1:8081";
        assert_eq!(connect_to(&nodes, &forwards), expected);
        assert_eq!(connect_to(&nodes, &[]), "");
    }
}
