//! Logs in to a registry as it demands: with a password, or with a token from where it says (the distribution project's
//! token protocol, <https://distribution.github.io/distribution/spec/auth/token/>). Passwords go nowhere without TLS,
//! unless to this machine.

use std::io;

use futures_util::TryStreamExt as _;
use futures_util::stream::StreamExt as _;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::limits::DOCUMENT_LIMIT;
use crate::stored::collect;
use crate::text::clean;

/// The most that is read of an error document.
const REFUSAL_LIMIT: usize = 64 * 1024;

/// What a registry demands.
#[derive(Debug, PartialEq, Eq)]
enum Demand {
    Nothing,
    Password,
    /// A token from this address.
    Token {
        realm: Url,
        service: Option<String>,
    },
}

/// A registry that may be reached only with TLS wants the credentials where there is none.
#[derive(Debug, thiserror::Error)]
#[error("it wants the credentials at {realm}, which is not encrypted")]
pub(crate) struct InsecureRealm {
    realm: String,
}

/// Whether an authority is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let without_port = authority.rsplit_once(':').filter(|_| !authority.ends_with(']'));
    let host = without_port.map_or(authority, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Rejects a registry that would send the password in the clear to another place.
pub(crate) async fn check_demand(http: &Client, base: &str) -> Result<(), OciDistributionError> {
    demand(http, base).await.map(drop)
}

/// The `Authorization` to read from a repository of the registry at `base`, such as `https://registry.example`; `None` if
/// it needs none.
pub(crate) async fn authorization(
    http: &Client,
    base: &str,
    repository: &str,
    auth: &RegistryAuth,
) -> Result<Option<HeaderValue>, OciDistributionError> {
    match (demand(http, base).await?, auth) {
        (Demand::Nothing, _) | (Demand::Password, RegistryAuth::Anonymous) => Ok(None),
        (Demand::Token { realm, service }, _) => {
            let mut request = http.get(realm).query(&[("scope", format!("repository:{repository}:pull"))]);
            if let Some(service) = service {
                request = request.query(&[("service", service)]);
            }
            if let RegistryAuth::Basic(user, password) = auth {
                request = request.basic_auth(user, Some(password));
            }
            let response = request.send().await?;
            if !response.status().is_success() {
                return Err(OciDistributionError::AuthenticationFailure(refusal(response).await));
            }
            let token: Token = serde_json::from_slice(&body(response, "the token").await?)?;
            let token = token.token.or(token.access_token).unwrap_or_default();
            secret(format!("Bearer {token}")).map(Some)
        }
        (Demand::Password, auth) => {
            // The client knows how to write it.
            let RegistryAuth::Basic(user, password) = auth else { return Ok(None) };
            let request = http.get(base).basic_auth(user, Some(password)).build()?;
            Ok(request.headers().get(AUTHORIZATION).cloned())
        }
    }
}

fn secret(text: String) -> Result<HeaderValue, OciDistributionError> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| OciDistributionError::RegistryTokenDecodeError("it is not a token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

async fn demand(http: &Client, base: &str) -> Result<Demand, OciDistributionError> {
    let response = http.get(format!("{base}/v2/")).send().await?;
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    let texts: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
    read(base, &texts)
}

fn read(base: &str, headers: &[&str]) -> Result<Demand, OciDistributionError> {
    let mut demand = Demand::Nothing;
    for challenge in headers.iter().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten() {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let realm = parameter("realm").unwrap_or_default();
            let url = Url::parse(&realm).map_err(|_| OciDistributionError::UrlParseError(clean(&realm)))?;
            if !is_safe(base, &url) {
                return Err(io::Error::other(InsecureRealm { realm: clean(&realm) }).into());
            }
            return Ok(Demand::Token { realm: url, service: parameter("service") });
        }
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            demand = Demand::Password;
        }
    }
    Ok(demand)
}

/// Without TLS only on this machine, and only if the registry has none either.
fn is_safe(base: &str, realm: &Url) -> bool {
    let is_here = |host: Option<&str>| host.is_some_and(is_loopback);
    realm.scheme() == "https" || (realm.scheme() == "http" && base.starts_with("http://") && is_here(realm.host_str()))
}

/// The whole body of a document, up to the limit.
pub(crate) async fn body(response: Response, what: &'static str) -> Result<Vec<u8>, OciDistributionError> {
    // An error of the client stays its error, so that it can be told whether it is transient.
    let chunks = response.bytes_stream().map_err(|error| crate::client::into_io(error.into())).boxed();
    collect(chunks, what, DOCUMENT_LIMIT).await.map_err(crate::client::from_io)
}

/// The start of what a registry says about a refusal.
pub(crate) async fn refusal(response: Response) -> String {
    let mut chunks = response.bytes_stream();
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = chunks.try_next().await
        && text.len() < REFUSAL_LIMIT
    {
        text.extend_from_slice(&chunk);
    }
    text.truncate(REFUSAL_LIMIT);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_without_tls() {
        for (authority, plain) in [
            ("127.0.0.1:5000", true),
            ("localhost", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("registry.example:5000", false),
            ("127.0.0.1.example", false),
        ] {
            assert_eq!(is_loopback(authority), plain, "{authority}");
        }
    }

    #[test]
    fn a_password_goes_nowhere_without_tls_but_to_this_machine() {
        for (base, realm, is_allowed) in [
            ("https://registry.example", "https://auth.example/token", true),
            ("https://registry.example", "http://auth.example/token", false),
            ("https://registry.example", "http://127.0.0.1/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "http://[::1]:5001/token", true),
            ("http://127.0.0.1:5000", "http://auth.example/token", false),
            ("http://127.0.0.1:5000", "ftp://127.0.0.1/token", false),
        ] {
            let demand = read(base, &[&format!(r#"Bearer realm="{realm}",service="s""#)]);
            assert_eq!(demand.is_ok(), is_allowed, "{base} {realm}: {demand:?}");
        }
    }

    #[test]
    fn the_demand_is_read_from_any_of_several_challenges() {
        let base = "https://registry.example";
        assert_eq!(read(base, &[]).unwrap(), Demand::Nothing);
        assert_eq!(read(base, &["Negotiate", r#"Basic realm="x""#]).unwrap(), Demand::Password);
        let both = read(base, &[r#"Basic realm="x", Bearer realm="https://a.example/t""#]).unwrap();
        assert_eq!(both, Demand::Token { realm: "https://a.example/t".parse().unwrap(), service: None });
    }
}
