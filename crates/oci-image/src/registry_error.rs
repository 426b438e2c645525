//! What a registry's refusal means: whether to try again, and what to tell people. Must not talk to a registry.

use std::error::Error as StdError;

use oci_client::Reference;
use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};

use super::registry::Registry;
use crate::error::Error;

/// What was being done when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reaching the registry and logging in.
    Connect,
    /// Asking what is there.
    Look,
    /// Sending a blob.
    Upload,
    /// Sending the manifest.
    Manifest,
    /// Asking for the digest of what was sent.
    Verify,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Connect => "log in to the registry",
            Self::Look => "ask the registry what it has",
            Self::Upload => "upload a blob",
            Self::Manifest => "upload the manifest",
            Self::Verify => "verify the image in the registry",
        }
    }
}

/// What is known of a failure, whichever way the client reported it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that an error may carry")]
#[derive(Debug, Default)]
pub struct Refusal {
    status: Option<u16>,
    codes: Vec<OciErrorCode>,
    /// No connection could be made.
    unreachable: bool,
    /// The connection was lost, or no answer came in time.
    lost: bool,
    digest_mismatch: bool,
    /// What came from the image's own registry, on its way to another, is not what its digest says.
    broken_source: bool,
    text: String,
}

impl From<OciDistributionError> for Refusal {
    fn from(error: OciDistributionError) -> Self {
        Self::of(&error)
    }
}

impl Refusal {
    pub fn of(error: &OciDistributionError) -> Self {
        let text = chain(error);
        match error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                Self { status: Some(401), text, ..Self::default() }
            }
            OciDistributionError::ServerError { code, message, .. } => {
                let envelope = serde_json::from_str(message).ok();
                Self::answered(Some(*code), envelope.as_ref(), text)
            }
            OciDistributionError::RegistryError { envelope, .. } => Self::answered(None, Some(envelope), text),
            OciDistributionError::RequestError(error) => Self {
                status: error.status().map(|status| status.as_u16()),
                unreachable: error.is_connect(),
                lost: error.status().is_none()
                    && !error.is_connect()
                    && !error.is_builder()
                    && !holds_digest_error(error),
                broken_source: holds_digest_error(error),
                text,
                ..Self::default()
            },
            OciDistributionError::DigestError(_) => Self { digest_mismatch: true, text, ..Self::default() },
            OciDistributionError::IoError(error) if holds_digest_error(error) => {
                Self { digest_mismatch: true, text, ..Self::default() }
            }
            _ => Self { text, ..Self::default() },
        }
    }

    /// An answer with a status, an error document, or both.
    fn answered(status: Option<u16>, envelope: Option<&OciEnvelope>, fallback: String) -> Self {
        let errors = envelope.map_or(&[][..], |envelope| &envelope.errors);
        let codes: Vec<_> = errors
            .iter()
            .filter_map(|error| {
                // The code has no `Clone`; it is read again from its own form.
                serde_json::to_value(&error.code).ok().and_then(|code| serde_json::from_value(code).ok())
            })
            .collect();
        let said: Vec<_> = errors.iter().map(|error| error.message.as_str()).filter(|text| !text.is_empty()).collect();
        let text = match (said.is_empty(), status) {
            (true, _) => fallback,
            (false, Some(status)) => format!("{} (HTTP {status})", said.join("; ")),
            (false, None) => said.join("; "),
        };
        Self { status, codes, text, ..Self::default() }
    }

    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        self.lost || self.has(&OciErrorCode::Toomanyrequests) || self.status.is_some_and(|s| s == 429 || s >= 500)
    }

    /// Whether the registry says that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        let codes = [
            OciErrorCode::ManifestUnknown,
            OciErrorCode::NameUnknown,
            OciErrorCode::NotFound,
            OciErrorCode::BlobUnknown,
        ];
        self.status == Some(404) || codes.iter().any(|code| self.has(code))
    }

    fn has(&self, code: &OciErrorCode) -> bool {
        self.codes.contains(code)
    }

    /// Whether the tag names something else, and tags cannot be moved.
    pub fn is_tag_taken(&self) -> bool {
        let text = self.text.to_lowercase();
        self.has(&OciErrorCode::TagInvalid) || text.contains("immutable") || text.contains("imagetagalreadyexists")
    }

    /// The error for people: what failed on which image, why, and what to do next.
    pub fn explain(&self, step: Step, registry: &Registry, tag: &str) -> Error {
        let uri = registry.repository_uri();
        let endpoint = &registry.endpoint;
        let failed = |why: String| Error::failed(format!("cannot push {uri}:{tag}")).because(why).because(&self.text);
        if self.broken_source {
            failed("the registry that the image comes from sends other bytes than its digests say".to_owned())
                .hint("the image is damaged there: build and push it to that registry again")
        } else if self.unreachable {
            failed(format!("the registry cannot be reached at {endpoint}")).hint(
                "check the network, the region and the registry's address; for the local cloud, that it is running",
            )
        } else if self.digest_mismatch || self.has(&OciErrorCode::DigestInvalid) {
            failed("the registry stored other bytes than were sent (digest mismatch)".to_owned())
                .hint("something between here and the registry changes what passes: push again without a proxy")
        } else if self.status == Some(401) || self.has(&OciErrorCode::Unauthorized) {
            failed(format!("{endpoint} does not accept the credentials"))
                .hint("a registry password is valid for 12 hours: get a new one (repeat the command), and check account and region")
        } else if self.status == Some(403) || self.has(&OciErrorCode::Denied) {
            failed(format!("{endpoint} does not let these credentials {}", step.words())).hint(
                "allow ecr:BatchCheckLayerAvailability, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload, \
                       PutImage and BatchGetImage on the repository",
            )
        } else if self.is_tag_taken() {
            failed(format!("the tag {tag} already names another image, and tags here are immutable"))
                .hint("use a tag of the image's own content, such as v1- and the start of its digest")
        } else if self.is_not_found() {
            failed(format!("{endpoint} has no repository {}", registry.repository()))
                .hint("create the repository first (deploying the stack does), and check account and region")
        } else if self.is_transient() {
            failed(format!("{endpoint} failed several times in a row to {}", step.words()))
                .hint("wait a moment and push again: what has arrived is not sent twice")
        } else {
            failed(format!("{endpoint} refused to {}", step.words()))
        }
    }
}

