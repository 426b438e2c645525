//! Keeps a built image in a folder, with what it was built from, so that it need not be built again. Must not know what a
//! program is built from.

use std::fs;
use std::path::{Path, PathBuf};

use super::content::Blob;
use super::image::{Image, MANIFEST_TYPE, Manifest};
use crate::error::{Doing as _, Result};

/// Changes whenever the same program becomes another image.
const FORMAT: &str = "bluegreen image 2";

/// A folder with at most one built image.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    folder: PathBuf,
}

impl BuiltImage {
    /// The image that is or will be in this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The image, where it was built from exactly this, and is still what it was.
    pub fn built_from(&self, sources: &str, attachment: &'static str) -> Option<Image> {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        let blob = |name: &str| read(name).map(Blob::new);
        let image = Image {
            config: blob("config.json")?,
            layers: vec![blob("layer.tar.gz")?],
            manifest: Manifest { media_type: MANIFEST_TYPE.to_owned(), blob: blob("manifest.json")? },
            runs_as_root: false,
            attachments: Vec::new(),
        };
        let image = image.with_attachment(attachment, read("attachment")?).ok()?;
        // Whatever came between, down to a single bit, shows here.
        (read("built-from")? == mark(sources, &image).as_bytes()).then_some(image)
    }

    /// Keeps an image.
    pub fn keep(&self, sources: &str, image: &Image) -> Result<()> {
        let ([layer], [attachment]) = (&image.layers[..], &image.attachments[..]) else { return Ok(()) };
        fs::create_dir_all(&self.folder).doing(|| format!("create {}", self.folder.display()))?;
        for (name, blob) in [
            ("config.json", &image.config),
            ("layer.tar.gz", layer),
            ("manifest.json", &image.manifest.blob),
            ("attachment", &attachment.content),
        ] {
            write(&self.folder.join(name), blob.bytes().unwrap_or_default())?;
        }
        write(&self.folder.join("built-from"), mark(sources, image).as_bytes())
    }
}

/// What an image was built from, and what it is.
fn mark(sources: &str, image: &Image) -> String {
    let blobs = image.layers.iter().chain([&image.config, &image.manifest.blob]);
    let blobs = blobs.chain(image.attachments.iter().map(|attachment| &attachment.content));
    blobs.fold(format!("{FORMAT}\n{sources}\n"), |text, blob| text + blob.digest.as_str() + "\n")
}

/// Writes a file that appears whole or not at all: another command may be at the same.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(folder).doing(doing)?;
    std::io::Write::write_all(&mut file, bytes).doing(doing)?;
    file.persist(path).map_err(|error| error.error).doing(doing)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::program;
    use super::super::{Architecture, ImageSpec};
    use super::*;

    const TYPE: &str = "text/plain";

    fn image() -> Image {
        let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 80 };
        let image = Image::from_static_binary(&spec, &program(Architecture::Amd64, None)).unwrap();
        image.with_attachment(TYPE, b"parts".to_vec()).unwrap()
    }

    #[test]
    fn an_image_is_taken_again_where_it_was_built_from_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let built = BuiltImage::in_folder(folder.path().join("app"));
        assert_eq!(built.built_from("sources", TYPE), None);
        built.keep("sources", &image()).unwrap();
        assert_eq!(built.built_from("sources", TYPE), Some(image()));
        assert_eq!(built.built_from("others", TYPE), None);
    }

    #[test]
    fn an_image_of_which_a_bit_has_changed_is_not_taken() {
        for name in ["config.json", "layer.tar.gz", "manifest.json", "attachment", "built-from"] {
            let folder = tempfile::tempdir().unwrap();
            let built = BuiltImage::in_folder(folder.path());
            built.keep("sources", &image()).unwrap();
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(built.built_from("sources", TYPE), None, "{name}");
        }
    }
}
