//! Matches a request against rules, with the semantics of an ALB. Pure.

use super::headers::without_port;
use super::model::{Condition, HttpHeaderConfig};
use http::{HeaderMap, Method, Uri, header};

/// One condition of a rule.
#[derive(Debug, Clone)]
pub(super) enum Matching {
    /// The value of a header matches one of these patterns, ignoring case.
    Header(String, Vec<String>),
    /// The host name matches one of these patterns, ignoring case.
    Host(Vec<String>),
    /// The path matches one of these patterns, with case.
    Path(Vec<String>),
    /// The method is one of these.
    Method(Vec<String>),
    /// The query contains one of these pairs, ignoring case; a pair without a key matches a value of any key.
    Query(Vec<(Option<String>, String)>),
    /// An unsupported kind of condition, which matches no request.
    Unknown,
}

impl Matching {
    /// Reads a condition of the API.
    pub(super) fn read(condition: &Condition) -> Self {
        let values = condition.values.clone();
        match (condition.field.as_str(), &condition.http_header_config) {
            ("http-header", Some(HttpHeaderConfig { http_header_name, values })) => {
                Self::Header(http_header_name.to_ascii_lowercase(), values.clone())
            }
            ("host-header", _) => Self::Host(values),
            ("path-pattern", _) => Self::Path(values),
            ("http-request-method", _) => Self::Method(values),
            ("query-string", _) => Self::Query(values.iter().map(|value| pair(value)).collect()),
            _ => Self::Unknown,
        }
    }

    /// Whether a request matches.
    pub(super) fn holds(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        match self {
            Self::Header(name, patterns) => headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .any(|value| patterns.iter().any(|pattern| like(value, pattern, Case::Any))),
            Self::Host(patterns) => {
                let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
                let name = without_port(host);
                patterns.iter().any(|pattern| like(name, pattern, Case::Any))
            }
            Self::Path(patterns) => patterns.iter().any(|pattern| like(uri.path(), pattern, Case::Same)),
            Self::Method(methods) => methods.iter().any(|wanted| wanted == method.as_str()),
            Self::Query(pairs) => uri.query().unwrap_or("").split('&').any(|given| {
                let (name, value) = given.split_once('=').unwrap_or((given, ""));
                pairs.iter().any(|(key, pattern)| {
                    key.as_ref().is_none_or(|key| like(name, key, Case::Any)) && like(value, pattern, Case::Any)
                })
            }),
            Self::Unknown => false,
        }
    }
}

fn pair(value: &str) -> (Option<String>, String) {
    value
        .split_once('=')
        .map_or_else(|| (None, value.to_owned()), |(key, value)| (Some(key.to_owned()), value.to_owned()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Same,
    Any,
}

/// Whether a value matches a pattern, in which `*` is any number of characters and `?` is one. The time grows at most
/// with the product of both lengths, for any pattern.
fn like(value: &str, pattern: &str, case: Case) -> bool {
    let same = |a: u8, b: u8| if case == Case::Any { a.eq_ignore_ascii_case(&b) } else { a == b };
    let (value, pattern) = (value.as_bytes(), pattern.as_bytes());
    let (mut at, mut read) = (0, 0);
    // The position of the last `*`, and the end of the part of the value that it matches.
    let mut star: Option<(usize, usize)> = None;
    while at < value.len() {
        match pattern.get(read) {
            Some(b'*') => {
                star = Some((read, at));
                read += 1;
            }
            Some(wanted) if *wanted == b'?' || same(*wanted, value[at]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_read, star_at)) = star else { return false };
                star = Some((star_read, star_at + 1));
                at = star_at + 1;
                read = star_read + 1;
            }
        }
    }
    pattern[read..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, values: &[&str]) -> Matching {
        Matching::read(&Condition {
            field: "http-header".into(),
            values: Vec::new(),
            http_header_config: Some(HttpHeaderConfig {
                http_header_name: name.into(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }),
        })
    }

    fn with(headers: &[(&'static str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (value, pattern, expected) in [
            ("blue", "blue", true),
            ("BLUE", "blue", true),
            ("blue", "bl?e", true),
            ("ble", "bl?e", false),
            ("blue-green", "*-green", true),
            ("blue-green-red", "*green", false),
            ("", "*", true),
            ("", "", true),
            ("x", "", false),
            ("aXbXc", "a*b*c", true),
        ] {
            assert_eq!(like(value, pattern, Case::Any), expected, "{value} {pattern}");
        }
        assert!(!like("/API", "/api", Case::Same));
    }

    #[test]
    fn a_pattern_made_to_take_long_does_not() {
        let began = std::time::Instant::now();
        assert!(!like(&"a".repeat(16_000), &format!("{}b", "a*".repeat(60)), Case::Any));
        assert!(began.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_header_condition_holds_for_any_of_its_values_in_any_case_and_for_any_of_the_headers() {
        let condition = header("X-Env", &["blue", "gr*"]);
        let holds = |headers| condition.holds(&Method::GET, &Uri::from_static("/"), &headers);
        assert!(holds(with(&[("x-env", "Blue")])));
        assert!(holds(with(&[("x-env", "red"), ("x-env", "green")])));
        assert!(!holds(with(&[("x-env", "red")])));
        assert!(!holds(with(&[])));
    }

    #[test]
    fn hosts_paths_methods_and_queries_are_matched() {
        let read = |field: &str, value: &str| {
            Matching::read(&Condition { field: field.into(), values: vec![value.into()], ..Condition::default() })
        };
        let headers = with(&[("host", "App.Example.com:80")]);
        let uri = Uri::from_static("/api/v1?Version=2");
        let holds = |field, value| read(field, value).holds(&Method::GET, &uri, &headers);
        assert!(holds("host-header", "*.example.com"));
        assert!(holds("path-pattern", "/api/*") && !holds("path-pattern", "/API/*"));
        assert!(holds("http-request-method", "GET") && !holds("http-request-method", "POST"));
        assert!(
            holds("query-string", "version=2") && holds("query-string", "2") && !holds("query-string", "version=3")
        );
        assert!(!holds("source-ip", "0.0.0.0/0"));
    }
}
