//! A pointer to a manifest, a config or a layer, checked: its digest is one that this crate computes itself.

use crate::digest::{Digest, InvalidDigest};

/// A checked descriptor of an index or a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    pub platform: Option<Platform>,
}

/// The operating system and the processor that an index names for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub os: String,
    pub architecture: String,
}

impl TryFrom<&oci_spec::image::Descriptor> for Descriptor {
    type Error = InvalidDigest;

    fn try_from(descriptor: &oci_spec::image::Descriptor) -> Result<Self, InvalidDigest> {
        let platform = descriptor.platform().as_ref();
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().try_into()?,
            size: descriptor.size(),
            platform: platform
                .map(|it| Platform { os: it.os().to_string(), architecture: it.architecture().to_string() }),
        })
    }
}
