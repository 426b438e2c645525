//! `BLUEGREEN_CONNECT_TO`: other hosts and ports to connect to, as curl's `--connect-to`. A request to `HOST1:PORT1` is
//! sent to `HOST2:PORT2` instead, with the original authority. Unlike in curl, `HOST2` may be several hosts, separated
//! by `|`: all of them serve the site, like the addresses of a load balancer. For names that the machine cannot
//! resolve: with a bastion, a tunnel, or a forwarded port. Must not open connections.

use reqwest::Url;
use std::fmt::Write as _;
use std::str::FromStr;

/// The rules in their order; the first match applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectTo {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from_host: Option<String>,
    from_port: Option<u16>,
    /// Empty if the host of the URL stays.
    to_hosts: Vec<String>,
    to_port: Option<u16>,
}

/// The hosts to connect to for a URL, and the authority to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host names or IP addresses to connect to, without brackets: at least one. All of them serve the site.
    pub hosts: Vec<String>,
    /// TCP port to connect to, on each of them.
    pub port: u16,
    /// The `host[:port]` of the URL, for the Host header, without the default port of the scheme.
    pub authority: String,
}

/// The setting cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not HOST1:PORT1:HOST2:PORT2 (IPv6 in brackets; an empty HOST1 or PORT1 matches any; several HOST2 are \
     separated by |)"
)]
pub struct ConnectToError(pub String);

/// The URL has no host or port to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has no host and port")]
pub struct NoAuthority(pub String);

impl FromStr for ConnectTo {
    type Err = ConnectToError;

