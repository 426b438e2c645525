//! Keeps a built image in a folder, with what it was built from, so that it need not be built again. Must not know what a
//! program is built from.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::content::Blob;
use crate::error::{Error, Result};
use crate::external::{Usable, read_config};
use crate::image::Image;
use crate::manifest::Manifest;
use crate::media_type;

/// Changes whenever the same program becomes another image.
const FORMAT: &str = "oci-image 2";

/// A folder that holds at most one built image.
///
/// ```no_run
/// use oci_image::{Architecture, Image, ImageCache, ImageSpec};
///
/// # fn example(binary: &[u8]) -> oci_image::Result<()> {
/// let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
/// let cache = ImageCache::new("target/images/app");
/// // A hash of everything that the program is built from.
/// let sources = "6c3c624b58dbbcd3";
/// let image = match cache.get(sources, "application/spdx+json") {
///     Some(image) => image,
///     None => Image::from_static_binary(&spec, binary)?.with_attachment("application/spdx+json", b"{}".to_vec())?,
/// };
/// cache.put(sources, &image)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ImageCache {
    folder: PathBuf,
}

impl ImageCache {
    /// The cache in this folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The image, if it was built from exactly these sources and none of its bytes has changed. `attachment` is the media
    /// type of its one attachment.
    pub fn get(&self, sources: &str, attachment: &str) -> Option<Image> {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        let blob = |name: &str| read(name).map(Blob::new);
        let config = read("config.json")?;
        let Usable { diff_ids, run } = read_config(&config).ok()?;
        let image = Image {
            config: Blob::new(config),
            layers: vec![blob("layer.tar.gz")?],
            manifest: Manifest::new(media_type::MANIFEST, read("manifest.json")?),
            diff_ids,
            run,
            attachments: Vec::new(),
        };
        let image = image.with_attachment(attachment, read("attachment")?).ok()?;
        // A file that changed since, by a single bit, changes the digests in the mark.
        (read("built-from")? == mark(sources, &image).as_bytes()).then_some(image)
    }

    /// Keeps an image that has one layer and one attachment; ignores any other.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder or a file in it cannot be written.
    pub fn put(&self, sources: &str, image: &Image) -> Result<()> {
        let ([layer], [attachment]) = (&image.layers[..], &image.attachments[..]) else { return Ok(()) };
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|error| Error::io(format!("create {}", folder.display()), error))?;
        for (name, blob) in [
            ("config.json", &image.config),
            ("layer.tar.gz", layer),
            ("manifest.json", &image.manifest.blob),
            ("attachment", &attachment.content),
        ] {
            self.write(name, blob.bytes().map_or(&[], |bytes| bytes))?;
        }
        self.write("built-from", mark(sources, image).as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        write(&path, bytes).map_err(|error| Error::io(format!("write {}", path.display()), error))
    }
}

/// What an image was built from, and what it is.
fn mark(sources: &str, image: &Image) -> String {
    let blobs = image.layers.iter().chain([&image.config, &image.manifest.blob]);
    let blobs = blobs.chain(image.attachments.iter().map(|attachment| &attachment.content));
    blobs.fold(format!("{FORMAT}\n{sources}\n"), |text, blob| text + blob.digest.as_str() + "\n")
}

/// Writes a file that appears whole or not at all: another process may write the same file at the same time.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::program;
    use crate::{Architecture, ImageSpec};

    const TYPE: &str = "text/plain";

    fn image() -> Image {
        let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 80 };
        let image = Image::from_static_binary(&spec, &program(Architecture::Amd64, None)).unwrap();
        image.with_attachment(TYPE, b"parts".to_vec()).unwrap()
    }

    #[test]
    fn an_image_is_used_again_if_it_was_built_from_the_same_sources() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ImageCache::new(folder.path().join("app"));
        assert_eq!(cache.get("sources", TYPE), None);
        cache.put("sources", &image()).unwrap();
        assert_eq!(cache.get("sources", TYPE), Some(image()));
        assert_eq!(cache.get("others", TYPE), None);
    }

    #[test]
    fn an_image_with_a_changed_bit_is_not_used() {
        for name in ["config.json", "layer.tar.gz", "manifest.json", "attachment", "built-from"] {
            let folder = tempfile::tempdir().unwrap();
            let cache = ImageCache::new(folder.path());
            cache.put("sources", &image()).unwrap();
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get("sources", TYPE), None, "{name}");
        }
    }
}
