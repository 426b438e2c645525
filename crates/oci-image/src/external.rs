//! Reads images that others made: indexes, manifests and configs (OCI and Docker), and rejects those that would not run.
//! Everything here is hostile input. Must not know where it comes from.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::architecture::Architecture;
use crate::descriptor::{Descriptor, Platform};
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::limits::DOCUMENT_LIMIT;
use crate::media_type;
use crate::run_config::RunConfig;
use crate::text::clean;

/// The largest image: what a Fargate task has for its image and its data by default.
const IMAGE_LIMIT: u64 = 20 * 1024 * 1024 * 1024;
/// More layers than any container runtime stacks.
const LAYER_LIMIT: usize = 128;
/// The most platforms that an error names.
const PLATFORMS_NAMED: usize = 20;

/// What a manifest document is.
#[derive(Debug)]
pub(crate) enum Document {
    /// Several images to choose from.
    Index(Vec<Descriptor>),
    /// One image.
    Manifest(Parts),
}

/// The parts of one image.
#[derive(Debug)]
pub(crate) struct Parts {
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// What tells an index from a manifest. The media type does not: index files of archives often have none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

/// Reads a manifest or an index of the image `name`. `announced` is the media type by which it was announced, for a
/// document that names none.
pub(crate) fn document(name: &str, bytes: &[u8], announced: &str) -> Result<Document> {
    read(bytes, announced).map_err(|reason| Error::unusable(name, reason))
}

fn read(bytes: &[u8], announced: &str) -> Result<Document, ImageError> {
    let shape: Shape = json("manifest", bytes)?;
    if shape.schema_version != 2 {
        return Err(ImageError::ObsoleteSchema { version: shape.schema_version });
    }
    if shape.manifests.is_some() {
        let index: ImageIndex = json("manifest", bytes)?;
        return Ok(Document::Index(checked(index.manifests())?));
    }
    if shape.config.is_none() || shape.layers.is_none() {
        return Err(ImageError::EmptyManifest);
    }
    let manifest: ImageManifest = json("manifest", bytes)?;
    let media_type = manifest.media_type().as_ref().map_or_else(|| announced.to_owned(), ToString::to_string);
    if ![media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&media_type.as_str()) {
        return Err(ImageError::UnknownManifest { media_type: clean(&media_type) });
    }
    let layers = checked(manifest.layers())?;
    check_layers(&layers)?;
    let config = Descriptor::try_from(manifest.config()).map_err(ImageError::InvalidDigest)?;
    check_size("config", config.size, DOCUMENT_LIMIT)?;
    Ok(Document::Manifest(Parts { media_type, config, layers }))
}

fn json<T: DeserializeOwned>(document: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| invalid(document, &error))
}

/// The error about a document that is not the JSON that it must be.
pub(crate) fn invalid(document: &'static str, error: &serde_json::Error) -> ImageError {
    ImageError::InvalidDocument { document, reason: clean(&error.to_string()) }
}

fn checked(descriptors: &[oci_spec::image::Descriptor]) -> Result<Vec<Descriptor>, ImageError> {
    descriptors.iter().map(|it| it.try_into().map_err(ImageError::InvalidDigest)).collect()
}

/// Rejects an image without layers, or with more than any that is used in practice.
pub(crate) fn check_layer_count(count: usize) -> Result<(), ImageError> {
    if (1..=LAYER_LIMIT).contains(&count) { Ok(()) } else { Err(ImageError::LayerCount { count, limit: LAYER_LIMIT }) }
}

fn check_layers(layers: &[Descriptor]) -> Result<(), ImageError> {
    check_layer_count(layers.len())?;
    if let Some(unknown) = layers.iter().find(|layer| !media_type::LAYERS.contains(&layer.media_type.as_str())) {
        return Err(ImageError::UnknownLayer { media_type: clean(&unknown.media_type) });
    }
    let total = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    check_size("layers", total, IMAGE_LIMIT)
}

/// Rejects a part that claims to be larger than any that is used in practice.
pub(crate) fn check_size(part: &str, size: u64, limit: u64) -> Result<(), ImageError> {
    if size <= limit { Ok(()) } else { Err(ImageError::TooLarge { part: clean(part), size, limit }) }
}

/// The one of several images that is for Linux on `architecture`.
pub(crate) fn choose<'a>(name: &str, images: &'a [Descriptor], architecture: Architecture) -> Result<&'a Descriptor> {
    for_platform(images, architecture).map_err(|reason| Error::unusable(name, reason))
}

