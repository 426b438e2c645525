//! Writes an image to an archive: an OCI layout in a tar file. Annotations of the manifest give it another digest: the same
//! program for everything that runs it, and another image for everything that compares digests.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::content::Blob;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Image;

/// A tar file consists of blocks of this size.
const BLOCK: usize = 512;

impl Image {
    /// Writes the image to an archive (an OCI layout as a tar file), with these annotations added to its manifest, and
    /// returns the digest of the written image. Without annotations it is the digest of this image. Attachments are not
    /// written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be written, or if a layer cannot be read from the archive that it is in;
    /// `Error::Registry` if a layer cannot be read from the registry that it is in.
    ///
    /// ```
    /// use oci_image::{Architecture, Image};
    ///
    /// # async fn example(image: Image) -> oci_image::Result<()> {
    /// let digest = image.write_archive("copy.tar".as_ref(), &[("com.example.copy", "1")]).await?;
    /// assert_eq!(Image::from_archive("copy.tar".as_ref(), Architecture::Amd64).await?.digest(), &digest);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_archive(&self, path: &Path, annotations: &[(&str, &str)]) -> Result<Digest> {
        let failed = |error: io::Error| Error::io(format!("write {}", path.display()), error);
        let manifest = self.annotated(annotations).map_err(failed)?;
        let index = json!({
            "manifests": [{
                "digest": manifest.digest, "mediaType": self.manifest.media_type, "size": manifest.size,
            }],
            "schemaVersion": 2,
        });
        let mut tar = Tar(File::create(path).map_err(failed)?);
        tar.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
        tar.document("index.json", index.to_string().as_bytes()).map_err(failed)?;
        for blob in self.blobs().into_iter().chain([&manifest]) {
            tar.begin(&format!("blobs/sha256/{}", blob.digest.hex()), blob.size).map_err(failed)?;
            let mut chunks = blob.chunks().await.map_err(|error| blob.explain(error))?;
            while let Some(chunk) = chunks.try_next().await.map_err(|error| blob.explain(error))? {
                tar.0.write_all(&chunk).map_err(failed)?;
            }
            tar.end(blob.size).map_err(failed)?;
        }
        tar.0.write_all(&[0; 2 * BLOCK]).map_err(failed)?;
        Ok(manifest.digest)
    }

    /// The manifest with these annotations added.
    fn annotated(&self, annotations: &[(&str, &str)]) -> io::Result<Blob> {
        if annotations.is_empty() {
            return Ok(self.manifest.blob.clone());
        }
        let mut manifest: Value = serde_json::from_slice(self.manifest.blob.bytes().map_or(&[], |bytes| bytes))?;
        for (key, value) in annotations {
            manifest["annotations"][*key] = (*value).into();
        }
        Ok(Blob::new(serde_json::to_vec(&manifest)?))
    }
}

/// Files one after the other, without a clock, a user or a group.
struct Tar(File);

impl Tar {
    fn begin(&mut self, path: &str, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.0.write_all(header.as_bytes())
    }

    fn end(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        self.0.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    fn document(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.begin(path, content.len() as u64)?;
        self.0.write_all(content)?;
        self.end(content.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::program;
    use crate::{Architecture, ImageSpec};

    fn image() -> Image {
        let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
        Image::from_static_binary(&spec, &program(Architecture::Amd64, None)).unwrap()
    }

    async fn written(annotations: &[(&str, &str)]) -> (Digest, Image) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.tar");
        let digest = image().write_archive(&path, annotations).await.unwrap();
        (digest, Image::from_archive(&path, Architecture::Amd64).await.unwrap())
    }

    #[tokio::test]
    async fn an_annotated_archive_is_the_same_image_under_another_digest() {
        let (digest, copy) = written(&[("com.example.copy", "next")]).await;
        let image = image();
        assert_eq!(copy.digest(), &digest);
        assert_ne!(copy.digest(), image.digest());
        assert_eq!((&copy.config, &copy.layers), (&image.config, &image.layers));
    }

    #[tokio::test]
    async fn an_archive_without_annotations_keeps_the_digest() {
        let (digest, copy) = written(&[]).await;
        assert_eq!((copy.digest(), &digest), (image().digest(), image().digest()));
    }
}
