//! What can go wrong, as data: the image, the registry, the step, the reason. Must not say what to do about it: that
//! depends on the program that uses this crate.

use std::error::Error as StdError;
use std::{fmt, io};

use oci_spec::distribution::ParseError;

use crate::architecture::Architecture;
use crate::digest::{Digest, InvalidDigest};

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// [`kind`](Self::kind) gives a flat list to match on; the variants carry the details.
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

/// What kind of error an [`Error`] is.
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
    /// The registry is busy or the connection was lost: the same call may succeed in a moment.
    Busy,
    /// The registry refused for another reason.
    Refused,
    /// The local machine failed.
    Io,
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
    #[error("an image file is a .tar, .tar.gz or .tgz")]
    NotAnArchive,
    /// It is not a reference.
    #[error(transparent)]
    Reference(#[from] ParseError),
}

/// Why a text is not the address of a registry.
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
}

/// Why a program cannot start in an image that holds nothing else.
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
    /// The file ends before the end that its header promises.
    #[error("the file is cut off: its program headers are beyond its end")]
    Truncated,
}

/// The processor that a program is for.
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

/// What is wrong with an image that others made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The archive cannot be opened.
    #[error(transparent)]
    CannotOpen(io::Error),
    /// The archive cannot be read or decompressed.
    #[error("cannot read the file")]
    Unreadable(#[source] io::Error),
    /// The file is not a tar archive.
    #[error("not a valid tar archive")]
    NotTar(#[source] io::Error),
    /// The archive holds no image.
    #[error("it has neither an index.json nor a manifest.json, so it holds no image")]
    NoImage,
    /// The archive does not hold a file that it names.
    #[error("it names {path}, which it does not hold")]
    MissingFile {
        /// The path in the archive.
        path: String,
    },
    /// The archive names a path outside of itself.
    #[error("it names {path:?}, which leads out of the archive")]
    OutsidePath {
        /// The path.
        path: String,
    },
    /// A file of the archive cannot be read.
    #[error("cannot read {path}")]
    UnreadableFile {
        /// The path in the archive.
        path: String,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// The content is not what its digest says.
    #[error("{part} has the digest {found}, expected {expected} (digest mismatch)")]
    DigestMismatch {
        /// Which part of the image it is.
        part: String,
        /// The digest that the image names.
        expected: Box<Digest>,
        /// The digest of the content.
        found: Box<Digest>,
    },
    /// A document is not the JSON that it must be.
    #[error("its {document} is invalid")]
    InvalidDocument {
        /// Which document it is.
        document: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest names something by what is not a SHA-256 digest.
    #[error("its manifest is invalid")]
    InvalidDigest(#[source] InvalidDigest),
    /// There is more than one image to choose from.
    #[error("it holds {count} images")]
    SeveralImages {
        /// How many images there are.
        count: usize,
    },
    /// There is more than one image for the wanted platform.
    #[error("it holds several images for linux/{architecture}")]
    SeveralForPlatform {
        /// The wanted processor.
        architecture: Architecture,
    },
    /// There is no image for the wanted platform.
    #[error("it is not available for linux/{wanted}, only for {}", available.join(", "))]
    PlatformMissing {
        /// The wanted processor.
        wanted: Architecture,
        /// The platforms that are there, such as `linux/arm64`.
        available: Vec<String>,
    },
    /// The image is for another platform.
    #[error("it is for {found}, not for linux/{wanted}")]
    OtherPlatform {
        /// The platform of the image, such as `linux/arm64`.
        found: String,
        /// The wanted processor.
        wanted: Architecture,
    },
    /// The manifest has an obsolete schema.
    #[error("its manifest has the obsolete schema {version}")]
    ObsoleteSchema {
        /// The schema version; 2 is the current one.
        version: u32,
    },
    /// The manifest names neither layers nor other manifests.
    #[error("its manifest names neither layers nor other manifests")]
    EmptyManifest,
    /// The media type of the manifest is unknown.
    #[error("its manifest has the unknown media type {media_type:?}")]
    UnknownManifest {
        /// The media type.
        media_type: String,
    },
    /// Indexes refer to indexes, too many times.
    #[error("its indexes are nested too deep")]
    NestedTooDeep,
    /// The image has no layers, or too many.
    #[error("it has {count} layers; 1 to {limit} are possible")]
    LayerCount {
        /// How many layers it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A layer is not a file system.
    #[error("a layer has the media type {media_type:?}, which container runtimes cannot unpack")]
    UnknownLayer {
        /// The media type.
        media_type: String,
    },
    /// A part of the image is too large.
    #[error("its {part} would take {size} bytes; at most {limit} are possible")]
    TooLarge {
        /// Which part it is.
        part: String,
        /// Its size in bytes.
        size: u64,
        /// The largest possible size in bytes.
        limit: u64,
    },
    /// The image names no program.
    #[error("it has no entrypoint and no command, so nothing would run")]
    NoCommand,
    /// The config and the manifest disagree.
    #[error("its config names {config} layers, its manifest {manifest}")]
    LayerMismatch {
        /// How many layers the config names.
        config: usize,
        /// How many layers the manifest names.
        manifest: usize,
    },
}

/// Why there are no usable credentials for a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// There is only an identity token.
    #[error("Docker's configuration has an identity token for {server}, which only Docker itself can use")]
    IdentityToken {
        /// The registry.
        server: String,
    },
    /// Docker's configuration or the credential helper that it names failed.
    #[error("cannot read the credentials for {server}")]
    Unreadable {
        /// The registry.
        server: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// A registry did not do what it was asked to do.
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

/// A step of a push or a pull. Its display form continues "cannot".
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

/// What kind of error a [`RegistryError`] is.
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
    /// The registry failed several times in a row: it is busy, or the connection was lost.
    Busy,
    /// The registry refused for another reason.
    Refused,
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
            RegistryErrorKind::Refused => Self::Refused,
        }
    }
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
            (Kind::Busy, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. }) => {
                format!("{host} failed several times in a row to {step}")
            }
            (Kind::Refused, Operation::Push { endpoint: host, .. } | Operation::Pull { host, .. })
            | (Kind::TagTaken, Operation::Pull { host, .. }) => format!("{host} refused to {step}"),
        }
    }
}
