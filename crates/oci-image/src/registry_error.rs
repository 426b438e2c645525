//! What a registry's error means: its kind, and whether to try again. Must not talk to a registry.

use std::error::Error as StdError;

use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};

use crate::error::{Error, Operation, RegistryError, RegistryErrorKind, Step};
use crate::login::InsecureRealm;
use crate::stored::WrongContent;
use crate::text::clean;

/// The facts of an error, independent of the way the client reports it.
#[expect(clippy::struct_excessive_bools, reason = "an error may carry any of these facts")]
#[derive(Debug, Default)]
pub(crate) struct ErrorFacts {
    status: Option<u16>,
    codes: Vec<OciErrorCode>,
    /// No connection could be made.
    unreachable: bool,
    /// The connection was lost, or no answer came in time.
    lost: bool,
    digest_mismatch: bool,
    /// The content that the registry of the image sends, to be pushed to another registry, is not what its digest says.
    broken_source: bool,
    /// The registry wants the credentials where they would be sent in the clear.
    insecure: bool,
    text: String,
}

impl From<&OciDistributionError> for ErrorFacts {
    fn from(error: &OciDistributionError) -> Self {
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
            OciDistributionError::IoError(error) if is_within::<InsecureRealm>(error) => {
                Self { insecure: true, text, ..Self::default() }
            }
            OciDistributionError::IoError(error) if holds_digest_error(error) => {
                Self { digest_mismatch: true, text, ..Self::default() }
            }
            _ => Self { text, ..Self::default() },
        }
    }
}

impl ErrorFacts {
    /// An answer with a status, an error document, or both.
    fn answered(status: Option<u16>, envelope: Option<&OciEnvelope>, fallback: String) -> Self {
        let errors = envelope.map_or(&[][..], |envelope| &envelope.errors);
        let codes: Vec<_> = errors
            .iter()
            .filter_map(|error| {
                // The code has no `Clone`: copy it through its JSON form.
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

    /// Whether the tag names another image, and tags are immutable.
    pub fn is_tag_taken(&self) -> bool {
        let text = self.text.to_lowercase();
        self.has(&OciErrorCode::TagInvalid) || text.contains("immutable") || text.contains("imagetagalreadyexists")
    }

    fn kind(&self, operation: &Operation) -> RegistryErrorKind {
        use RegistryErrorKind as Kind;
        let pushes = matches!(operation, Operation::Push { .. });
        if self.insecure {
            Kind::InsecureLogin
        } else if self.broken_source {
            Kind::SourceDigestMismatch
        } else if self.unreachable {
            Kind::Unreachable
        } else if self.digest_mismatch || (pushes && self.has(&OciErrorCode::DigestInvalid)) {
            if pushes { Kind::DigestMismatch } else { Kind::SourceDigestMismatch }
        } else if self.status == Some(401) || self.has(&OciErrorCode::Unauthorized) {
            Kind::Unauthorized
        } else if self.status == Some(403) || self.has(&OciErrorCode::Denied) {
            Kind::Forbidden
        } else if pushes && self.is_tag_taken() {
            Kind::TagTaken
        } else if self.is_not_found() {
            Kind::NotFound
        } else if self.is_transient() {
            Kind::Busy
        } else {
            Kind::Refused
        }
    }
}

/// The error of an operation whose `step` failed.
pub(crate) fn failed(operation: Operation, (step, error): (Step, OciDistributionError)) -> Error {
    let facts = ErrorFacts::from(&error);
    let kind = facts.kind(&operation);
    Error::Registry(Box::new(RegistryError {
        kind,
        operation,
        step,
        detail: clean(&facts.text),
        source: Some(Box::new(error)),
    }))
}

/// Whether the request failed because the content to send is not what its digest says.
fn holds_digest_error(error: &(dyn StdError + 'static)) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        let io = match error.downcast_ref::<OciDistributionError>() {
            Some(OciDistributionError::IoError(io)) => Some(io),
            _ => error.downcast_ref::<std::io::Error>(),
        };
        // The error that an I/O error wraps is not among its sources.
        if error.is::<DigestError>()
            || io.is_some_and(|io| is_within::<DigestError>(io) || is_within::<WrongContent>(io))
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_within<E: StdError + 'static>(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|held| held.is::<E>())
}

/// An error's text and those of its sources.
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