impl Refusal {
    /// The error for people about an image that could not be read from its registry.
    pub fn explain_pull(&self, reference: &Reference) -> Error {
        let host = reference.registry();
        let failed = |why: String| {
            Error::failed(format!("cannot use image {}", reference.whole())).because(why).because(&self.text)
        };
        if self.unreachable {
            failed(format!("the registry {host} cannot be reached"))
                .hint("check the name of the image, and the network")
        } else if self.digest_mismatch {
            failed(format!("{host} sends other bytes than were asked for (digest mismatch)"))
                .hint("something between here and the registry changes what passes, or the image is damaged there")
        } else if matches!(self.status, Some(401 | 403))
            || self.has(&OciErrorCode::Unauthorized)
            || self.has(&OciErrorCode::Denied)
        {
            failed(format!("{host} does not let you pull it, or there is no such image"))
                .hint(format!("check the name; log in where the image is private: docker login {host} (or write ~/.docker/config.json)"))
        } else if self.is_not_found() {
            failed(format!("{host} has no such image")).hint("check the name and the tag, and that it was pushed")
        } else if self.is_transient() {
            failed(format!("{host} failed several times in a row")).hint("wait a moment and run the command again")
        } else {
            failed(format!("{host} refused"))
        }
    }
}

/// Whether the request failed because what it was to send was not what its digest says.
fn holds_digest_error(error: &(dyn StdError + 'static)) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        let io = match error.downcast_ref::<OciDistributionError>() {
            Some(OciDistributionError::IoError(io)) => Some(io),
            _ => error.downcast_ref::<std::io::Error>(),
        };
        // What an I/O error holds is not among its sources.
        if error.is::<DigestError>() || io.and_then(|io| io.get_ref()).is_some_and(|held| held.is::<DigestError>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error's words and those of its sources.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = source.source();
    }
    text
}