fn for_platform(entries: &[Descriptor], architecture: Architecture) -> Result<&Descriptor, ImageError> {
    let images: Vec<&Descriptor> = entries.iter().filter(|entry| !entry.is_artifact).collect();
    let rank = |image: &Descriptor| image.platform.as_ref().and_then(|platform| variant_rank(platform, architecture));
    if let Some(lowest) = images.iter().filter_map(|image| rank(image)).min() {
        let mut fitting = images.iter().filter(|image| rank(image) == Some(lowest));
        if let Some(image) = fitting.next() {
            if fitting.any(|other| other.digest != image.digest) {
                return Err(ImageError::SeveralForPlatform { architecture });
            }
            return Ok(image);
        }
    }
    // Tools that save a single image name no platform: its config names it.
    let unnamed: Vec<_> = images.iter().filter(|image| image.platform.is_none()).collect();
    match unnamed[..] {
        [image] => return Ok(image),
        [first, ..] if unnamed.iter().all(|image| image.digest == first.digest) => return Ok(first),
        [_, ..] => return Err(ImageError::SeveralImages { count: unnamed.len() }),
        [] => {}
    }
    let known = images.iter().filter_map(|image| image.platform.as_ref()).filter(|it| it.os != "unknown");
    let available = known.take(PLATFORMS_NAMED).map(ToString::to_string).collect();
    Err(ImageError::PlatformMissing { wanted: architecture, available })
}

/// How much more than every processor of this architecture an image needs; the lowest runs everywhere. `None` if it does
/// not run there, or not on all processors of Fargate: those of amd64 have no variant beyond v2 for sure
/// (<https://github.com/opencontainers/image-spec/blob/main/image-index.md#platform-variants>).
fn variant_rank(platform: &Platform, architecture: Architecture) -> Option<u8> {
    if platform.os != "linux" || platform.architecture != architecture.name() {
        return None;
    }
    match (architecture, platform.variant.as_deref()) {
        (_, None) | (Architecture::Amd64, Some("v1")) | (Architecture::Arm64, Some("v8")) => Some(0),
        (Architecture::Amd64, Some("v2")) | (Architecture::Arm64, Some("v8.0")) => Some(1),
        _ => None,
    }
}

/// The part of an image's config that decides whether it can run. The whole one of `oci-spec` would reject images for
/// fields that do not matter here.
#[derive(Debug, Deserialize)]
struct ConfigFile {
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<RunConfig>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// What a usable config says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usable {
    /// The digests of the uncompressed layers.
    pub diff_ids: Vec<Digest>,
    /// How the image runs.
    pub run: RunConfig,
}

/// Rejects a config of an image that would not start.
pub(crate) fn check_config(name: &str, bytes: &[u8], architecture: Architecture, layers: usize) -> Result<Usable> {
    usable(bytes, architecture, layers).map_err(|reason| Error::unusable(name, reason))
}

/// What a config says, without a check.
pub(crate) fn read_config(bytes: &[u8]) -> Result<Usable, ImageError> {
    let file: ConfigFile = json("config", bytes)?;
    Ok(Usable { diff_ids: file.rootfs.diff_ids, run: file.config.unwrap_or_default() })
}

