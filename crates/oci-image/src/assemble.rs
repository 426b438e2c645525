//! Follows an index or a manifest down to one image. Must not know where its parts come from.

use std::sync::Arc;

use crate::architecture::Architecture;
use crate::content::{Blob, BlobSource};
use crate::descriptor::Descriptor;
use crate::error::{Error, ImageError, Result};
use crate::external::{self, Document, Usable};
use crate::image::Image;
use crate::manifest::Manifest;

/// The deepest index of an index that tools write.
const NESTING_LIMIT: usize = 4;

/// Where the parts of an image come from.
pub(crate) trait PartSource {
    /// A manifest or a config, with the digest and the size that its descriptor promises.
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>>;

    /// Where a layer is.
    async fn layer(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>>;
}

/// A manifest or an index, and the media type by which it was announced.
pub(crate) struct Root {
    pub bytes: Vec<u8>,
    pub media_type: String,
}

/// Follows a manifest or an index down to one image for `architecture`.
pub(crate) async fn assemble(
    name: &str,
    parts: &impl PartSource,
    root: Root,
    architecture: Architecture,
) -> Result<Image> {
    let Root { mut bytes, media_type: mut announced } = root;
    for _ in 0..NESTING_LIMIT {
        let manifest = match external::document(name, &bytes, &announced)? {
            Document::Index(images) => {
                let chosen = external::choose(name, &images, architecture)?;
                announced.clone_from(&chosen.media_type);
                bytes = parts.read(chosen, true).await?;
                continue;
            }
            Document::Manifest(manifest) => manifest,
        };
        let config = parts.read(&manifest.config, false).await?;
        let Usable { diff_ids, run } = external::check_config(name, &config, architecture, manifest.layers.len())?;
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            layers.push(Blob::at(parts.layer(layer).await?, layer.digest.clone(), layer.size));
        }
        let manifest = Manifest::new(manifest.media_type, bytes);
        return Ok(Image { config: Blob::new(config), layers, manifest, diff_ids, run, attachments: Vec::new() });
    }
    Err(Error::unusable(name, ImageError::NestedTooDeep))
}
