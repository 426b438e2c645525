//! Errors for people: what failed, on what, why, and what to do next. Must not know a terminal.

mod call;
mod deploy;
mod image;
mod settings;

use std::error::Error as StdError;
use std::fmt;

use aws::chain;

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
}
