//! Reads images that others made: indexes, manifests and configs (OCI and Docker), and rejects those that would not run.
//! Everything here is hostile input. Must not know where it comes from.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::architecture::Architecture;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::media_type;

/// The largest manifest, index or config that is read: what registries themselves accept.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// The largest image: what a Fargate task has for its image and its data by default.
const IMAGE_LIMIT: u64 = 20 * 1024 * 1024 * 1024;
/// More layers than any container runtime stacks.
const LAYER_LIMIT: usize = 128;

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
        return Err(ImageError::UnknownManifest { media_type });
    }
    let layers = checked(manifest.layers())?;
    check_layers(&layers)?;
    let config = Descriptor::try_from(manifest.config()).map_err(ImageError::InvalidDigest)?;
    check_size("config", config.size, DOCUMENT_LIMIT)?;
    Ok(Document::Manifest(Parts { media_type, config, layers }))
}

fn json<T: DeserializeOwned>(document: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::InvalidDocument { document, source })
}

fn checked(descriptors: &[oci_spec::image::Descriptor]) -> Result<Vec<Descriptor>, ImageError> {
    descriptors.iter().map(|it| it.try_into().map_err(ImageError::InvalidDigest)).collect()
}

fn check_layers(layers: &[Descriptor]) -> Result<(), ImageError> {
    if layers.is_empty() || layers.len() > LAYER_LIMIT {
        return Err(ImageError::LayerCount { count: layers.len(), limit: LAYER_LIMIT });
    }
    if let Some(unknown) = layers.iter().find(|layer| !media_type::LAYERS.contains(&layer.media_type.as_str())) {
        return Err(ImageError::UnknownLayer { media_type: unknown.media_type.clone() });
    }
    let total = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    check_size("layers", total, IMAGE_LIMIT)
}

/// Rejects a part that claims to be larger than any that is used in practice.
pub(crate) fn check_size(part: &str, size: u64, limit: u64) -> Result<(), ImageError> {
    if size <= limit { Ok(()) } else { Err(ImageError::TooLarge { part: part.to_owned(), size, limit }) }
}

/// The one of several images that is for Linux on `architecture`.
pub(crate) fn choose<'a>(name: &str, images: &'a [Descriptor], architecture: Architecture) -> Result<&'a Descriptor> {
    for_platform(images, architecture).map_err(|reason| Error::unusable(name, reason))
}

fn for_platform(images: &[Descriptor], architecture: Architecture) -> Result<&Descriptor, ImageError> {
    let fits = |image: &&Descriptor| {
        image.platform.as_ref().is_some_and(|it| it.os == "linux" && it.architecture == architecture.name())
    };
    let mut fitting = images.iter().filter(fits);
    if let Some(image) = fitting.next() {
        if fitting.any(|other| other.digest != image.digest) {
            return Err(ImageError::SeveralForPlatform { architecture });
        }
        return Ok(image);
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
    let available = known.map(|it| format!("{}/{}", it.os, it.architecture)).collect();
    Err(ImageError::PlatformMissing { wanted: architecture, available })
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
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
    /// Whether the image's program runs as root.
    pub runs_as_root: bool,
}

/// Rejects a config of an image that would not start.
pub(crate) fn check_config(name: &str, bytes: &[u8], architecture: Architecture, layers: usize) -> Result<Usable> {
    usable(bytes, architecture, layers).map_err(|reason| Error::unusable(name, reason))
}

fn usable(bytes: &[u8], wanted: Architecture, layers: usize) -> Result<Usable, ImageError> {
    let file: ConfigFile = json("config", bytes)?;
    if (file.os.as_str(), file.architecture.as_str()) != ("linux", wanted.name()) {
        return Err(ImageError::OtherPlatform { found: format!("{}/{}", file.os, file.architecture), wanted });
    }
    let run = file.config.unwrap_or_default();
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&run.entrypoint) && is_empty(&run.cmd) {
        return Err(ImageError::NoCommand);
    }
    if file.rootfs.diff_ids.len() != layers {
        return Err(ImageError::LayerMismatch { config: file.rootfs.diff_ids.len(), manifest: layers });
    }
    let user = run.user.unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default();
    Ok(Usable { diff_ids: file.rootfs.diff_ids, runs_as_root: matches!(user, "" | "0" | "root") })
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

    #[test]
    fn an_image_without_a_platform_is_chosen_if_it_is_the_only_one() {
        assert!(for_platform(&index(&[None]), Architecture::Amd64).is_ok());
        let reason = for_platform(&index(&[None, None]), Architecture::Amd64).unwrap_err();
        assert!(matches!(reason, ImageError::SeveralImages { count: 2 }), "{reason:?}");
    }

    #[test]
    fn a_config_that_can_run_is_usable_and_says_who_runs() {
        assert!(!config(|_| {}).unwrap().runs_as_root);
        for user in ["", "root", "0:0"] {
            assert!(config(|config| config["config"]["User"] = user.into()).unwrap().runs_as_root, "{user}");
        }
    }

    #[test]
    fn a_config_that_would_not_start_is_rejected() {
        let reason = config(|config| config["config"] = Value::Null).unwrap_err();
        assert!(matches!(reason, ImageError::NoCommand), "{reason:?}");
        let reason = config(|config| config["rootfs"]["diff_ids"] = json!([])).unwrap_err();
        assert!(matches!(reason, ImageError::LayerMismatch { config: 0, manifest: 1 }), "{reason:?}");
        for (field, value, platform) in [("architecture", "arm64", "linux/arm64"), ("os", "windows", "windows/amd64")] {
            let reason = config(|config| config[field] = value.into()).unwrap_err();
            assert!(matches!(&reason, ImageError::OtherPlatform { found, .. } if found == platform), "{reason:?}");
        }
    }
}
