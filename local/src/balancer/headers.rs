//! Headers between client and target: removes those of one connection, and adds those of an ALB. Pure.

use super::serve::TlsFacts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::SocketAddr;

/// Headers of one connection, besides those that `Connection` names (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TLS_VERSION: HeaderName = HeaderName::from_static("x-amzn-tls-version");
const TLS_CIPHER_SUITE: HeaderName = HeaderName::from_static("x-amzn-tls-cipher-suite");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The connection of a request, and the settings of its load balancer.
#[allow(clippy::struct_excessive_bools, reason = "attributes that are on or off")]
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) client: SocketAddr,
    /// Whether the client used TLS.
    pub(super) secure: bool,
    /// The facts about TLS that the target gets, if it gets any.
    pub(super) facts: Option<&'a TlsFacts>,
    /// The port of the listener.
    pub(super) port: u16,
    /// The DNS name of the load balancer.
    pub(super) name: &'a str,
    /// How the load balancer handles X-Forwarded-For: `append`, `preserve`, or `remove`.
    pub(super) forwarded_for: &'a str,
    /// Whether X-Forwarded-For has the port of the client.
    pub(super) client_port: bool,
    /// Whether the target gets the Host header of the client unchanged.
    pub(super) preserve_host: bool,
    /// Whether headers are dropped if their names have characters other than letters, digits, and hyphens.
    pub(super) drop_invalid: bool,
}

/// Removes the headers of one connection.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Changes the headers of a client to those that a target gets.
pub(super) fn to_target(headers: &mut HeaderMap, arrival: &Arrival<'_>) {
    remove_hop_by_hop(headers);
    if arrival.drop_invalid {
        let valid = |name: &HeaderName| name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let invalid: Vec<HeaderName> = headers.keys().filter(|name| !valid(name)).cloned().collect();
        for name in invalid {
            headers.remove(name);
        }
    }
    let text = |headers: &HeaderMap, name: &HeaderName| {
        let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let set = |headers: &mut HeaderMap, name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let client = if arrival.client_port { arrival.client.to_string() } else { arrival.client.ip().to_string() };
    match (arrival.forwarded_for, text(headers, &FORWARDED_FOR)) {
        ("preserve", _) => {}
        ("remove", _) => {
            headers.remove(FORWARDED_FOR);
        }
        (_, Some(before)) => set(headers, FORWARDED_FOR, &format!("{before}, {client}")),
        (_, None) => set(headers, FORWARDED_FOR, &client),
    }
    let protocol = if arrival.secure { "https" } else { "http" };
    set(headers, HeaderName::from_static("x-forwarded-proto"), protocol);
    for name in [TLS_VERSION, TLS_CIPHER_SUITE] {
        headers.remove(name);
    }
    if let Some(facts) = arrival.facts {
        set(headers, TLS_VERSION, &facts.version);
        set(headers, TLS_CIPHER_SUITE, &facts.cipher_suite);
    }
    set(headers, HeaderName::from_static("x-forwarded-port"), &arrival.port.to_string());
    let traced = trace(text(headers, &TRACE).as_deref());
    set(headers, TRACE, &traced);
    if !arrival.preserve_host {
        let given = text(headers, &header::HOST).unwrap_or_default();
        set(headers, header::HOST, &host(&given, arrival));
    }
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name)
}

/// The Host that a target gets: on listener ports 80 and 443, an ALB removes the port of the client; on other ports, it
/// sets the listener port. A request to the forwarded port gets the name of the load balancer.
fn host(given: &str, arrival: &Arrival<'_>) -> String {
    let name = without_port(given);
    let name = if matches!(name, "" | "127.0.0.1" | "localhost" | "[::1]") { arrival.name } else { name };
    match arrival.port {
        80 | 443 => name.to_owned(),
        port => format!("{name}:{port}"),
    }
}

