//! What can go wrong, as data: the image, the registry, the step, the reason. Must not say what to do about it: that
//! depends on the program that uses this crate.

mod image;
mod registry;

use std::path::PathBuf;
use std::{fmt, io};

use oci_spec::distribution::ParseError;

use crate::architecture::Architecture;

pub use image::ImageError;
pub use registry::{Operation, RegistryError, RegistryErrorKind, Step};

/// A result with this crate's error. The second parameter stays open, so that `?` and other errors fit into one
/// signature.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// [`kind`](Self::kind) gives a flat list to match on; the variants carry the details.
///
/// ```
/// use oci_image::{Error, ErrorKind, ImageNameError, ImageSource};
///
/// let error = "./app.zip".parse::<ImageSource>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidImageName);
/// assert!(!error.is_transient(), "the same name stays wrong");
/// assert!(matches!(error, Error::InvalidImageName { reason: ImageNameError::NotAnArchive, .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is neither the name of an image in a registry nor the path of an archive.
    #[error("{name:?} is not an image name")]
    InvalidImageName {
        /// The rejected text.
        name: String,
        /// Why it is rejected.
        #[source]
        reason: ImageNameError,
    },
    /// A text is not the address of a registry.
    #[error("{address:?} is not the address of a registry")]
    InvalidRegistryAddress {
        /// The rejected text.
        address: String,
        /// Why it is rejected.
        #[source]
        reason: RegistryAddressError,
    },
    /// A text is not the URI of a repository.
    #[error("{uri:?} is not the URI of a repository")]
    InvalidRepository {
        /// The rejected text.
        uri: String,
    },
    /// The authorization token of a registry is not base64 of `user:password`.
    #[error("cannot read the registry's authorization token")]
    UnreadableToken,
    /// A program cannot start in an image that holds nothing else.
    #[error("cannot make an image of {program}")]
    NotStatic {
        /// The name of the program.
        program: String,
        /// The processor that the image is for.
        architecture: Architecture,
        /// Why the program cannot start.
        #[source]
        reason: ProgramError,
    },
    /// An image that others made cannot be used.
    #[error("cannot use image {image}")]
    Unusable {
        /// The name of the image, or the path of the archive.
        image: String,
        /// What is wrong with it.
        #[source]
        reason: ImageError,
    },
    /// There are no usable credentials for the registry of an image.
    #[error("cannot use image {image}")]
    Credentials {
        /// The name of the image.
        image: String,
        /// What is wrong with the credentials.
        #[source]
        reason: CredentialsError,
    },
    /// A registry did not do what it was asked to do.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The local machine failed: a file or a thread.
    #[error("cannot {action}")]
    Io {
        /// What failed, such as `write /tmp/app.tar`.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What kind of error an [`Error`] is, without its data: to choose a hint, an exit code, or a second try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text is not an image name.
    InvalidImageName,
    /// A text is not the address of a registry.
    InvalidRegistryAddress,
    /// A text is not the URI of a repository.
    InvalidRepository,
    /// An authorization token cannot be read.
    UnreadableToken,
    /// A program is not a static program for the wanted processor.
    NotStatic,
    /// An image cannot be used.
    Unusable,
    /// There are no usable credentials.
    Credentials,
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
    /// The target registry stored other bytes than it was sent.
    DigestMismatch,
    /// The source of an image, a registry or an archive, holds other bytes than its digests say.
    SourceDigestMismatch,
    /// The registry wants the credentials at an address without TLS.
    InsecureLogin,
    /// The registry is busy or the connection was lost: the same call may succeed in a moment.
    Busy,
    /// The registry refused for another reason.
    Refused,
    /// The local machine failed.
    Io,
}

impl From<RegistryErrorKind> for ErrorKind {
    fn from(kind: RegistryErrorKind) -> Self {
        match kind {
            RegistryErrorKind::Unreachable => Self::Unreachable,
            RegistryErrorKind::Unauthorized => Self::Unauthorized,
            RegistryErrorKind::Forbidden => Self::Forbidden,
            RegistryErrorKind::NotFound => Self::NotFound,
            RegistryErrorKind::TagTaken => Self::TagTaken,
            RegistryErrorKind::DigestMismatch => Self::DigestMismatch,
            RegistryErrorKind::SourceDigestMismatch => Self::SourceDigestMismatch,
            RegistryErrorKind::Busy => Self::Busy,
            RegistryErrorKind::InsecureLogin => Self::InsecureLogin,
            RegistryErrorKind::Refused => Self::Refused,
        }
    }
}

