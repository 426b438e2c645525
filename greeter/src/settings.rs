//! The listen address, from the environment. Must not know what is served there.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const DEFAULT_PORT: u16 = 8080;

/// An invalid environment variable. The text names the variable and valid values.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsError {
    variable: &'static str,
    value: String,
    wanted: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value, wanted } = self;
        write!(f, "{variable}={value:?} in the environment is not {wanted}")
    }
}

/// The listen address: `HOST` (an IP address, default `0.0.0.0`) and `PORT` (default 8080; 0 selects a free port).
/// An empty variable counts as unset. `variable` reads a variable, so that tests need no real environment.
pub fn listen_address(variable: impl Fn(&str) -> Option<OsString>) -> Result<SocketAddr, SettingsError> {
    let lookup =
        |name| variable(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty());
    let host = match lookup("HOST") {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(value) => value.parse().map_err(|_| SettingsError {
            variable: "HOST",
            value,
            wanted: "an IP address, such as 0.0.0.0, 127.0.0.1 or ::",
        })?,
    };
    let port = match lookup("PORT") {
        None => DEFAULT_PORT,
        Some(value) => value.parse().map_err(|_| SettingsError {
            variable: "PORT",
            value,
            wanted: "a port number from 0 to 65535 (0 lets the system choose one)",
        })?,
    };
    Ok(SocketAddr::new(host, port))
}

/// The address for a client on the same machine of a server that listens on `listen`: "every address" becomes loopback.
pub fn local_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "HOST" => Some(OsString::from(host)),
            "PORT" => Some(OsString::from(port)),
            _ => None,
        };
        listen_address(variable).map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn by_default_every_address_is_served_on_port_8080() {
        assert_eq!(listen_address(|_| None).unwrap().to_string(), "0.0.0.0:8080");
        assert_eq!(address("", "").unwrap(), "0.0.0.0:8080");
    }

    #[test]
    fn host_and_port_are_taken_from_the_environment() {
        assert_eq!(address("127.0.0.1", "0").unwrap(), "127.0.0.1:0");
        assert_eq!(address("::", "80").unwrap(), "[::]:80");
    }

    #[test]
    fn an_error_names_the_variable_its_value_and_what_would_do() {
        assert_eq!(
            address("localhost", "1").unwrap_err(),
            r#"HOST="localhost" in the environment is not an IP address, such as 0.0.0.0, 127.0.0.1 or ::"#
        );
        for port in ["65536", "-1", "http", " 80"] {
            assert!(address("", port).unwrap_err().starts_with(&format!("PORT={port:?}")), "port {port:?}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_reached_through_loopback() {
        let reached = |listen: &str| local_address(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("10.0.0.7:80"), "10.0.0.7:80");
    }
}
