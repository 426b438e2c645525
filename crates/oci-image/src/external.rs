//! Reads images that others made: indexes, manifests and configs (OCI and Docker), and what is refused of them. Everything
//! here is input from outside. Must not know where it comes from.

use serde::Deserialize;

use super::content::Digest;
use super::elf::Architecture;
use crate::error::{Error, Result};

/// The largest manifest, index or config that is read: what registries themselves accept.
pub(super) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// What a Fargate task has for its image and its data, unless more is asked for.
const IMAGE_LIMIT: u64 = 20 * 1024 * 1024 * 1024;
/// More layers than any container runtime stacks.
const LAYER_LIMIT: usize = 128;

/// The media types of manifests and indexes that are understood.
pub(super) const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The media types of layers that ECS can unpack.
const LAYER_TYPES: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// A pointer to a manifest, a config or a layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// What a manifest document turned out to be.
#[derive(Debug)]
pub(super) enum Document {
    /// Several images to choose from.
    Index(Vec<Descriptor>),
    /// One image.
    Manifest(Manifest),
}

/// One image's parts.
#[derive(Debug)]
pub(super) struct Manifest {
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// An image that cannot be used, and why. `name` is what the user called it.
pub(super) fn refused(name: &str, why: impl Into<String>) -> Error {
    Error::failed(format!("cannot use image {name}")).because(why.into())
}

/// Reads a manifest or an index. `hint` is the media type by which it was announced, where the document has none.
pub(super) fn document(name: &str, bytes: &[u8], hint: &str) -> Result<Document> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| refused(name, format!("its manifest: {error}")))?;
    if raw.schema_version != 2 {
        return Err(refused(name, format!("its manifest has schema {}, which is long obsolete", raw.schema_version))
            .hint("build or push the image again with a current tool"));
    }
    if let Some(manifests) = raw.manifests {
        return Ok(Document::Index(manifests));
    }
    let (Some(config), Some(layers)) = (raw.config, raw.layers) else {
        return Err(refused(name, "its manifest names neither layers nor other manifests"));
    };
    let media_type = raw.media_type.unwrap_or_else(|| hint.to_owned());
    if ![MANIFEST_TYPES[0], MANIFEST_TYPES[2]].contains(&media_type.as_str()) {
        return Err(refused(name, format!("its manifest is of the unknown type {media_type:?}")));
    }
    check_layers(name, &layers)?;
    check_size(name, "config", config.size, DOCUMENT_LIMIT)?;
    Ok(Document::Manifest(Manifest { media_type, config, layers }))
}

fn check_layers(name: &str, layers: &[Descriptor]) -> Result<()> {
    if layers.is_empty() || layers.len() > LAYER_LIMIT {
        return Err(refused(name, format!("it has {} layers; 1 to {LAYER_LIMIT} are possible", layers.len())));
    }
    if let Some(strange) = layers.iter().find(|layer| !LAYER_TYPES.contains(&layer.media_type.as_str())) {
        return Err(refused(name, format!("a layer is of the type {:?}, which ECS cannot unpack", strange.media_type))
            .hint("an image of a container is wanted, not an artefact; layers as tar, gzip or zstd"));
    }
    let total = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    check_size(name, "layers", total, IMAGE_LIMIT)
}

/// Refuses what claims to be larger than anything that could be meant.
pub(super) fn check_size(name: &str, what: &str, size: u64, limit: u64) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(refused(name, format!("its {what} would take {size} bytes; at most {limit} are possible")))
}

/// The one of several images that is for Linux on `architecture`.
pub(super) fn choose<'a>(name: &str, images: &'a [Descriptor], architecture: Architecture) -> Result<&'a Descriptor> {
    let fits = |image: &&Descriptor| {
        image.platform.as_ref().is_some_and(|it| it.os == "linux" && it.architecture == architecture.name())
    };
    let mut fitting = images.iter().filter(fits);
    if let Some(image) = fitting.next() {
        if fitting.any(|other| other.digest != image.digest) {
            return Err(refused(name, format!("it holds several images for linux/{architecture}"))
                .hint("save or push one image by itself"));
        }
        return Ok(image);
    }
    // Tools that save a single image name no platform: its config will tell.
    let unnamed: Vec<_> = images.iter().filter(|image| image.platform.is_none()).collect();
    match unnamed[..] {
        [image] => return Ok(image),
        [first, ..] if unnamed.iter().all(|image| image.digest == first.digest) => return Ok(first),
        [_, ..] => {
            return Err(refused(name, format!("it holds {} images", unnamed.len())).hint("save one image by itself"));
        }
        [] => {}
    }
    let known = images.iter().filter_map(|image| image.platform.as_ref()).filter(|it| it.os != "unknown");
    let known: Vec<_> = known.map(|it| format!("{}/{}", it.os, it.architecture)).collect();
    Err(refused(name, format!("it is not there for linux/{architecture}, only for {}", known.join(", ")))
        .hint("build it for that platform, or choose another app.architecture"))
}

/// The part of an image's config that decides whether it can run.
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
pub(super) struct Usable {
    /// The digests of the uncompressed layers.
    pub diff_ids: Vec<Digest>,
    /// Whether the image's program runs as root.
    pub runs_as_root: bool,
}