    /// Parses comma-separated rules; an empty text has none.
    fn from_str(text: &str) -> Result<Self, ConnectToError> {
        let rules = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| parse_rule(part).ok_or_else(|| ConnectToError(part.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }
}

fn parse_rule(text: &str) -> Option<Rule> {
    let [from_host, from_port, to_hosts, to_port] = split_fields(text)?;
    let from_host = match from_host.as_slice() {
        [] => None,
        [host] => Some(host.clone()),
        _ => return None,
    };
    Some(Rule { from_host, from_port: port(&from_port)?, to_hosts, to_port: port(&to_port)? })
}

/// Splits at colons outside of brackets, and the fields at their bars; an empty field has no parts.
fn split_fields(text: &str) -> Option<[Vec<String>; 4]> {
    let mut fields = vec![vec![String::new()]];
    let mut bracketed = false;
    for character in text.chars() {
        match character {
            '[' if !bracketed => bracketed = true,
            ']' if bracketed => bracketed = false,
            '|' if bracketed => return None,
            ':' if !bracketed => fields.push(vec![String::new()]),
            '|' => fields.last_mut()?.push(String::new()),
            other => fields.last_mut()?.last_mut()?.push(other),
        }
    }
    for parts in &mut fields {
        if parts.as_slice() == [""] {
            parts.clear();
        }
    }
    let whole = !bracketed && fields.iter().flatten().all(|part| !part.is_empty());
    fields.try_into().ok().filter(|_| whole)
}

#[expect(clippy::option_option, reason = "absent is a valid port here, unreadable is not")]
fn port(field: &[String]) -> Option<Option<u16>> {
    match field {
        [] => Some(None),
        [digits] => digits.parse().ok().filter(|port| *port != 0).map(Some),
        _ => None,
    }
}

impl ConnectTo {
    /// The setting of the process, from `BLUEGREEN_CONNECT_TO`; empty if it is not set.
    pub fn from_env() -> Result<Self, ConnectToError> {
        std::env::var(model::variables::CONNECT_TO).unwrap_or_default().parse()
    }

    /// These rules, followed by `others`.
    #[must_use]
    pub fn or(mut self, others: Self) -> Self {
        self.rules.extend(others.rules);
        self
    }

    /// The hosts to connect to for `url`.
    pub fn apply(&self, url: &Url) -> Result<Target, NoAuthority> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(NoAuthority(url.to_string()));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let rule = self.rules.iter().find(|rule| rule.matches(bare, port));
        let to_hosts = rule.filter(|rule| !rule.to_hosts.is_empty());
        Ok(Target {
            hosts: to_hosts.map_or_else(|| vec![bare.to_owned()], |rule| rule.to_hosts.clone()),
            port: rule.and_then(|rule| rule.to_port).unwrap_or(port),
            authority,
        })
    }

    /// The URL that a person on this machine can open, at the first of several hosts. A text that is not a URL, or that
    /// no rule matches, is returned unchanged.
    pub fn display_url(&self, url: &str) -> String {
        let Ok(parsed) = Url::parse(url) else {
            return url.to_owned();
        };
        let Ok(Target { hosts, port, .. }) = self.apply(&parsed) else {
            return url.to_owned();
        };
        let Some(host) = hosts.first() else {
            return url.to_owned();
        };
        let same_host = parsed.host_str().map(|host| host.trim_matches(['[', ']'])) == Some(host.as_str());
        if same_host && parsed.port_or_known_default() == Some(port) {
            return url.to_owned();
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mut shown = format!("{}://{host}", parsed.scheme());
        let default_port = if parsed.scheme() == "https" { 443 } else { 80 };
        if port != default_port {
            // Writing to a String cannot fail.
            let _ = write!(shown, ":{port}");
        }
        shown.push_str(parsed.path());
        if let Some(query) = parsed.query() {
            shown.push('?');
            shown.push_str(query);
        }
        shown
    }
}

impl Rule {
    fn matches(&self, host: &str, port: u16) -> bool {
        self.from_host.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
            && self.from_port.is_none_or(|wanted| wanted == port)
    }
}

/// [`ConnectTo::display_url`] with the setting of the process; the unchanged URL if that setting cannot be parsed.
pub fn display_url(url: &str) -> String {
    ConnectTo::from_env().map_or_else(|_| url.to_owned(), |rules| rules.display_url(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(rules: &str, url: &str) -> (String, u16, String) {
        let target = rules.parse::<ConnectTo>().unwrap().apply(&Url::parse(url).unwrap()).unwrap();
        (target.hosts.join(" and "), target.port, target.authority)
    }

    #[test]
    fn without_rules_a_url_is_reached_as_written() {
        assert_eq!(target("", "http://alb.example:81/x"), ("alb.example".into(), 81, "alb.example:81".into()));
        assert_eq!(target("", "https://alb.example/"), ("alb.example".into(), 443, "alb.example".into()));
    }

    #[test]
    fn the_first_matching_rule_wins_and_the_authority_stays() {
        let rules = "ALB.example:80:127.0.0.1:8080, :81:127.0.0.1:8081,::h:1";
        assert_eq!(target(rules, "http://alb.example/"), ("127.0.0.1".into(), 8080, "alb.example".into()));
        assert_eq!(target(rules, "http://other:81/"), ("127.0.0.1".into(), 8081, "other:81".into()));
        assert_eq!(target(rules, "http://other:82/"), ("h".into(), 1, "other:82".into()));
    }

    #[test]
    fn rules_of_ones_own_go_before_others() {
        let rules = |text: &str| text.parse::<ConnectTo>().unwrap();
        let both = rules("a:80:own:1").or(rules("a:80:other:2,b:80:other:3"));
        let reached = |url| both.apply(&Url::parse(url).unwrap()).unwrap().hosts.concat();
        assert_eq!((reached("http://a"), reached("http://b")), ("own".to_owned(), "other".to_owned()));
    }

    #[test]
    fn empty_destinations_keep_the_original() {
        assert_eq!(target("a:80::8080", "http://a/"), ("a".into(), 8080, "a".into()));
        assert_eq!(target("a:80:b:", "http://a/"), ("b".into(), 80, "a".into()));
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        assert_eq!(target("[::1]:80:[fe80::2]:8080", "http://[::1]/"), ("fe80::2".into(), 8080, "[::1]".into()));
    }

    #[test]
    fn several_hosts_are_all_reached_at_the_same_port() {
        let both = ("127.0.0.1 and 127.0.0.2".to_owned(), 8080, "a".to_owned());
        assert_eq!(target("a:80:127.0.0.1|127.0.0.2:8080", "http://a/"), both);
        assert_eq!(target(":80:[::1]|b:", "http://a/"), ("::1 and b".into(), 80, "a".into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "a:80", "a:80:b", "a:80:b:c", "a:80:b:1:2", "a:0:b:1", "[::1:80:b:1", "a:70000:b:1"] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
        for text in ["a:80:b|:1", "a:80:|b:1", "a:80:b||c:1", "a:80:|:1", "a|b:80:c:1", "a:80|81:b:1", "a:80:b:1|2"] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
        let inside = "a:80:[::1|::2]:1".parse::<ConnectTo>().unwrap_err();
        assert!(inside.to_string().contains("several HOST2 are separated by |"), "{inside}");
    }

    #[test]
    fn urls_are_shown_as_a_person_can_open_them() {
        let rules: ConnectTo = ":80:127.0.0.1|127.64.0.1:8080,:81:127.0.0.1:8081,six:443:[::1]:443".parse().unwrap();
        assert_eq!(rules.display_url("http://alb.example:81/"), "http://127.0.0.1:8081/");
        assert_eq!(rules.display_url("http://alb.example"), "http://127.0.0.1:8080/");
        assert_eq!(rules.display_url("http://alb.example/a?b=c"), "http://127.0.0.1:8080/a?b=c");
        assert_eq!(rules.display_url("https://six/"), "https://[::1]/");
        assert_eq!(rules.display_url("http://other:9/x"), "http://other:9/x");
        assert_eq!(rules.display_url("not a url"), "not a url");
    }
}
