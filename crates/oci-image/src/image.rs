//! An image, and how to build one in memory: one layer with one program, a config, a manifest (OCI image specification
//! 1.1). The same input gives the same bytes on every machine. Must not know where the image goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::slice;

use flate2::{Compression, GzBuilder};
use serde::Serialize;
use serde_json::json;

use crate::architecture::Architecture;
use crate::attachment::Attachment;
use crate::content::Blob;
use crate::digest::Digest;
use crate::elf;
use crate::error::{Error, ImageError, Result};
use crate::external::{Usable, read_config};
use crate::manifest::Manifest;
use crate::run_config::RunConfig;

/// Who the program runs as: "nonroot" by number, as an image from scratch has no names.
const USER: &str = "65532:65532";
/// Readable and executable for all, writable for none.
const MODE: u32 = 0o555;
/// The gzip header's operating system: "unknown", whatever builds the image.
pub(crate) const GZIP_UNKNOWN_SYSTEM: u8 = 255;
/// Enough of a digest to tell images apart in a tag.
const TAG_DIGEST_CHARS: usize = 12;

/// What an image is made for. [`Image::from_static_binary`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct ImageSpec<'a> {
    /// The program: it becomes `/name`, the entrypoint, and the image's title.
    pub name: &'a str,
    /// The version that the image's label carries.
    pub version: &'a str,
    /// The processor that the program was built for.
    pub architecture: Architecture,
    /// The TCP port that the program listens on.
    pub port: u16,
}

/// An OCI image: what describes it is in memory, its layers wherever they were found.
///
/// ```no_run
/// use oci_image::{Architecture, Image};
///
/// # async fn example() -> oci_image::Result<()> {
/// let image = Image::from_archive("app.tar".as_ref(), Architecture::Amd64).await?;
/// let bill = br#"{"bomFormat":"CycloneDX"}"#.to_vec();
/// let image = image.with_attachment("application/vnd.cyclonedx+json", bill)?;
/// println!("{}: {} bytes, {} attachment", image.digest(), image.size(), image.attachments().len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(crate) config: Blob,
    pub(crate) layers: Vec<Blob>,
    pub(crate) manifest: Manifest,
    /// The digests of the uncompressed layers, as the config names them.
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) run: RunConfig,
    pub(crate) attachments: Vec<Attachment>,
}

impl Image {
    /// Makes an image that holds one statically linked program and nothing else. The program's file belongs to root and
    /// runs as user 65532. The same input gives the same digest on every machine.
    ///
    /// # Errors
    ///
    /// [`Error::NotStatic`] if the file would not start in the image: it is not a program, or one for another processor,
    /// or dynamically linked. [`Error::Io`] if the name cannot be a path in a tar archive.
    ///
    /// ```
    /// use oci_image::{Architecture, Error, Image, ImageSpec, ProgramError};
    ///
    /// let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
    /// let result = Image::from_static_binary(&spec, b"#!/bin/sh");
    /// assert!(matches!(result, Err(Error::NotStatic { reason: ProgramError::NotElf, .. })));
    /// ```
    pub fn from_static_binary(spec: &ImageSpec<'_>, binary: &[u8]) -> Result<Self> {
        let name = spec.name;
        elf::require_static_program(name, spec.architecture, binary)?;
        let failed = |what: &str| {
            let action = format!("{what} of the image of {name}");
            move |error: io::Error| Error::io(action, error)
        };
        let tar = tar(name, binary).map_err(failed("make the layer"))?;
        let layer = Blob::new(gzip(&tar).map_err(failed("compress the layer"))?);
        let config = ConfigFile::new(spec, Digest::of(&tar));
        let config = serde_json::to_vec(&config).map_err(|error| failed("write the config")(error.into()))?;
        let Usable { diff_ids, run } = read_config(&config).map_err(|reason| Error::unusable(name, reason))?;
        let config = Blob::new(config);
        let manifest = Manifest::of_image(&config, slice::from_ref(&layer)).map_err(failed("write the manifest"))?;
        Ok(Self { config, layers: vec![layer], manifest, diff_ids, run, attachments: Vec::new() })
    }

    /// The image with a document about it, such as a bill of materials, which is pushed with it. The digest of the image
    /// stays the same.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the manifest of the attachment cannot be written.
    pub fn with_attachment(mut self, media_type: impl Into<String>, content: Vec<u8>) -> Result<Self> {
        self.attachments.push(Attachment::new(media_type.into(), content, &self.manifest)?);
        Ok(self)
    }

    /// The documents about it.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The digest that identifies the image: that of its manifest.
    pub fn digest(&self) -> &Digest {
        &self.manifest.blob.digest
    }

    /// The size of the whole image in a registry, in bytes.
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.size);
        layers.sum::<u64>() + self.config.size + self.manifest.blob.size
    }

    /// Its layers and its config, each once.
    pub(crate) fn blobs(&self) -> Vec<&Blob> {
        let mut seen = BTreeSet::new();
        self.layers.iter().chain([&self.config]).filter(|blob| seen.insert(&blob.digest)).collect()
    }

    /// Whether its program runs as root, unless the container is started with another user.
    pub fn runs_as_root(&self) -> bool {
        self.run.runs_as_root()
    }

    /// How its program runs.
    pub fn run_config(&self) -> &RunConfig {
        &self.run
    }

    /// The digest of its config, which Docker calls the image id.
    pub fn config_digest(&self) -> &Digest {
        &self.config.digest
    }

    /// The image, unless it names no program.
    pub(crate) fn require_command(self, name: &str) -> Result<Self> {
        if self.run.has_command() { Ok(self) } else { Err(Error::unusable(name, ImageError::NoCommand)) }
    }

    /// A tag for this content in this version, such as `v2-0123456789ab`. Other content gets another tag, so a
    /// repository with immutable tags takes it.
    pub fn tag(&self, version: &str) -> String {
        let hex = self.manifest.blob.digest.hex();
        format!("v{version}-{}", hex.get(..TAG_DIGEST_CHARS).unwrap_or(hex))
    }
}