/// Refuses a config of an image that would not start.
pub(super) fn check_config(name: &str, bytes: &[u8], architecture: Architecture, layers: usize) -> Result<Usable> {
    let file: ConfigFile =
        serde_json::from_slice(bytes).map_err(|error| refused(name, format!("its config: {error}")))?;
    if (file.os.as_str(), file.architecture.as_str()) != ("linux", architecture.name()) {
        return Err(refused(
            name,
            format!("it is for {}/{}, not for linux/{architecture}", file.os, file.architecture),
        )
        .hint("build it for that platform, or choose another app.architecture"));
    }
    let run = file.config.unwrap_or_default();
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&run.entrypoint) && is_empty(&run.cmd) {
        return Err(refused(name, "it has no entrypoint and no command, so nothing would run")
            .hint("set ENTRYPOINT or CMD where the image is built"));
    }
    if file.rootfs.diff_ids.len() != layers {
        let named = file.rootfs.diff_ids.len();
        return Err(refused(name, format!("its config knows {named} layers and its manifest {layers}")));
    }
    let user = run.user.unwrap_or_default();
    let user = user.split(':').next().unwrap_or_default();
    Ok(Usable { diff_ids: file.rootfs.diff_ids, runs_as_root: matches!(user, "" | "0" | "root") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn digest(byte: u8) -> String {
        Digest::of(&[byte]).as_str().to_owned()
    }

    fn manifest(layers: &Value) -> Vec<u8> {
        let config = json!({"mediaType": "c", "digest": digest(0), "size": 2});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[2], "config": config, "layers": layers});
        serde_json::to_vec(&manifest).unwrap()
    }

    fn layer(size: u64) -> Value {
        json!({"mediaType": LAYER_TYPES[1], "digest": digest(1), "size": size})
    }

    fn why(result: Result<Document>) -> String {
        result.unwrap_err().causes()[0].clone()
    }

    fn config(change: impl Fn(&mut Value)) -> Result<Usable> {
        let mut config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/app"], "User": "65532"}, "rootfs": {"type": "layers", "diff_ids": [digest(1)]},
        });
        change(&mut config);
        check_config("app:1", &serde_json::to_vec(&config).unwrap(), Architecture::Amd64, 1)
    }

    #[test]
    fn a_manifest_of_docker_is_read() {
        let read = document("app:1", &manifest(&json!([layer(3)])), "").unwrap();
        assert!(matches!(read, Document::Manifest(manifest) if manifest.layers[0].size == 3));
    }

    #[test]
    fn manifests_that_cannot_be_meant_are_refused() {
        for (layers, reason) in [
            (json!([]), "0 layers"),
            (json!(vec![layer(1); 129]), "129 layers"),
            (json!([layer(u64::MAX), layer(u64::MAX)]), "would take 18446744073709551615 bytes"),
            (json!([{"mediaType": "text/html", "digest": digest(1), "size": 1}]), "text/html"),
            (json!([{"mediaType": LAYER_TYPES[0], "digest": "sha256:../../etc/passwd", "size": 1}]), "not a SHA-256"),
            (json!([{"mediaType": LAYER_TYPES[0], "digest": digest(1), "size": -1}]), "-1"),
        ] {
            let cause = why(document("app:1", &manifest(&layers), ""));
            assert!(cause.contains(reason), "{cause}");
        }
        assert!(why(document("app:1", b"<html>", "")).contains("its manifest"));
        assert!(why(document("app:1", br#"{"schemaVersion":1}"#, "")).contains("schema 1"));
    }

    fn index(platforms: &[Option<(&str, &str)>]) -> Vec<Descriptor> {
        let entry = |(number, platform): (usize, &Option<(&str, &str)>)| {
            let digest = digest(u8::try_from(number).unwrap());
            let platform = platform.map(|(os, architecture)| json!({"os": os, "architecture": architecture}));
            serde_json::from_value(json!({"digest": digest, "size": 1, "platform": platform})).unwrap()
        };
        platforms.iter().enumerate().map(entry).collect()
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
        let error = choose("app:1", &index, Architecture::Arm64).unwrap_err();
        assert_eq!(error.causes(), ["it is not there for linux/arm64, only for linux/amd64, windows/amd64"]);
    }

    #[test]
    fn an_image_without_a_platform_is_chosen_where_it_is_the_only_one() {
        assert!(choose("app.tar", &index(&[None]), Architecture::Amd64).is_ok());
        assert!(choose("app.tar", &index(&[None, None]), Architecture::Amd64).is_err());
    }

    #[test]
    fn a_config_that_can_run_is_usable_and_tells_who_runs() {
        assert!(!config(|_| {}).unwrap().runs_as_root);
        for user in ["", "root", "0:0"] {
            assert!(config(|config| config["config"]["User"] = user.into()).unwrap().runs_as_root, "{user}");
        }
    }

    #[test]
    fn a_config_that_would_not_start_is_refused() {
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 4] = [
            (|config| config["architecture"] = "arm64".into(), "for linux/arm64, not for linux/amd64"),
            (|config| config["config"] = Value::Null, "no entrypoint and no command"),
            (|config| config["rootfs"]["diff_ids"] = json!([]), "0 layers and its manifest 1"),
            (|config| config["os"] = "windows".into(), "windows/amd64"),
        ];
        for (change, reason) in changes {
            let error = config(change).unwrap_err();
            assert!(error.causes()[0].contains(reason), "{error:?}");
        }
    }
}
