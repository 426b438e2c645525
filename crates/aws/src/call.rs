//! The error of a call to AWS: what was tried, and what AWS answered or why it did not. Must not know what a person does
//! about it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;

/// Error codes of a service that is busy, or throttles the account: the same call may succeed in a moment
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>).
const BUSY: [&str; 13] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RequestThrottled",
    "SlowDown",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalError",
    "ServerException",
    "RequestTimeout",
];

/// Error codes for credentials that have expired
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html>).
const EXPIRED: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];

/// Error codes for credentials that AWS does not accept.
const REJECTED: [&str; 5] = [
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "InvalidAccessKeyId",
];

/// Error codes for a call that the credentials do not permit.
const DENIED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];

/// Error codes for a clock that differs too much from that of AWS.
const SKEWED: [&str; 2] = ["RequestTimeTooSkewed", "RequestInTheFuture"];

/// Texts of services that say the same with the code for a wrong signature.
const SKEWED_TEXTS: [&str; 2] = ["Signature expired", "Signature not yet current"];

/// What the failure of a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The service is busy, or throttles the account.
    Busy,
    /// The credentials have expired.
    ExpiredCredentials,
    /// The credentials are invalid.
    RejectedCredentials,
    /// The credentials do not permit the call.
    Denied,
    /// The clock of this machine is wrong.
    ClockSkew,
    /// The service answered with another error.
    Other,
    /// There are no credentials.
    NoCredentials,
    /// There is no region.
    NoRegion,
    /// The service cannot be reached.
    Unreachable,
    /// The connection was lost, or there was no answer in time.
    ConnectionLost,
    /// The call failed before it was sent.
    NotSent,
}

/// A call to AWS failed.
#[derive(Clone, Debug)]
pub struct CallError {
    operation: String,
    kind: CallErrorKind,
    code: Option<String>,
    causes: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl CallError {
    /// A service answered with this code and text.
    pub fn answered(operation: impl Into<String>, code: &str, text: &str) -> Self {
        let kind = match code {
            _ if SKEWED_TEXTS.iter().any(|words| text.contains(words)) => CallErrorKind::ClockSkew,
            code if BUSY.contains(&code) => CallErrorKind::Busy,
            code if EXPIRED.contains(&code) => CallErrorKind::ExpiredCredentials,
            code if REJECTED.contains(&code) => CallErrorKind::RejectedCredentials,
            code if DENIED.contains(&code) => CallErrorKind::Denied,
            code if SKEWED.contains(&code) => CallErrorKind::ClockSkew,
            _ => CallErrorKind::Other,
        };
        let (code, causes) = (Some(code.to_owned()), vec![format!("{code}: {text}")]);
        Self { operation: operation.into(), kind, code, causes, source: None }
    }

    /// There was no answer, for these causes, the outermost first.
    pub fn unanswered(operation: impl Into<String>, causes: &[String]) -> Self {
        let all = causes.join(": ").to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| all.contains(word));
        let kind = if has(&["credential"]) {
            CallErrorKind::NoCredentials
        } else if has(&["region"]) {
            CallErrorKind::NoRegion
        } else if has(&["connect", "dns"]) {
            CallErrorKind::Unreachable
        } else if has(&["timeout", "timed out", "hyper", "closed"]) {
            CallErrorKind::ConnectionLost
        } else {
            CallErrorKind::NotSent
        };
        // The SDK's outermost text ("dispatch failure") says nothing that the causes do not say better.
        let causes = causes.iter().skip(usize::from(causes.len() > 1)).cloned().collect();
        Self { operation: operation.into(), kind, code: None, causes, source: None }
    }

    /// The same error with the error of the SDK that it was made from.
    #[must_use]
    fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What was tried, for example `read the events of stack shop`.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// What it means.
    pub const fn kind(&self) -> CallErrorKind {
        self.kind
    }

