//! What a registry can fail to do, at which step, and why. Must not know how it is asked.

use std::error::Error as StdError;
use std::fmt;

/// A registry did not do what it was asked to do. The error says what was to be done, at which step it failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {}", self.reason())]
#[non_exhaustive]
pub struct RegistryError {
    /// What kind of error it is.
    pub kind: RegistryErrorKind,
    /// What was to be done.
    pub operation: Operation,
    /// The step that failed.
    pub step: Step,
    /// What the registry said, or why it cannot be reached.
    pub detail: String,
    /// The HTTP client's error.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What was to be done with a registry. Its display form continues "cannot".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Pushing an image.
    Push {
        /// The URI of the repository: host, slash, path.
        repository: String,
        /// The tag.
        tag: String,
        /// The address of the registry: scheme, host, port.
        endpoint: String,
    },
    /// Pulling an image.
    Pull {
        /// The name of the image.
        image: String,
        /// The host of the registry.
        host: String,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push { repository, tag, .. } => write!(f, "push {repository}:{tag}"),
            Self::Pull { image, .. } => write!(f, "use image {image}"),
        }
    }
}

/// A step of a push or a pull, to tell an error of the login from one of the upload. Its display form continues
/// "cannot".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Connecting to the registry and logging in.
    Connect,
    /// Reading what the registry has.
    Read,
    /// Uploading a blob.
    Upload,
    /// Uploading the manifest.
    Manifest,
    /// Verifying the digest of what was uploaded.
    Verify,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "log in to the registry",
            Self::Read => "read from the registry",
            Self::Upload => "upload a blob",
            Self::Manifest => "upload the manifest",
            Self::Verify => "verify the image in the registry",
        })
    }
}

/// What kind of error a [`RegistryError`] is. Registries report the same reason in different ways; this is what they
/// mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryErrorKind {
    /// The registry cannot be reached.
    Unreachable,
    /// The registry does not accept the credentials.
    Unauthorized,
    /// The registry does not allow the operation with these credentials.
    Forbidden,
    /// The registry has no such image or repository.
    NotFound,
    /// The tag names another image, and tags of this repository are immutable.
    TagTaken,
    /// The registry stored other bytes than it was sent.
    DigestMismatch,
    /// The registry that the image comes from sends other bytes than its digests say.
    SourceDigestMismatch,
    /// The registry wants the credentials at an address without TLS.
    InsecureLogin,
    /// The registry failed several times in a row: it is busy, or the connection was lost.
    Busy,
    /// The registry refused for another reason.
    Refused,
}

impl RegistryError {
    /// An error without a source, for tests of programs that handle one.
    pub fn new(kind: RegistryErrorKind, operation: Operation, step: Step, detail: impl Into<String>) -> Self {
        Self { kind, operation, step, detail: detail.into(), source: None }
    }

    /// Why the operation failed, in one sentence.
    pub fn reason(&self) -> String {
        use RegistryErrorKind as Kind;
        let step = self.step;
        match (self.kind, &self.operation) {
            (Kind::SourceDigestMismatch, Operation::Push { .. }) => {
                "the registry that the image comes from sends other bytes than its digests say".to_owned()
            }
            (Kind::DigestMismatch | Kind::SourceDigestMismatch, Operation::Pull { host, .. }) => {
                format!("{host} sends other bytes than its digests say (digest mismatch)")
            }
            (Kind::DigestMismatch, Operation::Push { .. }) => {
                "the registry stored other bytes than were sent (digest mismatch)".to_owned()
            }
            (Kind::Unreachable, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. }) => {
                format!("the registry cannot be reached at {host}")
            }
            (Kind::Unauthorized, Operation::Push { endpoint, .. }) => {
                format!("{endpoint} does not accept the credentials")
            }
            (Kind::Forbidden, Operation::Push { endpoint, .. }) => {
                format!("{endpoint} does not let these credentials {step}")
            }
            (Kind::Unauthorized | Kind::Forbidden, Operation::Pull { host, .. }) => {
                format!("{host} does not let you pull it, or there is no such image")
            }
            (Kind::TagTaken, Operation::Push { tag, .. }) => {
                format!("the tag {tag} already names another image, and tags here are immutable")
            }
            (Kind::NotFound, Operation::Push { endpoint, repository, .. }) => {
                let path = repository.split_once('/').map_or(repository.as_str(), |(_, path)| path);
                format!("{endpoint} has no repository {path}")
            }
            (Kind::NotFound, Operation::Pull { host, .. }) => format!("{host} has no such image"),
            (Kind::InsecureLogin, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. }) => {
                format!("{host} does not protect the credentials: {}", self.detail)
            }
            (Kind::Busy, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. }) => {
                format!("{host} failed several times in a row to {step}")
            }
            (Kind::Refused, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. })
            | (Kind::TagTaken, Operation::Pull { host, .. }) => format!("{host} refused to {step}"),
        }
    }
}
