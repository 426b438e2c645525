//! The manifest of an image: the document that names the image's parts, and by whose digest the image is known.

use std::io;

use oci_spec::image::{Descriptor, Digest, ImageManifestBuilder, MediaType};

use crate::content::Blob;
use crate::media_type;

/// The manifest of an image or of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub media_type: String,
    pub blob: Blob,
}

impl Manifest {
    /// The manifest of an image with this config and these gzipped layers. The same input gives the same bytes.
    pub fn of_image(config: &Blob, layers: &[Blob]) -> io::Result<Self> {
        let descriptor = |media_type, blob: &Blob| {
            let digest: Digest = blob.digest.as_str().parse().map_err(io::Error::other)?;
            Ok(Descriptor::new(media_type, blob.size, digest))
        };
        let layers: io::Result<Vec<_>> =
            layers.iter().map(|layer| descriptor(MediaType::ImageLayerGzip, layer)).collect();
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, config)?)
            .layers(layers?)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self::new(media_type::MANIFEST, serde_json::to_vec(&manifest)?))
    }

    /// A manifest with these bytes.
    pub fn new(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.into(), blob: Blob::new(bytes) }
    }
}
