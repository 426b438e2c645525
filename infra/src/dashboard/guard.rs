//! Who may speak to the dashboard: only the browser that was given its address, and only from the dashboard's own page.
//!
//! A page of another site can make a browser send requests to loopback (cross-site requests), and with a name that it
//! points at loopback even read the answers (DNS rebinding). So the Host header must be one of our own, a secret cookie
//! must be there, and a request that changes anything must come from our origin with the secret in a separate header.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HeaderName, ORIGIN};

/// The header that carries the secret where something is changed.
const TOKEN: &str = "x-bluegreen-token";

/// The checks of one dashboard.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: [String; 2],
    cookie: String,
    token: String,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It names another host than this machine.
    Host,
    /// It does not know the secret.
    Secret,
    /// It comes from another site.
    Origin,
}

impl Guard {
    /// A guard with a new secret for the dashboard on this port.
    pub fn new(port: u16) -> Self {
        Self {
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
            // Cookies are shared by all ports of a host: two dashboards need two names.
            cookie: format!("bluegreen-{port}"),
            token: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// The secret.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The cookie that a browser gets for the secret in its address.
    pub fn cookie(&self) -> Cookie<'static> {
        Cookie::build(self.cookie.clone(), self.token.clone())
            .path("/")
            .http_only(true)
            .same_site(SameSite::Strict)
            .finish()
    }

    /// Whether this is the secret. Compared in full, so that the duration reveals nothing.
    pub fn knows(&self, token: &str) -> bool {
        let (given, own) = (token.as_bytes(), self.token.as_bytes());
        given.len() == own.len() && given.iter().zip(own).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }

    /// Checks that the request is addressed to this dashboard.
    pub fn check_host(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let host = request.headers().get("host").and_then(|host| host.to_str().ok());
        match host {
            Some(host) if self.hosts.iter().any(|own| own == host) => Ok(()),
            _ => Err(Refusal::Host),
        }
    }

    /// Checks that the request may read.
    pub fn check_read(&self, request: &HttpRequest) -> Result<(), Refusal> {
        self.check_host(request)?;
        match request.cookie(&self.cookie) {
            Some(cookie) if self.knows(cookie.value()) => Ok(()),
            _ => Err(Refusal::Secret),
        }
    }

    /// Checks that the request may change something.
    pub fn check_change(&self, request: &HttpRequest) -> Result<(), Refusal> {
        self.check_read(request)?;
        let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let own = |origin: &str| self.hosts.iter().any(|host| origin.strip_prefix("http://") == Some(host));
        if !header(ORIGIN).is_some_and(own) {
            return Err(Refusal::Origin);
        }
        match header(HeaderName::from_static(TOKEN)) {
            Some(token) if self.knows(token) => Ok(()),
            _ => Err(Refusal::Secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn guard() -> Guard {
        Guard::new(4000)
    }

    fn own(guard: &Guard) -> TestRequest {
        TestRequest::post()
            .insert_header(("host", "127.0.0.1:4000"))
            .insert_header(("origin", "http://127.0.0.1:4000"))
            .insert_header((TOKEN, guard.token()))
            .cookie(guard.cookie())
    }

    #[actix_web::test]
    async fn the_own_page_may_change_something() {
        let guard = guard();
        assert_eq!(guard.check_change(&own(&guard).to_http_request()), Ok(()));
    }

    #[actix_web::test]
    async fn a_name_that_was_rebound_to_loopback_reads_nothing() {
        let guard = guard();
        let request = own(&guard).insert_header(("host", "evil.example:4000")).to_http_request();
        assert_eq!(guard.check_read(&request), Err(Refusal::Host));
    }

    #[actix_web::test]
    async fn another_user_of_the_machine_reads_nothing() {
        let guard = guard();
        let request = TestRequest::get().insert_header(("host", "localhost:4000")).to_http_request();
        assert_eq!(guard.check_read(&request), Err(Refusal::Secret));
    }

    #[actix_web::test]
    async fn another_site_changes_nothing_even_with_the_cookie() {
        let guard = guard();
        for origin in ["http://evil.example", "http://127.0.0.1:5000", "null", "https://127.0.0.1:4000"] {
            let request = own(&guard).insert_header(("origin", origin)).to_http_request();
            assert_eq!(guard.check_change(&request), Err(Refusal::Origin), "{origin}");
        }
    }

    #[actix_web::test]
    async fn the_cookie_alone_changes_nothing() {
        let guard = guard();
        let request = TestRequest::post()
            .insert_header(("host", "127.0.0.1:4000"))
            .insert_header(("origin", "http://127.0.0.1:4000"))
            .cookie(guard.cookie())
            .to_http_request();
        assert_eq!(guard.check_change(&request), Err(Refusal::Secret));
    }

    #[test]
    fn a_part_of_the_secret_is_not_the_secret() {
        let guard = guard();
        assert!(guard.knows(guard.token()));
        assert!(!guard.knows(&guard.token()[1..]) && !guard.knows(""));
    }
}
