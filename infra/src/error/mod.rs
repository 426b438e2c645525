//! Errors for people: what failed, on what, why, and what to do next. Must not know a terminal.

mod image;

mod settings;

use std::error::Error as StdError;
use std::fmt;

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;

/// What an error means to who ran the command; it becomes the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something failed: exit code 1.
    Failed,
    /// A usage error, or a named object does not exist: exit code 2.
    Usage,
    /// The command was understood and is not safe to do now; nothing was changed: exit code 3.
    Refused,
    /// A cutover or deployment was started, failed, and was rolled back: exit code 4.
    RolledBack,
}

impl Kind {
    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::RolledBack => 4,
        }
    }
}

/// An error with its causes and with hints that say what to do next.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    transient: bool,
}

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (causes, hints) = (Vec::new(), Vec::new());
        Self { inner: Box::new(Inner { kind, message: message.into(), causes, hints, transient: false }) }
    }

    /// Something failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The command is not safe to do now.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Adds a cause, the nearest first.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.inner.causes.push(cause.to_string());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hints.push(hint.into());
        self
    }

    /// Says what was being done; what was said before becomes the cause.
    #[must_use]
    pub fn while_doing(mut self, what: impl Into<String>) -> Self {
        let inner = &mut self.inner;
        let before = std::mem::replace(&mut inner.message, what.into());
        inner.causes.insert(0, before);
        self
    }

    /// Gives it another meaning.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// Says that the same call may succeed in a moment.
    #[must_use]
    pub fn for_now(mut self) -> Self {
        self.inner.transient = true;
        self
    }

    /// Whether the same call may succeed in a moment: AWS was out of reach, busy, or throttling.
    pub fn is_transient(&self) -> bool {
        self.inner.transient
    }

    /// What it means.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// What failed.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Why, the nearest cause first.
    pub fn causes(&self) -> &[String] {
        &self.inner.causes
    }

    /// What to do next.
    pub fn hints(&self) -> &[String] {
        &self.inner.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl StdError for Error {}

/// Adds the purpose of an operation to its error.
pub trait Doing<T> {
    /// Turns the error into ours: `what` failed, and why.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let mut ours = Error::failed(format!("cannot {}", what()));
            for cause in chain(&error) {
                ours = ours.because(cause);
            }
            ours
        })
    }
}

/// Adds the purpose of a call to AWS to its error.
pub trait Calling<T> {
    /// Converts the SDK's error into ours, with a hint if the reason is known.
    fn calling(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError + ProvideErrorMetadata> Calling<T> for std::result::Result<T, E> {
    fn calling(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let message = format!("cannot {}", what());
            let text = error.message().unwrap_or_default();
            match (error.code(), error.meta().request_id()) {
                (Some(code), Some(id)) => service_error(message, code, &format!("{text} (request id {id})")),
                (Some(code), None) => service_error(message, code, text),
                (None, _) => transport_error(message, &chain(&error)),
            }
        })
    }
}

/// What a service answered.
pub(crate) fn service_error(message: String, code: &str, text: &str) -> Error {
    let error = Error::failed(message).because(format!("{code}: {text}"));
    if ["Signature expired", "Signature not yet current"].iter().any(|words| text.contains(words)) {
        return error.hint("set the clock of this machine: it differs too much from the clock of AWS");
    }
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            error.hint("log in again, for example with aws sso login: the credentials have expired")
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "InvalidAccessKeyId" => error.hint("check AWS_PROFILE or the access key: AWS rejected the credentials"),
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            error.hint("request the permission that the error names: the credentials do not allow this call")
        }
        "RequestTimeTooSkewed" | "RequestInTheFuture" => {
            error.hint("set the clock of this machine: it differs too much from the clock of AWS")
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "SlowDown"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalFailure"
        | "InternalError"
        | "ServerException"
        | "RequestTimeout" => {
            error.hint("run the command again in a moment: AWS is busy or throttles this account").for_now()
        }
        _ => error,
    }
}

/// A call that got no answer.
fn transport_error(message: String, chain: &[String]) -> Error {
    let all = chain.join(": ").to_lowercase();
    let mut error = Error::failed(message);
    // The SDK's outermost words ("dispatch failure") say nothing that the causes do not say better.
    for cause in chain.iter().skip(usize::from(chain.len() > 1)) {
        error = error.because(cause);
    }
    if all.contains("credential") {
        error.hint(
            "set AWS_PROFILE, log in with aws sso login, or use the local cloud (local-cloud exec; with make, CLOUD=local): \
             no AWS credentials found",
        )
    } else if all.contains("region") {
        error.hint("set AWS_REGION, for example AWS_REGION=eu-central-1")
    } else if all.contains("connect") || all.contains("dns") {
        let error = error.for_now();
        match std::env::var("AWS_ENDPOINT_URL") {
            Ok(endpoint) => error.hint(format!(
                "check the local cloud (local-cloud status): nothing responds at {endpoint} (AWS_ENDPOINT_URL)"
            )),
            Err(_) => error.hint("check the network and the region: AWS cannot be reached"),
        }
    } else if all.contains("timeout") || all.contains("timed out") || all.contains("hyper") || all.contains("closed") {
        error.hint("run the command again: the connection to AWS was lost").for_now()
    } else {
        error
    }
}

/// An error's own words and those of its sources, without repetitions.
fn chain(error: &dyn StdError) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_doing_keeps_what_was_said_as_the_cause() {
        let error = Error::refused("the lease is held").because("by a cutover").while_doing("cannot deploy");
        assert_eq!(error.message(), "cannot deploy");
        assert_eq!(error.causes(), ["the lease is held", "by a cutover"]);
        assert_eq!(error.kind().exit_code(), 3);
    }

    #[test]
    fn a_chain_says_everything_once() {
        let inner = std::io::Error::other("connection refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), ["connection refused"]);
    }

    #[test]
    fn what_may_work_in_a_moment_is_told_from_what_will_not() {
        assert!(service_error("x".to_owned(), "Throttling", "Rate exceeded").is_transient());
        assert!(
            transport_error("x".to_owned(), &["timeout: error trying to connect: connection refused".into()])
                .is_transient()
        );
        let expired = service_error("x".to_owned(), "ExpiredToken", "The security token is expired");
        assert!(!expired.is_transient() && expired.hints()[0].contains("aws sso login"));
        let skewed = service_error("x".to_owned(), "RequestTimeTooSkewed", "too large");
        assert!(skewed.hints()[0].contains("clock"), "{:?}", skewed.hints());
    }

    #[test]
    fn a_services_error_is_code_message_and_request_id() {
        use aws_sdk_s3::error::{ErrorMetadata, SdkError};
        use aws_sdk_s3::operation::get_object::GetObjectError;
        let meta = ErrorMetadata::builder().code("AccessDenied").message("No.").custom("aws_request_id", "4711");
        let error: SdkError<_, ()> = SdkError::service_error(GetObjectError::generic(meta.build()), ());
        let error = Err::<(), _>(error).calling(|| "read it".to_owned()).unwrap_err();
        assert_eq!(error.causes(), ["AccessDenied: No. (request id 4711)"]);
    }

    #[test]
    fn missing_credentials_have_a_hint() {
        let error = transport_error("cannot x".to_owned(), &["dispatch failure".into(), "no credentials".into()]);
        assert!(error.hints()[0].contains("AWS_PROFILE"));
    }
}
