//! Image names, and which of them the registry of the local cloud serves. Pure.

use crate::error::{Error, Result};
use std::fmt;

/// The parts of an image name: `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    host: Option<String>,
    /// The repository in its registry.
    pub(super) repository: String,
    /// The tag or digest for the `/manifests/` path of the registry.
    pub(super) version: String,
}

impl Reference {
    /// Parses a name; without a tag or digest, the tag is `latest`.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(format!("invalid image name {name:?}: {why}"));
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first.to_owned()), rest),
            _ => (None, name),
        };
        let (repository, version) = if let Some((repository, digest)) = path.split_once('@') {
            if !is_digest(digest) {
                return Err(invalid("the digest must be sha256: and 64 hexadecimal digits"));
            }
            (repository, digest)
        } else {
            path.rsplit_once(':').unwrap_or((path, "latest"))
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if repository.is_empty()
            || !repository.chars().all(allowed)
            || repository.split('/').any(|part| part.is_empty() || part == "..")
        {
            return Err(invalid("the repository is empty or has characters that registries do not allow"));
        }
        if version.is_empty() || version.contains('/') {
            return Err(invalid("the tag is empty or contains a slash"));
        }
        Ok(Self { host, repository: repository.to_owned(), version: version.to_owned() })
    }

    /// The digest, if the name has one.
    pub(crate) fn digest(&self) -> Option<&str> {
        is_digest(&self.version).then_some(self.version.as_str())
    }

    /// Whether the registry of the local cloud serves it: it serves every ECR host and its own address.
    pub(crate) fn is_local(&self) -> bool {
        match self.host.as_deref() {
            None => false,
            Some(host) => {
                let (name, _) = host.split_once(':').unwrap_or((host, ""));
                let ecr = name.contains(".dkr.ecr.")
                    && (name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn"));
                ecr || name == "127.0.0.1" || name == "localhost"
            }
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(out, "{host}/")?;
        }
        let separator = if self.digest().is_some() { '@' } else { ':' };
        write!(out, "{}{separator}{}", self.repository, self.version)
    }
}

/// Whether this is `sha256:` and 64 lower-case hexadecimal digits, which is safe as a file name.
fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn an_ecr_name_with_a_digest_is_served_by_the_local_registry() {
        let name = format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/team/greeter@{DIGEST}");
        let reference = Reference::parse(&name).unwrap();
        assert!(reference.is_local());
        assert_eq!((reference.repository.as_str(), reference.digest()), ("team/greeter", Some(DIGEST)));
        assert_eq!(reference.to_string(), name);
    }

    #[test]
    fn tags_and_ports_are_told_apart() {
        let reference = Reference::parse("127.0.0.1:4566/greeter:v1").unwrap();
        assert!(reference.is_local());
        assert_eq!((reference.repository.as_str(), reference.version.as_str()), ("greeter", "v1"));
        assert_eq!(Reference::parse("localhost/greeter").unwrap().version, "latest");
    }

    #[test]
    fn names_of_other_registries_are_not_local() {
        for name in ["nginx", "library/nginx:1", "public.ecr.aws/nginx/nginx:1", "example.com/a.dkr.ecr.b/c"] {
            assert!(!Reference::parse(name).unwrap().is_local(), "{name}");
        }
    }

    #[test]
    fn names_that_could_leave_the_registry_or_the_store_are_refused() {
        for name in ["", "host.io/", "host.io/a@sha256:../../x", "host.io/../a:1", "host.io/a b:1", "host.io/a:"] {
            assert!(Reference::parse(name).is_err(), "{name:?}");
        }
    }
}
