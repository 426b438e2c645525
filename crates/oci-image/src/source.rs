//! Where an image comes from that was made elsewhere: a registry, or a file that a build tool wrote. Must not know where it
//! goes.

use std::path::PathBuf;
use std::str::FromStr;

use oci_client::Reference;

use super::archive;
use super::content::{Blob, Content};
use super::elf::Architecture;
use super::external::{self, Descriptor, Document};
use super::image::{Image, Manifest};
use super::pull::Origin;
use crate::error::{Error, Result};

/// Ends of file names that mean an archive.
const ARCHIVE_ENDS: [&str; 3] = [".tar", ".tar.gz", ".tgz"];
/// An index of an index of images is as deep as tools nest them.
const NESTING_LIMIT: usize = 4;

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A registry: `registry.example/team/app:1`, by tag or by digest; a bare name means Docker Hub.
    Registry(Reference),
    /// A file: an OCI layout or what `docker save` writes, as `.tar`, `.tar.gz` or `.tgz`.
    Archive(PathBuf),
}

impl FromStr for ImageSource {
    type Err = Error;

    /// Reads a path (it ends as an archive does, or begins with `/`, `./` or `../`) or a name in a registry.
    fn from_str(text: &str) -> Result<Self> {
        if ARCHIVE_ENDS.iter().any(|end| text.ends_with(end)) {
            return Ok(Self::Archive(text.into()));
        }
        let wrong = |why: String| {
            Error::usage(format!("{text:?} names no image")).because(why).hint(
            "name one in a registry (registry.example/team/app:1, or by @sha256:...), or an archive (build/app.tar, .tar.gz)",
        )
        };
        if text.starts_with(['/', '.']) {
            return Err(wrong("a file with an image is a .tar, .tar.gz or .tgz".to_owned()));
        }
        text.parse().map(Self::Registry).map_err(|error: oci_client::ParseError| wrong(error.to_string()))
    }
}

impl ImageSource {
    /// Finds the image for `architecture` and reads what describes it; its layers stay where they are until a push
    /// wants them. Refuses what would not run.
    pub async fn open(&self, architecture: Architecture) -> Result<Image> {
        match self {
            Self::Registry(reference) => {
                let name = reference.whole();
                let origin = Origin::connect(reference).await?;
                let (bytes, media_type) = origin.root().await?;
                assemble(&name, &origin, (bytes, media_type), architecture).await
            }
            Self::Archive(path) => archive::open(path, architecture).await,
        }
    }
}

/// What an image is put together from.
pub(super) trait Parts {
    /// A manifest or a config, with the digest and the size that its descriptor promises.
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>>;

    /// Where a layer is.
    fn layer(&self, descriptor: &Descriptor) -> Result<Content>;
}

/// Follows a manifest or an index down to one image for `architecture`.
pub(super) async fn assemble(
    name: &str,
    parts: &impl Parts,
    root: (Vec<u8>, String),
    architecture: Architecture,
) -> Result<Image> {
    let (mut bytes, mut hint) = root;
    for _ in 0..NESTING_LIMIT {
        let manifest = match external::document(name, &bytes, &hint)? {
            Document::Index(images) => {
                let chosen = external::choose(name, &images, architecture)?;
                hint.clone_from(&chosen.media_type);
                bytes = parts.read(chosen, true).await?;
                continue;
            }
            Document::Manifest(manifest) => manifest,
        };
        let config = parts.read(&manifest.config, false).await?;
        let usable = external::check_config(name, &config, architecture, manifest.layers.len())?;
        let layers = manifest.layers.iter().map(|layer| {
            let content = parts.layer(layer)?;
            Ok(Blob { digest: layer.digest.clone(), size: layer.size, content })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let manifest = Manifest { media_type: manifest.media_type, blob: Blob::new(bytes) };
        let runs_as_root = usable.runs_as_root;
        return Ok(Image { config: Blob::new(config), layers, manifest, runs_as_root, attachments: Vec::new() });
    }
    Err(external::refused(name, "its indexes are nested too deep"))
}

/// Makes sure that bytes are what a descriptor promises.
pub(super) fn verify(name: &str, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    let found = Blob::new(bytes.to_vec());
    if (&found.digest, found.size) == (&descriptor.digest, descriptor.size) {
        return Ok(());
    }
    Err(external::refused(
        name,
        format!("what should be {} is {} (digest mismatch)", descriptor.digest.as_str(), found.digest.as_str()),
    )
    .hint("it was damaged or changed on its way: build or copy it again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_registrys_and_a_path_an_archives() {
        for (text, whole) in [
            ("registry.example/team/app:1", "registry.example/team/app:1"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ] {
            let ImageSource::Registry(reference) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(reference.whole(), whole);
        }
        for text in ["build/app-1.tar", "/tmp/app.tar.gz", "../app.tgz"] {
            assert_eq!(text.parse::<ImageSource>().unwrap(), ImageSource::Archive(text.into()));
        }
    }

    #[test]
    fn what_names_no_image_is_refused_with_what_would() {
        for text in ["", "./app", "/etc/passwd", "Upper/Case:1", "app:1:2", "a b"] {
            let error = text.parse::<ImageSource>().unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.hints()[0].contains("build/app.tar"), "{error:?}");
        }
    }
}
