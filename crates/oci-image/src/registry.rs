//! Where images go: the name of the repository, the address of its registry, and the credentials. Must not know what is
//! pushed.

use std::fmt;
use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::digest::Digest;
use crate::error::{Error, RegistryAddressError, Result};
use crate::login::is_loopback;

/// The address that a registry answers at: scheme, host and port. It may differ from the host in the names of its
/// images (a local cloud, a proxy).
///
/// ```
/// use oci_image::RegistryEndpoint;
///
/// let endpoint: RegistryEndpoint = "http://127.0.0.1:5000".parse()?;
/// assert_eq!((endpoint.is_tls(), endpoint.authority()), (false, "127.0.0.1:5000"));
/// # Ok::<(), oci_image::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEndpoint {
    tls: bool,
    authority: String,
}

impl RegistryEndpoint {
    /// Whether it speaks HTTPS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host, with the port if one is given.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for RegistryEndpoint {
    type Err = Error;

    /// Reads `https://host`, the bare host, which means HTTPS, or `http://host:port` of this machine: a password goes to no
    /// other machine without encryption. The only accepted path is `/`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRegistryAddress`] if the text is anything else.
    fn from_str(address: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidRegistryAddress { address: address.to_owned(), reason };
        let (tls, rest) = match address.split_once("://") {
            None => (true, address),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(invalid(RegistryAddressError::Scheme)),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() {
            return Err(invalid(RegistryAddressError::NoHost));
        }
        if authority.contains(|c: char| c.is_whitespace() || "/?#@".contains(c)) {
            return Err(invalid(RegistryAddressError::NotOnlyHost));
        }
        if !tls && !is_loopback(authority) {
            return Err(invalid(RegistryAddressError::NotEncrypted));
        }
        Ok(Self { tls, authority: authority.to_owned() })
    }
}

impl fmt::Display for RegistryEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// A user and a password for a registry. Its debug form hides the password.
///
/// ```
/// use oci_image::Credentials;
///
/// let credentials = Credentials::new("user", "secret");
/// assert!(!format!("{credentials:?}").contains("secret"));
/// // base64 of AWS:password, as ECR gives it
/// assert_eq!(Credentials::from_ecr_token("QVdTOnBhc3N3b3Jk")?, Credentials::new("AWS", "password"));
/// # Ok::<(), oci_image::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Credentials {
    /// A user and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// Reads the `authorizationToken` of ECR's `GetAuthorizationToken`: base64 of `user:password`, valid for 12 hours.
    ///
    /// # Errors
    ///
    /// [`Error::UnreadableToken`] if it is anything else.
    pub fn from_ecr_token(token: &str) -> Result<Self> {
        let decoded = BASE64_STANDARD.decode(token.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((username, password)) => Ok(Self::new(username, password)),
            None => Err(Error::UnreadableToken),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A repository of a registry, and how to get there.
///
/// ```
/// use oci_image::{Credentials, Digest, Registry};
///
/// let registry = Registry::new("registry.example/team/app", Credentials::new("user", "password"))?;
/// assert_eq!(registry.repository(), "team/app");
/// assert!(registry.reference(&Digest::of(b"")).starts_with("registry.example/team/app@sha256:e3b0c442"));
/// // Through another address, such as a proxy or a test:
/// let registry = registry.reached_at("http://127.0.0.1:5000".parse()?);
/// # Ok::<(), oci_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) endpoint: RegistryEndpoint,
    pub(crate) credentials: Credentials,
    repository_uri: String,
    path_at: usize,
}

impl Registry {
    /// The repository with this URI, as the names of its images begin: host, slash, path (ECR's `repositoryUri`). The
    /// address of the registry is that host, by HTTPS.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRepository`] if the URI is not a host and a path; [`Error::InvalidRegistryAddress`] if the host is
    /// not one.
    pub fn new(repository_uri: &str, credentials: Credentials) -> Result<Self> {
        let uri = repository_uri;
        match uri.split_once('/') {
            Some((host, path)) if !host.is_empty() && is_path(path) => Ok(Self {
                endpoint: host.parse()?,
                credentials,
                repository_uri: uri.to_owned(),
                path_at: host.len() + 1,
            }),
            _ => Err(Error::InvalidRepository { uri: uri.to_owned() }),
        }
    }

    /// The same repository, reached at another address.
    #[must_use]
    pub fn reached_at(self, endpoint: RegistryEndpoint) -> Self {
        Self { endpoint, ..self }
    }

    /// Host and path, as the names of its images begin.
    pub fn repository_uri(&self) -> &str {
        &self.repository_uri
    }

    /// The path without the host.
    pub fn repository(&self) -> &str {
        &self.repository_uri[self.path_at..]
    }

    /// The name of an image in it, by digest.
    pub fn reference(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository_uri)
    }
}

/// Whether it can be a repository's path (OCI distribution specification: lower case, digits, separators).
fn is_path(path: &str) -> bool {
    path.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for (address, shown) in [
            ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("https://registry.example/", "https://registry.example"),
            ("registry.example:5000", "https://registry.example:5000"),
            ("http://localhost:5000", "http://localhost:5000"),
            ("http://[::1]:5000", "http://[::1]:5000"),
        ] {
            assert_eq!(address.parse::<RegistryEndpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn an_address_with_more_or_less_is_rejected() {
        for address in
            ["", "http://", "ftp://host", "https://host/v2", "https://user@host", "http://host:5000", "http://10.0.0.7"]
        {
            assert!(address.parse::<RegistryEndpoint>().is_err(), "{address:?}");
        }
    }

    #[test]
    fn a_repository_is_reached_at_its_own_host_unless_another_is_given() {
        let registry = Registry::new("host.example/team/app", Credentials::new("AWS", "secret")).unwrap();
        assert_eq!(registry.endpoint.to_string(), "https://host.example");
        assert_eq!(registry.repository(), "team/app");
        let elsewhere = registry.reached_at("http://127.0.0.1:4566".parse().unwrap());
        assert_eq!(elsewhere.endpoint.to_string(), "http://127.0.0.1:4566");
        let digest = Digest::of(b"");
        assert_eq!(elsewhere.reference(&digest), format!("host.example/team/app@{digest}"));
    }

    #[test]
    fn a_repository_without_a_path_is_rejected() {
        for uri in ["greeter", "host.example/", "/greeter", "host.example/Greeter", "host.example/a//b"] {
            assert!(Registry::new(uri, Credentials::new("", "")).is_err(), "{uri:?}");
        }
    }

    #[test]
    fn the_token_of_ecr_is_read() {
        let token = BASE64_STANDARD.encode("AWS:pass:word");
        assert_eq!(Credentials::from_ecr_token(&token).unwrap(), Credentials::new("AWS", "pass:word"));
        assert!(Credentials::from_ecr_token("not base64").is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", Credentials::new("AWS", "secret")).contains("secret"));
    }
}
