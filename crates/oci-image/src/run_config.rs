//! How an image says that it runs. Must not know who runs it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The part of an image's config that says how its program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct RunConfig {
    /// Who the program runs as: `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// `NAME=value` each.
    pub env: Option<Vec<String>>,
    /// The program, and arguments that nobody replaces.
    pub entrypoint: Option<Vec<String>>,
    /// The rest of the arguments, or all of them.
    pub cmd: Option<Vec<String>>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// `PORT/PROTOCOL` as keys.
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// Paths that hold data of the program as keys.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// The signal that asks the program to end.
    pub stop_signal: Option<String>,
}

impl RunConfig {
    /// Whether the program runs as root, unless the container is started with another user.
    pub fn runs_as_root(&self) -> bool {
        let user = self.user.as_deref().unwrap_or_default();
        matches!(user.split(':').next().unwrap_or_default(), "" | "0" | "root")
    }

    /// Whether it names a program.
    pub fn has_command(&self) -> bool {
        let names = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        names(&self.entrypoint) || names(&self.cmd)
    }

    /// The TCP ports that the image exposes.
    pub fn tcp_ports(&self) -> Vec<u16> {
        let exposed = self.exposed_ports.iter().flat_map(BTreeMap::keys);
        exposed.filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_ports_are_ports() {
        let ports = ["80", "8080/tcp", "53/udp", "x"].map(|port| (port.to_owned(), serde_json::Value::Null));
        let config = RunConfig { exposed_ports: Some(ports.into()), ..RunConfig::default() };
        assert_eq!(config.tcp_ports(), [80, 8080]);
    }
}
