//! Who may speak to the dashboard: only the browser that was given its address, and only from the dashboard's own page.
//!
//! A page of another site can make a browser send requests to loopback (cross-site requests), and with a name that it
//! points at loopback even read the answers (DNS rebinding). So the Host header must be one of our own, a header must
//! carry the secret, and a request that changes anything must come from our origin. The secret is not a cookie: a browser
//! sends a cookie to every port of a host, and so to every other server on this machine
//! (<https://www.rfc-editor.org/rfc/rfc6265#section-8.5>).

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, ORIGIN};

/// The header that carries the secret.
const TOKEN: &str = "x-bluegreen-token";

/// The checks of one dashboard.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: [String; 2],
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
            token: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// The secret.
    pub fn token(&self) -> &str {
        &self.token
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
        match header(request, HeaderName::from_static(TOKEN)) {
            Some(token) if self.knows(token) => Ok(()),
            _ => Err(Refusal::Secret),
        }
    }

    /// Checks that the request may change something.
    pub fn check_change(&self, request: &HttpRequest) -> Result<(), Refusal> {
        self.check_read(request)?;
        let own = |origin: &str| self.hosts.iter().any(|host| origin.strip_prefix("http://") == Some(host));
        if header(request, ORIGIN).is_some_and(own) { Ok(()) } else { Err(Refusal::Origin) }
    }
}

fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
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
    async fn another_site_changes_nothing_even_with_the_secret() {
        let guard = guard();
        for origin in ["http://evil.example", "http://127.0.0.1:5000", "null", "https://127.0.0.1:4000"] {
            let request = own(&guard).insert_header(("origin", origin)).to_http_request();
            assert_eq!(guard.check_change(&request), Err(Refusal::Origin), "{origin}");
        }
    }

    #[actix_web::test]
    async fn a_cookie_is_no_secret() {
        let guard = guard();
        let request = TestRequest::post()
            .insert_header(("host", "127.0.0.1:4000"))
            .insert_header(("origin", "http://127.0.0.1:4000"))
            .insert_header(("cookie", format!("bluegreen-4000={}; {TOKEN}={}", guard.token(), guard.token())))
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
