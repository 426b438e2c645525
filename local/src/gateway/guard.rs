//! Refuses requests that a web page makes a browser send. A page of any site can send requests to loopback, and with a
//! host name that it points at loopback even read the answers (DNS rebinding). AWS clients send none of the headers that
//! browsers add, and name a host of this machine or of AWS. Must not look at the body. Pure.

use crate::engine::OUTSIDE_HOST;
use http::request::Parts;
use http::{HeaderMap, Method, header};

/// The answer to a refused request.
pub(super) const REFUSAL: &str = "The local cloud does not answer web pages. It answers the tools on this machine that \
                                  have its credentials: local-cloud exec -- COMMAND\n";

/// Hosts that name this machine or a service of AWS, with any labels in front of them. No site can point these names at
/// loopback: the first two are reserved, and the others belong to AWS.
const DOMAINS: [&str; 4] = ["localhost", "host.docker.internal", "amazonaws.com", "amazonaws.com.cn"];

/// Whether a request comes from a web page, or may come from one.
pub(super) fn is_from_a_page(parts: &Parts, port: u16) -> bool {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    parts.method == Method::OPTIONS
        || parts.headers.contains_key(header::ORIGIN)
        || header("sec-fetch-site").is_some_and(|site| !matches!(site, "none" | "same-origin"))
        || header("sec-fetch-mode") == Some("navigate")
        || header("access-control-request-method").is_some()
        || !names_this_machine(parts, port)
}

/// Whether the request has exactly one host, and that host is this machine or AWS.
fn names_this_machine(parts: &Parts, port: u16) -> bool {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // A request in absolute form has its host twice.
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    is_ours(host, port) && authority.is_none_or(|authority| is_ours(authority, port))
}

fn is_ours(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) => (name, digits.parse().ok()),
        // Port 80 is the default of HTTP.
        None => (host, Some(80)),
    };
    let name = name.to_ascii_lowercase();
    // Tasks in a container engine use an address. No site can point a name at it and be asked for it by the address.
    let local = name == "127.0.0.1"
        || name == OUTSIDE_HOST.to_string()
        || DOMAINS[..2].iter().any(|domain| within(&name, domain));
    // A client that signs for AWS may leave out the port.
    (local && given == Some(port)) || DOMAINS[2..].iter().any(|domain| within(&name, domain))
}

fn within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Removes the headers that would let a page read an answer.
pub(super) fn close(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refused(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_from_a_page(&request.body(()).unwrap().into_parts().0, 4566)
    }

    #[test]
    fn tools_are_answered_at_every_name_of_this_machine_and_of_aws() {
        for host in [
            "127.0.0.1:4566",
            "localhost:4566",
            "LOCALHOST:4566",
            "bucket.s3.localhost:4566",
            "host.docker.internal:4566",
            "169.254.170.2:4566",
            "000000000000.dkr.ecr.us-east-1.amazonaws.com",
            "sts.cn-north-1.amazonaws.com.cn:443",
        ] {
            assert!(!refused("POST", &[("host", host)]), "{host}");
        }
        assert!(!refused("GET", &[("host", "localhost:4566"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn foreign_hosts_are_refused() {
        for host in [
            "evil.example:4566",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1.evil.example:4566",
            "localhost.evil.example:4566",
            "evil-localhost:4566",
            "evilamazonaws.com",
            "amazonaws.com.evil.example",
            "[::1]:4566",
            "",
        ] {
            assert!(refused("GET", &[("host", host)]), "{host}");
        }
        assert!(refused("GET", &[]), "no host");
        assert!(refused("GET", &[("host", "localhost:4566"), ("host", "evil.example")]), "two hosts");
    }

    #[test]
    fn the_absolute_form_does_not_hide_a_foreign_host() {
        let request = Request::get("http://evil.example:4566/").header("host", "127.0.0.1:4566").body(()).unwrap();
        assert!(is_from_a_page(&request.into_parts().0, 4566));
    }

    #[test]
    fn what_only_browsers_send_is_refused() {
        let own = ("host", "127.0.0.1:4566");
        for header in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:4566"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "navigate"),
            ("access-control-request-method", "POST"),
        ] {
            assert!(refused("POST", &[own, header]), "{header:?}");
        }
        assert!(refused("OPTIONS", &[own]));
    }

    #[test]
    fn answers_cannot_be_read_by_a_page() {
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        headers.append("access-control-expose-headers", "a".parse().unwrap());
        headers.append("access-control-expose-headers", "b".parse().unwrap());
        headers.insert("etag", "x".parse().unwrap());
        close(&mut headers);
        assert_eq!(headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
    }
}
