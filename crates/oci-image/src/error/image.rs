//! What can be wrong with an image that others made.

use std::io;

use crate::architecture::Architecture;
use crate::digest::{Digest, InvalidDigest};
use crate::limits::OverLimit;

/// What is wrong with an image that others made. Each case has its data, so that a program can say what to change in
/// the image.
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
    /// The path is a folder.
    #[error("it is a folder; of an OCI layout, a tar archive is read")]
    Folder,
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
    #[error("its {document} is invalid: {reason}")]
    InvalidDocument {
        /// Which document it is.
        document: &'static str,
        /// What is wrong with it.
        reason: String,
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
    /// Something in the image is larger than what is read or unpacked; how large, is not known, as it was not read to its
    /// end.
    #[error("{what}: more than {limit} {unit}")]
    OverLimit {
        /// What is too large.
        what: String,
        /// How much is possible.
        limit: u64,
        /// What the limit counts.
        unit: &'static str,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// The number of the layer; the lowest one is 1.
        layer: usize,
        /// Why it cannot be unpacked.
        #[source]
        source: io::Error,
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

impl ImageError {
    /// The error of reading something, unless the cause is that a limit is exceeded: then this is the error.
    pub(crate) fn of_io(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        match error.downcast::<OverLimit>() {
            Ok(over) => Self::OverLimit { what: over.what.to_owned(), limit: over.limit, unit: over.unit },
            Err(error) => otherwise(error),
        }
    }
}
