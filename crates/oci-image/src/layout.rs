//! Writes an image to an archive under another digest: the same program to everything that runs it, and another image to
//! everything that compares digests. For releasing a version onto itself. Must not know why.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use super::content::Blob;
use super::external::refused;
use super::image::Image;
use crate::error::{Doing as _, Result};

/// Where a manifest says what makes it another one.
const ANNOTATION: &str = "bluegreen.copy";

/// A tar is made of blocks of this size.
const BLOCK: usize = 512;

impl Image {
    /// Writes an OCI layout with a copy of this image, whose digest is another one for every `mark`; returns that.
    pub async fn write_copy(&self, name: &str, path: &Path, mark: &str) -> Result<String> {
        let manifest = self.marked(mark).map_err(|error| refused(name, format!("its manifest: {error}")))?;
        let manifest = Blob::new(manifest);
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": self.manifest.media_type, "digest": manifest.digest.as_str(), "size": manifest.size,
            }],
        });
        let doing = || format!("write {}", path.display());
        let mut tar = Tar(File::create(path).doing(doing)?);
        tar.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).doing(doing)?;
        tar.document("index.json", index.to_string().as_bytes()).doing(doing)?;
        for blob in self.blobs().into_iter().chain([&manifest]) {
            tar.begin(&format!("blobs/sha256/{}", blob.digest.hex()), blob.size).doing(doing)?;
            let fetching = || format!("read {} of {name}", blob.digest.as_str());
            let mut chunks = blob.chunks().await.doing(fetching)?;
            while let Some(chunk) = chunks.try_next().await.doing(fetching)? {
                tar.0.write_all(&chunk).doing(doing)?;
            }
            tar.end(blob.size).doing(doing)?;
        }
        tar.0.write_all(&[0; 2 * BLOCK]).doing(doing)?;
        Ok(manifest.digest.as_str().to_owned())
    }

    /// The manifest with one more annotation.
    fn marked(&self, mark: &str) -> serde_json::Result<Vec<u8>> {
        let mut manifest: Value = serde_json::from_slice(self.manifest.blob.bytes().unwrap_or_default())?;
        manifest["annotations"][ANNOTATION] = mark.into();
        serde_json::to_vec(&manifest)
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
    use super::super::elf::tests::program;
    use super::super::{Architecture, ImageSource, ImageSpec};
    use super::*;

    #[tokio::test]
    async fn a_copy_is_the_same_image_under_another_digest() {
        let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
        let image = Image::from_static_binary(&spec, &program(Architecture::Amd64, None)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.tar");
        let digest = image.write_copy("app", &path, "next").await.unwrap();
        let source: ImageSource = path.to_str().unwrap().parse().unwrap();
        let copy = source.open(Architecture::Amd64).await.unwrap();
        assert_eq!(copy.digest(), digest);
        assert_ne!(copy.digest(), image.digest());
        assert_eq!((&copy.config, &copy.layers), (&image.config, &image.layers));
    }
}