impl Error {
    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidImageName { .. } => ErrorKind::InvalidImageName,
            Self::InvalidRegistryAddress { .. } => ErrorKind::InvalidRegistryAddress,
            Self::InvalidRepository { .. } => ErrorKind::InvalidRepository,
            Self::UnreadableToken => ErrorKind::UnreadableToken,
            Self::NotStatic { .. } => ErrorKind::NotStatic,
            Self::Unusable { reason: ImageError::DigestMismatch { .. }, .. } => ErrorKind::SourceDigestMismatch,
            Self::Unusable { .. } => ErrorKind::Unusable,
            Self::Credentials { .. } => ErrorKind::Credentials,
            Self::Registry(error) => error.kind.into(),
            Self::Io { .. } => ErrorKind::Io,
        }
    }

    /// Whether the same call may succeed in a moment: the registry is busy, or cannot be reached.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Busy | ErrorKind::Unreachable)
    }

    pub(crate) fn unusable(image: &str, reason: ImageError) -> Self {
        Self::Unusable { image: image.to_owned(), reason }
    }

    pub(crate) fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { action: action.into(), source: source.into() }
    }
}

/// Why a text is not an image name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageNameError {
    /// It is a path, but not that of an archive.
    #[error("an image file is a .tar, .tar.gz or .tgz (of a folder with an OCI layout: a tar of it)")]
    NotAnArchive,
    /// It is not a reference.
    #[error(transparent)]
    Reference(#[from] ParseError),
}

/// Why a text is not the address of a registry. An address is an origin: a path or a user in it would be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryAddressError {
    /// The scheme is unknown.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// There is no host.
    #[error("it has no host")]
    NoHost,
    /// There is a path, a query or a user.
    #[error("it has more than scheme, host and port")]
    NotOnlyHost,
    /// It is HTTP to another machine, which would send the password without encryption.
    #[error("it is not encrypted; http is allowed only for this machine (localhost, 127.0.0.1)")]
    NotEncrypted,
}

/// Why a program cannot start in an image that holds nothing else. Such an image is refused when it is made, not when
/// it is started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The file is not a program for Linux.
    #[error("the file is not a 64-bit Linux program (ELF)")]
    NotElf,
    /// The program is for another processor.
    #[error("the program is for {found}, the image for {wanted}")]
    OtherArchitecture {
        /// The processor of the program.
        found: Machine,
        /// The processor of the image.
        wanted: Architecture,
    },
    /// The program needs a loader.
    #[error("the program is dynamically linked: it needs {loader}, which an image from scratch does not have")]
    DynamicallyLinked {
        /// The path of the loader.
        loader: String,
    },
    /// The program needs shared libraries.
    #[error("the program needs {} when it runs, which an image from scratch does not have", libraries.join(", "))]
    NeedsLibraries {
        /// The names of the libraries, of at most ten.
        libraries: Vec<String>,
    },
    /// The file ends before the end that its header promises.
    #[error("the file is cut off: its program headers are beyond its end")]
    Truncated,
}

/// The processor that a program is for. Programs exist for more processors than images can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// A processor that images can be made for.
    Known(Architecture),
    /// Another processor: the `e_machine` of the ELF header.
    Other(u16),
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(architecture) => architecture.fmt(f),
            Self::Other(number) => write!(f, "processor number {number}"),
        }
    }
}

/// Why there are no usable credentials for a registry. Without an entry in Docker's configuration the image must be
/// public, which is no error here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// There is only an identity token.
    #[error("there is only an identity token for {server}, which only Docker itself can use")]
    IdentityToken {
        /// The registry.
        server: String,
    },
    /// A file with credentials cannot be read or is invalid.
    #[error("cannot read the credentials for {server} in {}: {reason}", file.display())]
    Unreadable {
        /// The registry.
        server: String,
        /// The file.
        file: PathBuf,
        /// Why it failed.
        reason: String,
    },
    /// A credential helper failed.
    #[error("{program} does not give the credentials for {server}: {reason}")]
    Helper {
        /// The registry.
        server: String,
        /// The name of the program.
        program: String,
        /// The file that names it.
        file: PathBuf,
        /// Why it failed.
        reason: String,
    },
}
