//! Sticky sessions: the cookies that keep a client at a target or in a target group. See
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html>.
//!
//! An ALB encrypts its cookies. Here they are signed: a client can read them, but not change them.

use super::routes::{Group, Shares};
use super::target::Target;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TARGET: &str = "AWSALB";
const GROUP: &str = "AWSALBTG";
const APPLICATION: &str = "AWSALBAPP-0";
/// The cookies themselves expire after seven days, whatever the duration of the session is.
const COOKIE_EXPIRES: Duration = Duration::from_hours(7 * 24);
/// The default duration of a session.
const DURATION: Duration = Duration::from_hours(24);
/// The sessions that one cookie of an application holds at most.
const SESSIONS: usize = 16;
const SIGNATURE: usize = 16;

/// What keeps a client at a target of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stickiness {
    /// A cookie of the load balancer, for this long.
    Balancer(Duration),
    /// The cookie of the application with this name, for this long.
    Application(String, Duration),
}

impl Stickiness {
    /// Reads the attributes of a group.
    pub(super) fn read<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        if attribute("stickiness.enabled") != Some("true") {
            return None;
        }
        let seconds =
            |key: &str| attribute(key).and_then(|text| text.parse().ok()).map_or(DURATION, Duration::from_secs);
        match attribute("stickiness.type") {
            Some("app_cookie") => {
                let name = attribute("stickiness.app_cookie.cookie_name")?;
                Some(Self::Application(name.to_owned(), seconds("stickiness.app_cookie.duration_seconds")))
            }
            _ => Some(Self::Balancer(seconds("stickiness.lb_cookie.duration_seconds"))),
        }
    }
}

/// Signs cookies.
#[derive(Debug)]
pub(super) struct Signer([u8; 32]);

impl Signer {
    /// A signer with a random key: cookies end with the process.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        Self(key)
    }

    fn mac(&self, text: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(text);
        Some(mac)
    }

    fn seal(&self, text: &str) -> Option<String> {
        let signature = self.mac(text.as_bytes())?.finalize().into_bytes();
        Some(STANDARD.encode([&signature[..SIGNATURE], text.as_bytes()].concat()))
    }

    fn open(&self, value: &str) -> Option<String> {
        let bytes = STANDARD.decode(value).ok()?;
        let (signature, text) = bytes.split_at_checked(SIGNATURE)?;
        self.mac(text)?.verify_truncated_left(signature).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// One session: the group, the target (none in a cookie of a group), and the end in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    group: String,
    target: String,
    until: u128,
}

fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The cookies of a request.
#[derive(Debug)]
pub(super) struct Cookies<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Cookies<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Self(pairs.collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| *own == name)
    }

    /// The sessions of a cookie of the load balancer that have not ended.
    fn sessions(&self, signer: &Signer, name: &str) -> Vec<Session> {
        let mut sealed = self.0.iter().filter(|(own, _)| *own == name);
        let text = sealed.find_map(|(_, value)| signer.open(value)).unwrap_or_default();
        let session = |line: &str| {
            let mut fields = line.split(' ');
            let until = fields.next()?.parse().ok()?;
            let (group, target) = (fields.next()?.to_owned(), fields.next().unwrap_or_default().to_owned());
            Some(Session { group, target, until })
        };
        text.lines().filter_map(session).filter(|session| session.until > now()).collect()
    }
}

/// The group and the target of a request, and the cookies that its response gets.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) group: Arc<Group>,
    pub(super) target: Arc<Target>,
    /// The duration for which the client stays in the group.
    in_group: Option<Duration>,
    /// Whether the request has a session of the application in this group.
    bound: bool,
    /// The sessions of the application in other groups.
    others: Vec<Session>,
}

/// The group of a request: that of its cookie, or one by weight.
pub(super) fn group<'s>(signer: &Signer, cookies: &Cookies<'_>, shares: &'s Shares) -> Option<&'s Arc<Group>> {
    let own = shares.stickiness.and_then(|_| {
        let sessions = cookies.sessions(signer, GROUP);
        sessions.iter().find_map(|session| shares.find(&session.group))
    });
    own.or_else(|| shares.choose())
}