/// One file in a tar archive, without a clock, a user or a group in it.
fn tar(name: &str, binary: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(binary.len() as u64);
    header.set_mode(MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::with_capacity(binary.len() + 4096));
    archive.append(&header, binary)?;
    archive.into_inner()
}

pub(crate) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let header = GzBuilder::new().mtime(0).operating_system(GZIP_UNKNOWN_SYSTEM);
    let mut encoder = header.write(Vec::with_capacity(bytes.len() / 2), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The config. The one of `oci-spec` holds labels in a hash map, whose order differs from run to run.
#[derive(Serialize)]
struct ConfigFile<'a> {
    architecture: &'static str,
    os: &'static str,
    config: Config<'a>,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    user: &'static str,
    exposed_ports: serde_json::Value,
    entrypoint: [String; 1],
    working_dir: &'static str,
    labels: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [Digest; 1],
}

impl<'a> ConfigFile<'a> {
    fn new(spec: &ImageSpec<'a>, layer_diff_id: Digest) -> Self {
        Self {
            architecture: spec.architecture.name(),
            os: "linux",
            config: Config {
                user: USER,
                exposed_ports: json!({ format!("{}/tcp", spec.port): {} }),
                entrypoint: [format!("/{}", spec.name)],
                working_dir: "/",
                labels: BTreeMap::from([
                    ("org.opencontainers.image.title", spec.name),
                    ("org.opencontainers.image.version", spec.version),
                ]),
            },
            rootfs: RootFs { kind: "layers", diff_ids: [layer_diff_id] },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::elf::tests::program;

    const SPEC: ImageSpec<'_> =
        ImageSpec { name: "greeter-v1", version: "1", architecture: Architecture::Amd64, port: 8080 };

    fn image() -> Image {
        Image::from_static_binary(&SPEC, &program(Architecture::Amd64, None)).unwrap()
    }

    fn json(blob: &Blob) -> serde_json::Value {
        serde_json::from_slice(blob.bytes().unwrap()).unwrap()
    }

    #[test]
    fn the_same_program_gives_the_same_image() {
        assert_eq!(image(), image());
        assert_eq!(
            image().digest().as_str(),
            "sha256:b75fc8eb41d757a770e0267de0ffc33c471f155aa7902cbcccda1f7f605024e7",
            "the bytes have changed: every image in use will be pushed again"
        );
    }

    #[test]
    fn another_program_gives_another_image() {
        let mut other = program(Architecture::Amd64, None);
        other.push(0);
        assert_ne!(Image::from_static_binary(&SPEC, &other).unwrap().tag("1"), image().tag("1"));
    }

    #[test]
    fn the_config_says_how_to_run_it() {
        insta::assert_json_snapshot!(json(&image().config), @r#"
        {
          "architecture": "amd64",
          "config": {
            "Entrypoint": [
              "/greeter-v1"
            ],
            "ExposedPorts": {
              "8080/tcp": {}
            },
            "Labels": {
              "org.opencontainers.image.title": "greeter-v1",
              "org.opencontainers.image.version": "1"
            },
            "User": "65532:65532",
            "WorkingDir": "/"
          },
          "os": "linux",
          "rootfs": {
            "diff_ids": [
              "sha256:26f0200e9c235073329284c518b927f736fd2e56c6117d08f2bd923f6a566cd3"
            ],
            "type": "layers"
          }
        }
        "#);
    }

    #[test]
    fn the_manifest_names_config_and_layer() {
        insta::assert_json_snapshot!(json(&image().manifest.blob), @r#"
        {
          "config": {
            "digest": "sha256:23e2c88ca45f544b31ef8588e33af5a47640826aa470e6f402fb47b5df99be7c",
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": 356
          },
          "layers": [
            {
              "digest": "sha256:97458f4573453c51f885b11976aaabf933ecad57a173e6fbf21c96901716309f",
              "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
              "size": 112
            }
          ],
          "mediaType": "application/vnd.oci.image.manifest.v1+json",
          "schemaVersion": 2
        }
        "#);
    }

    #[test]
    fn the_config_knows_the_layer_by_its_uncompressed_digest() {
        let image = image();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&image.layers[0].bytes().unwrap()[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(json(&image.config)["rootfs"]["diff_ids"], json!([Digest::of(&tar)]));
    }

    #[test]
    fn the_layer_holds_the_program_readable_and_executable_for_all() {
        let image = image();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&image.layers[0].bytes().unwrap()[..]));
        let mut files = archive.entries().unwrap();
        let mut file = files.next().unwrap().unwrap();
        let header = file.header().clone();
        assert_eq!(file.path().unwrap().to_str(), Some("greeter-v1"));
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o555, 0));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(content, program(Architecture::Amd64, None));
        assert!(files.next().is_none());
    }

    #[test]
    fn the_gzip_header_names_no_time_and_no_system() {
        assert_eq!(image().layers[0].bytes().unwrap()[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    }

    #[test]
    fn a_tag_is_the_version_and_the_start_of_the_digest() {
        let image = image();
        assert_eq!(image.tag("2"), format!("v2-{}", &image.digest().hex()[..12]));
    }
}