    /// The error code of the service, if it answered.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Why it failed, the nearest cause first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// Whether the same call may succeed in a moment.
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, CallErrorKind::Busy | CallErrorKind::Unreachable | CallErrorKind::ConnectionLost)
    }

    /// Whether the call fails until a person fixes the cause.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self.kind,
            CallErrorKind::ExpiredCredentials
                | CallErrorKind::RejectedCredentials
                | CallErrorKind::Denied
                | CallErrorKind::ClockSkew
        )
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {}", self.operation)
    }
}

impl StdError for CallError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Whether a text names an error code that only a person can fix. Reports of other programs contain their errors as text.
pub fn names_lasting_code(text: &str) -> bool {
    [&EXPIRED[..], &REJECTED, &DENIED, &SKEWED].into_iter().flatten().any(|code| text.contains(code))
}

/// Adds the purpose of a call to AWS to its error.
pub trait Calling<T> {
    /// The error of a call that was made to do `what`.
    fn calling(self, what: impl FnOnce() -> String) -> Result<T, CallError>;
}

impl<T, E: StdError + ProvideErrorMetadata + Send + Sync + 'static> Calling<T> for Result<T, E> {
    fn calling(self, what: impl FnOnce() -> String) -> Result<T, CallError> {
        self.map_err(|error| {
            let text = error.message().unwrap_or_default();
            let ours = match (error.code(), error.meta().request_id()) {
                (Some(code), Some(id)) => CallError::answered(what(), code, &format!("{text} (request id {id})")),
                (Some(code), None) => CallError::answered(what(), code, text),
                (None, _) => CallError::unanswered(what(), &chain(&error)),
            };
            ours.with_source(error)
        })
    }
}

/// The text of an error and those of its sources, without repetitions.
pub fn chain(error: &dyn StdError) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_everything_once() {
        let inner = std::io::Error::other("connection refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), ["connection refused"]);
    }

    #[test]
    fn the_code_of_a_service_tells_what_may_work_in_a_moment_and_what_a_person_must_fix() {
        for (code, text, kind, transient, lasting) in [
            ("Throttling", "Rate exceeded", CallErrorKind::Busy, true, false),
            ("ExpiredToken", "The security token is expired", CallErrorKind::ExpiredCredentials, false, true),
            ("InvalidClientTokenId", "no", CallErrorKind::RejectedCredentials, false, true),
            ("AccessDenied", "no", CallErrorKind::Denied, false, true),
            ("RequestTimeTooSkewed", "too large", CallErrorKind::ClockSkew, false, true),
            ("SignatureDoesNotMatch", "Signature expired: 1 is now earlier", CallErrorKind::ClockSkew, false, true),
            ("ValidationError", "no", CallErrorKind::Other, false, false),
        ] {
            let error = CallError::answered("read it", code, text);
            assert_eq!((error.kind(), error.is_transient(), error.is_lasting()), (kind, transient, lasting), "{code}");
        }
    }

    #[test]
    fn a_call_without_an_answer_is_reported_by_its_causes() {
        for (causes, kind) in [
            (&["dispatch failure", "no credentials"][..], CallErrorKind::NoCredentials),
            (&["timeout: error trying to connect: connection refused"], CallErrorKind::Unreachable),
            (&["dispatch failure", "operation timed out"], CallErrorKind::ConnectionLost),
            (&["construction failure", "a field is missing"], CallErrorKind::NotSent),
        ] {
            let causes: Vec<String> = causes.iter().map(|cause| (*cause).to_owned()).collect();
            let error = CallError::unanswered("read it", &causes);
            assert_eq!(error.kind(), kind, "{causes:?}");
            assert_eq!(error.causes(), [causes.last().unwrap().clone()]);
        }
    }

    #[test]
    fn a_services_error_is_code_message_and_request_id() {
        use aws_sdk_s3::error::{ErrorMetadata, SdkError};
        use aws_sdk_s3::operation::get_object::GetObjectError;
        let meta = ErrorMetadata::builder().code("AccessDenied").message("No.").custom("aws_request_id", "4711");
        let error: SdkError<_, ()> = SdkError::service_error(GetObjectError::generic(meta.build()), ());
        let error = Err::<(), _>(error).calling(|| "read it".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read it");
        assert_eq!(error.causes(), ["AccessDenied: No. (request id 4711)"]);
    }
}