/// Places a request in its group: at the target of its cookie if that gets requests, or at the next one.
pub(super) fn place(signer: &Signer, cookies: &Cookies<'_>, shares: &Shares, group: &Arc<Group>) -> Option<Placed> {
    let (name, needed) = match &group.settings.stickiness {
        Some(Stickiness::Balancer(_)) => (TARGET, None),
        Some(Stickiness::Application(cookie, _)) => (APPLICATION, Some(cookie)),
        None => ("", None),
    };
    let sticky = !name.is_empty() && needed.is_none_or(|cookie| cookies.has(cookie));
    let sessions = if sticky { cookies.sessions(signer, name) } else { Vec::new() };
    let (own, others): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| session.group == group.settings.arn);
    let target = own.first().and_then(|session| group.named(&session.target)).or_else(|| group.choose())?;
    Some(Placed {
        group: Arc::clone(group),
        target: Arc::clone(target),
        in_group: shares.stickiness,
        bound: !own.is_empty(),
        others,
    })
}

impl Placed {
    /// Adds the cookies to a response of the target.
    pub(super) fn mark(&self, signer: &Signer, headers: &mut HeaderMap, secure: bool) {
        let arn = &self.group.settings.arn;
        if let Some(duration) = self.in_group {
            let text = format!("{} {arn}", (now() + duration.as_millis()));
            set(headers, signer, GROUP, &text, secure);
        }
        let target = self.target.name();
        match &self.group.settings.stickiness {
            Some(Stickiness::Balancer(duration)) => {
                let text = format!("{} {arn} {target}", now() + duration.as_millis());
                set(headers, signer, TARGET, &text, secure);
            }
            Some(Stickiness::Application(cookie, duration)) if self.bound || sets(headers, cookie) => {
                let mut lines = vec![format!("{} {arn} {target}", now() + duration.as_millis())];
                let other = |session: &Session| format!("{} {} {}", session.until, session.group, session.target);
                lines.extend(self.others.iter().take(SESSIONS - 1).map(other));
                set(headers, signer, APPLICATION, &lines.join("\n"), secure);
            }
            _ => {}
        }
    }
}

/// Whether a response sets a cookie with this name.
fn sets(headers: &HeaderMap, name: &str) -> bool {
    let values = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| value.split_once('=')).any(|(own, _)| own.trim() == name)
}

/// Sets a cookie. Those of the load balancer have a second one for requests from other sites.
fn set(headers: &mut HeaderMap, signer: &Signer, name: &str, text: &str, secure: bool) {
    let Some(value) = signer.seal(text) else { return };
    let expires = httpdate::fmt_http_date(SystemTime::now() + COOKIE_EXPIRES);
    let mut all = vec![format!("{name}={value}; Expires={expires}; Path=/")];
    if name != APPLICATION {
        let secure = if secure { "; Secure" } else { "" };
        all.push(format!("{name}CORS={value}; Expires={expires}; Path=/; SameSite=None{secure}"));
    }
    for cookie in all {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_was_changed_or_is_of_another_process_or_has_expired_is_none() {
        let signer = Signer::new();
        let sessions = |signer: &Signer, value: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, format!("a=b; AWSALB={value}").parse().unwrap())]);
            Cookies::read(&headers).sessions(signer, TARGET).len()
        };
        let value = signer.seal(&format!("{} group 127.0.0.1:80", now() + 10_000)).unwrap();
        assert_eq!(sessions(&signer, &value), 1);
        assert_eq!(sessions(&Signer::new(), &value), 0);
        let mut changed = STANDARD.decode(&value).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(sessions(&signer, &STANDARD.encode(changed)), 0);
        assert_eq!(sessions(&signer, "AAAA"), 0);
        let expired = signer.seal(&format!("{} group 127.0.0.1:80", now() - 1)).unwrap();
        assert_eq!(sessions(&signer, &expired), 0);
    }

    #[test]
    fn attributes_decide_the_kind_and_the_duration() {
        let read = |all: &[(&str, &'static str)]| {
            Stickiness::read(|key| all.iter().find(|(own, _)| *own == key).map(|(_, value)| *value))
        };
        assert_eq!(read(&[("stickiness.enabled", "false"), ("stickiness.type", "lb_cookie")]), None);
        let lb = [("stickiness.enabled", "true"), ("stickiness.type", "lb_cookie")];
        assert_eq!(read(&lb), Some(Stickiness::Balancer(DURATION)));
        let app = [
            ("stickiness.enabled", "true"),
            ("stickiness.type", "app_cookie"),
            ("stickiness.app_cookie.cookie_name", "session"),
            ("stickiness.app_cookie.duration_seconds", "5"),
        ];
        assert_eq!(read(&app), Some(Stickiness::Application("session".into(), Duration::from_secs(5))));
        assert_eq!(read(&app[..2]), None, "without a name of the cookie");
    }
}
