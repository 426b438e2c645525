//! A pointer to a manifest, a config or a layer, checked: its digest is one that this crate computes itself.

use std::fmt;

use crate::digest::{Digest, InvalidDigest};
use crate::text::clean;

/// A checked descriptor of an index or a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    pub platform: Option<Platform>,
    /// Whether it is something about an image (a signature, an attestation, an index for lazy loading) and no image.
    pub is_artifact: bool,
}

/// The operating system and the processor that an index names for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", clean(&self.os), clean(&self.architecture))?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{}", clean(variant)))
    }
}

/// The annotation by which `BuildKit` marks an attestation
/// (<https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md>).
const ATTESTATION: &str = "vnd.docker.reference.type";

impl TryFrom<&oci_spec::image::Descriptor> for Descriptor {
    type Error = InvalidDigest;

    fn try_from(descriptor: &oci_spec::image::Descriptor) -> Result<Self, InvalidDigest> {
        let platform = descriptor.platform().as_ref();
        let annotations = descriptor.annotations().as_ref();
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().try_into()?,
            size: descriptor.size(),
            platform: platform.map(|it| Platform {
                os: it.os().to_string(),
                architecture: it.architecture().to_string(),
                variant: it.variant().clone().filter(|variant| !variant.is_empty()),
            }),
            // An image has no artifact type (https://github.com/opencontainers/image-spec/blob/main/descriptor.md).
            is_artifact: descriptor.artifact_type().is_some()
                || annotations.is_some_and(|annotations| annotations.contains_key(ATTESTATION)),
        })
    }
}