fn usable(bytes: &[u8], wanted: Architecture, layers: usize) -> Result<Usable, ImageError> {
    let file: ConfigFile = json("config", bytes)?;
    if (file.os.as_str(), file.architecture.as_str()) != ("linux", wanted.name()) {
        let found = format!("{}/{}", clean(&file.os), clean(&file.architecture));
        return Err(ImageError::OtherPlatform { found, wanted });
    }
    if file.rootfs.diff_ids.len() != layers {
        return Err(ImageError::LayerMismatch { config: file.rootfs.diff_ids.len(), manifest: layers });
    }
    Ok(Usable { diff_ids: file.rootfs.diff_ids, run: file.config.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::of(&[byte])
    }

    fn manifest(layers: &Value) -> Vec<u8> {
        let config = json!({"mediaType": "c", "digest": digest(0), "size": 2});
        let media_type = media_type::DOCKER_MANIFEST;
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        serde_json::to_vec(&manifest).unwrap()
    }

    fn layer(size: u64) -> Value {
        json!({"mediaType": media_type::LAYER_GZIP, "digest": digest(1), "size": size})
    }

    fn reason(bytes: &[u8]) -> ImageError {
        read(bytes, "").unwrap_err()
    }

    fn config(change: impl Fn(&mut Value)) -> Result<Usable, ImageError> {
        let mut config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/app"], "User": "65532"}, "rootfs": {"type": "layers", "diff_ids": [digest(1)]},
        });
        change(&mut config);
        usable(&serde_json::to_vec(&config).unwrap(), Architecture::Amd64, 1)
    }

    #[test]
    fn a_manifest_of_docker_is_read() {
        let read = document("app:1", &manifest(&json!([layer(3)])), "").unwrap();
        assert!(matches!(read, Document::Manifest(manifest) if manifest.layers[0].size == 3));
    }

    #[test]
    fn the_number_of_layers_is_limited() {
        for (layers, found) in [(json!([]), 0), (json!(vec![layer(1); 129]), 129)] {
            let reason = reason(&manifest(&layers));
            assert!(matches!(reason, ImageError::LayerCount { count, .. } if count == found), "{reason:?}");
        }
    }

    #[test]
    fn sizes_are_limited_and_do_not_overflow() {
        let reason = reason(&manifest(&json!([layer(u64::MAX), layer(u64::MAX)])));
        assert!(matches!(reason, ImageError::TooLarge { size: u64::MAX, .. }), "{reason:?}");
    }

    #[test]
    fn a_layer_that_is_not_a_file_system_is_rejected() {
        let layer = json!({"mediaType": "text/html", "digest": digest(1), "size": 1});
        let reason = reason(&manifest(&json!([layer])));
        assert!(matches!(&reason, ImageError::UnknownLayer { media_type } if media_type == "text/html"), "{reason:?}");
    }

    #[test]
    fn a_manifest_whose_fields_are_invalid_is_rejected() {
        let media_type = media_type::LAYERS[0];
        let sha512 = format!("sha512:{}", "0".repeat(128));
        for layer in [
            json!({"mediaType": media_type, "digest": "sha256:../../etc/passwd", "size": 1}),
            json!({"mediaType": media_type, "digest": sha512, "size": 1}),
            json!({"mediaType": media_type, "digest": digest(1), "size": -1}),
        ] {
            let reason = reason(&manifest(&json!([layer])));
            let expected = matches!(reason, ImageError::InvalidDocument { .. } | ImageError::InvalidDigest(_));
            assert!(expected, "{reason:?}");
        }
        assert!(matches!(reason(b"<html>"), ImageError::InvalidDocument { document: "manifest", .. }));
        assert!(matches!(reason(br#"{"schemaVersion":1}"#), ImageError::ObsoleteSchema { version: 1 }));
        assert!(matches!(reason(br#"{"schemaVersion":2}"#), ImageError::EmptyManifest));
    }

    #[test]
    fn the_error_names_the_image() {
        let error = document("app:1", b"<html>", "").unwrap_err();
        assert!(matches!(error, Error::Unusable { image, .. } if image == "app:1"));
    }

    fn index(platforms: &[Option<(&str, &str)>]) -> Vec<Descriptor> {
        let entry = |(number, platform): (usize, &Option<(&str, &str)>)| {
            let digest = digest(u8::try_from(number).unwrap());
            let platform = platform.map(|(os, architecture)| json!({"os": os, "architecture": architecture}));
            json!({"mediaType": media_type::MANIFEST, "digest": digest, "size": 1, "platform": platform})
        };
        let entries: Vec<_> = platforms.iter().enumerate().map(entry).collect();
        let index = json!({"schemaVersion": 2, "manifests": entries});
        let Document::Index(images) = read(&serde_json::to_vec(&index).unwrap(), "").unwrap() else { panic!() };
        images
    }

    #[test]
    fn the_image_for_the_wanted_platform_is_chosen() {
        let index = index(&[Some(("linux", "amd64")), Some(("linux", "arm64")), Some(("unknown", "unknown"))]);
        let chosen = choose("app:1", &index, Architecture::Arm64).unwrap();
        assert_eq!(chosen.digest, index[1].digest);
    }

    #[test]
    fn a_platform_that_is_missing_is_named_with_those_that_exist() {
        let index = index(&[Some(("linux", "amd64")), Some(("windows", "amd64")), Some(("unknown", "unknown"))]);
        let reason = for_platform(&index, Architecture::Arm64).unwrap_err();
        let ImageError::PlatformMissing { wanted, available } = reason else { panic!("{reason:?}") };
        assert_eq!(
            (wanted, available),
            (Architecture::Arm64, vec!["linux/amd64".to_owned(), "windows/amd64".to_owned()])
        );
    }

    #[test]
    fn several_images_for_the_wanted_platform_are_rejected() {
        let index = index(&[Some(("linux", "amd64")), Some(("linux", "amd64"))]);
        let reason = for_platform(&index, Architecture::Amd64).unwrap_err();
        assert!(matches!(reason, ImageError::SeveralForPlatform { architecture: Architecture::Amd64 }), "{reason:?}");
    }

    fn entries(entries: &Value) -> Vec<Descriptor> {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        let Document::Index(images) = read(&serde_json::to_vec(&index).unwrap(), "").unwrap() else { panic!() };
        images
    }

    fn entry(number: u8, architecture: &str, variant: Option<&str>) -> Value {
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        json!({"mediaType": media_type::MANIFEST, "digest": digest(number), "size": 1, "platform": platform})
    }

    #[test]
    fn the_variant_that_runs_on_every_processor_is_chosen() {
        for (variants, chosen) in [
            (&[Some("v3"), Some("v2"), Some("v1")][..], Some(2)),
            (&[Some("v2"), None], Some(1)),
            (&[Some("v3"), Some("v2")], Some(1)),
            (&[Some("v3"), Some("v4")], None),
        ] {
            let list: Vec<_> = (0..).zip(variants).map(|(n, variant)| entry(n, "amd64", *variant)).collect();
            let list = entries(&list.into());
            match (for_platform(&list, Architecture::Amd64), chosen) {
                (Ok(image), Some(chosen)) => assert_eq!(image.digest, digest(chosen)),
                (Err(ImageError::PlatformMissing { available, .. }), None) => {
                    assert_eq!(available, ["linux/amd64/v3", "linux/amd64/v4"]);
                }
                (other, _) => panic!("{variants:?}: {other:?}"),
            }
        }
        let arm = entries(&json!([entry(0, "arm64", Some("v9")), entry(1, "arm64", Some("v8"))]));
        assert_eq!(for_platform(&arm, Architecture::Arm64).unwrap().digest, digest(1));
    }

    #[test]
    fn what_is_about_an_image_is_not_an_image() {
        let mut soci = entry(0, "amd64", None);
        soci["artifactType"] = "application/vnd.amazon.soci.index.v2+json".into();
        let mut attestation = entry(1, "amd64", None);
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let list = entries(&json!([soci, attestation, entry(2, "amd64", None)]));
        assert_eq!(for_platform(&list, Architecture::Amd64).unwrap().digest, digest(2));
        let mut unnamed = json!({"mediaType": media_type::MANIFEST, "digest": digest(3), "size": 1});
        let image = unnamed.clone();
        unnamed["digest"] = json!(digest(4));
        unnamed["artifactType"] = "application/spdx+json".into();
        assert_eq!(for_platform(&entries(&json!([unnamed, image])), Architecture::Amd64).unwrap().digest, digest(3));
    }

    #[test]
    fn an_error_repeats_little_of_a_hostile_document() {
        let long = format!("\u{1b}[2J{}", "x".repeat(1_000_000));
        for bytes in [
            serde_json::to_vec(&json!({"schemaVersion": long})).unwrap(),
            manifest(&json!([{"mediaType": long, "digest": digest(1), "size": 1}])),
            manifest(&json!([{"mediaType": media_type::LAYERS[0], "digest": long, "size": 1}])),
        ] {
            let mut text = String::new();
            let mut next: Option<&dyn std::error::Error> = Some(&reason(&bytes));
            let error = reason(&bytes);
            while let Some(error) = next.take() {
                text += &error.to_string();
            }
            text += &error.to_string();
            assert!(text.len() < 1000 && !text.contains('\u{1b}'), "{} bytes", text.len());
        }
    }

    #[test]
    fn an_image_without_a_platform_is_chosen_if_it_is_the_only_one() {
        assert!(for_platform(&index(&[None]), Architecture::Amd64).is_ok());
        let reason = for_platform(&index(&[None, None]), Architecture::Amd64).unwrap_err();
        assert!(matches!(reason, ImageError::SeveralImages { count: 2 }), "{reason:?}");
    }

    #[test]
    fn a_config_that_can_run_is_usable_and_says_who_runs() {
        assert!(!config(|_| {}).unwrap().run.runs_as_root());
        for user in ["", "root", "0:0"] {
            assert!(config(|config| config["config"]["User"] = user.into()).unwrap().run.runs_as_root(), "{user}");
        }
    }

    #[test]
    fn a_config_that_would_not_start_is_rejected() {
        assert!(!config(|config| config["config"] = Value::Null).unwrap().run.has_command());
        let reason = config(|config| config["rootfs"]["diff_ids"] = json!([])).unwrap_err();
        assert!(matches!(reason, ImageError::LayerMismatch { config: 0, manifest: 1 }), "{reason:?}");
        for (field, value, platform) in [("architecture", "arm64", "linux/arm64"), ("os", "windows", "windows/amd64")] {
            let reason = config(|config| config[field] = value.into()).unwrap_err();
            assert!(matches!(&reason, ImageError::OtherPlatform { found, .. } if found == platform), "{reason:?}");
        }
    }
}