/// Starts or extends a trace header, as documented for ALB.
fn trace(given: Option<&str>) -> String {
    let own = || {
        let [high, low] = [uuid::Uuid::new_v4().as_u128() >> 32, 0];
        let seconds = u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        format!("1-{seconds:08x}-{:024x}", high | low)
    };
    let fields: Vec<&str> = given.unwrap_or("").split(';').map(str::trim).filter(|field| !field.is_empty()).collect();
    if fields.iter().any(|field| field.starts_with("Self=")) {
        let replace = |field: &&str| {
            if field.starts_with("Self=") { format!("Self={}", own()) } else { (*field).to_owned() }
        };
        return fields.iter().map(replace).collect::<Vec<_>>().join(";");
    }
    let name = if fields.iter().any(|field| field.starts_with("Root=")) { "Self" } else { "Root" };
    std::iter::once(format!("{name}={}", own()))
        .chain(fields.iter().map(|field| (*field).to_owned()))
        .collect::<Vec<_>>()
        .join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(port: u16) -> Arrival<'static> {
        Arrival {
            client: SocketAddr::from(([10, 0, 0, 7], 4711)),
            secure: false,
            facts: None,
            port,
            name: "lb.example",
            forwarded_for: "append",
            client_port: false,
            preserve_host: false,
            drop_invalid: true,
        }
    }

    fn passed(headers: &[(&'static str, &str)], arrival: &Arrival<'_>) -> HeaderMap {
        let pairs = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        to_target(&mut headers, arrival);
        headers
    }

    #[test]
    fn headers_of_one_connection_are_not_passed_on() {
        let headers = passed(
            &[("connection", "keep-alive, x-private"), ("x-private", "1"), ("transfer-encoding", "chunked")],
            &arrival(80),
        );
        for name in ["connection", "x-private", "transfer-encoding"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_target_learns_where_the_request_came_from() {
        let headers = passed(&[("host", "lb.example:9"), ("x-forwarded-for", "1.2.3.4")], &arrival(81));
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 10.0.0.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-port"], "81");
        assert!(headers["x-amzn-trace-id"].to_str().unwrap().starts_with("Root=1-"));
        let facts = TlsFacts { version: "TLSv1.3".into(), cipher_suite: "TLS_AES_128_GCM_SHA256".into() };
        let secure = Arrival { secure: true, facts: Some(&facts), client_port: true, ..arrival(443) };
        let headers = passed(&[("x-amzn-tls-version", "forged")], &secure);
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-for"]),
            (&"https".parse().unwrap(), &"10.0.0.7:4711".parse().unwrap())
        );
        assert_eq!(headers["x-amzn-tls-version"], "TLSv1.3");
    }

    #[test]
    fn forged_forwarding_headers_are_replaced() {
        let headers = passed(&[("x-forwarded-proto", "https"), ("x-forwarded-port", "443")], &arrival(80));
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-port"]),
            (&"http".parse().unwrap(), &"80".parse().unwrap())
        );
    }

    #[test]
    fn the_host_is_the_load_balancers_with_the_listeners_port() {
        for (given, port, expected) in [
            ("app.example:8080", 80, "app.example"),
            ("app.example", 81, "app.example:81"),
            ("127.0.0.1:8080", 80, "lb.example"),
            ("localhost", 81, "lb.example:81"),
        ] {
            assert_eq!(passed(&[("host", given)], &arrival(port))["host"], expected, "{given} {port}");
        }
    }

    #[test]
    fn a_trace_is_continued() {
        let headers = passed(&[("x-amzn-trace-id", "Root=1-a-b;Sampled=1")], &arrival(80));
        let trace = headers["x-amzn-trace-id"].to_str().unwrap();
        assert!(trace.starts_with("Self=1-") && trace.ends_with(";Root=1-a-b;Sampled=1"), "{trace}");
    }

    #[test]
    fn names_with_other_characters_are_dropped_where_the_load_balancer_says_so() {
        assert!(!passed(&[("x_forwarded_for", "1")], &arrival(80)).contains_key("x_forwarded_for"));
        let keeping = Arrival { drop_invalid: false, ..arrival(80) };
        assert!(passed(&[("x_forwarded_for", "1")], &keeping).contains_key("x_forwarded_for"));
    }
}
