//! Archives, good and hostile, made here byte by byte.

use std::io::Write as _;

use flate2::read::GzDecoder;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;
use crate::ErrorKind;
use crate::compression::GZIP_MAGIC;
use crate::image::gzip;

const INDEX: &str = media_type::INDEX;
const MANIFEST: &str = media_type::MANIFEST;
const LAYER: &str = media_type::LAYER_GZIP;

/// A tar with these files, with paths that no honest tool would write.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn written(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".tar").unwrap();
    file.write_all(bytes).unwrap();
    file
}

async fn opened(bytes: &[u8]) -> Result<Image> {
    Image::from_archive(written(bytes).path(), Architecture::Amd64).await
}

async fn reason(bytes: &[u8]) -> ImageError {
    let error = opened(bytes).await.unwrap_err();
    let Error::Unusable { image, reason } = error else { panic!("{error:?}") };
    assert!(image.starts_with('/'), "{image}");
    reason
}

async fn content(blob: &Blob) -> Vec<u8> {
    assert_eq!(blob.bytes(), None, "a layer in memory");
    let chunks: Vec<_> = blob.chunks().await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

fn config(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"], "User": "1000"},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).as_str()]},
    });
    serde_json::to_vec(&config).unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len()})
}

/// An OCI layout, with the chance to change its files before they are packed.
fn layout(change: impl Fn(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let layer = tar(&[("app", b"program")]);
    let gzipped = gzip(&layer).unwrap();
    let config = config(&layer);
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor("c", &config),
        "layers": [descriptor(LAYER, &gzipped)],
    }))
    .unwrap();
    // As docker save does: an index of an index.
    let inner = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, &manifest)],
    }))
    .unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(INDEX, &inner)]});
    let blob = |bytes: &Vec<u8>| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.clone());
    let mut files: Vec<_> = [&layer, &gzipped, &config, &manifest, &inner].map(blob).into();
    files.push(("./index.json".to_owned(), serde_json::to_vec(&index).unwrap()));
    change(&mut files);
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    tar(&files)
}

/// What `docker save` wrote before version 25.
fn saved(layers: &[&str], config_of: &[u8], files: &[(&str, &[u8])]) -> Vec<u8> {
    let config = config(config_of);
    let manifest = json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": layers}]);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut all: Vec<(&str, &[u8])> = vec![("manifest.json", &manifest), ("config.json", &config)];
    all.extend_from_slice(files);
    tar(&all)
}

#[tokio::test]
async fn an_oci_layout_keeps_its_manifest_and_so_its_digest() {
    let image = opened(&layout(|_| {})).await.unwrap();
    assert!(!image.runs_as_root());
    assert_eq!((image.layers.len(), image.manifest.media_type.as_str()), (1, MANIFEST));
    assert_eq!(Digest::of(&content(&image.layers[0]).await), image.layers[0].digest);
}

#[tokio::test]
async fn a_gzipped_archive_is_the_same_image() {
    let plain = layout(|_| {});
    let gzipped = gzip(&plain).unwrap();
    assert_eq!(opened(&gzipped).await.unwrap().digest(), opened(&plain).await.unwrap().digest());
}

#[tokio::test]
async fn a_saved_layer_is_compressed_always_to_the_same_bytes() {
    let layer = tar(&[("app", &vec![7; 100_000])]);
    let archive = saved(&["layer.tar"], &layer, &[("layer.tar", &layer)]);
    let image = opened(&archive).await.unwrap();
    assert!(image.size() < 10_000, "{} bytes", image.size());
    assert_eq!(image.digest(), opened(&archive).await.unwrap().digest());
    let unzipped = Digest::of_reader(GzDecoder::new(&content(&image.layers[0]).await[..])).unwrap().0;
    assert_eq!(unzipped, Digest::of(&layer));
}

#[tokio::test]
async fn a_saved_layer_may_be_compressed_already_and_a_link() {
    let layer = tar(&[("app", b"program")]);
    let gzipped = gzip(&layer).unwrap();
    let archive = saved(&["b/layer.tar"], &layer, &[("a/layer.tar", &gzipped)]);
    let mut builder = tar::Builder::new(archive[..archive.len() - 1024].to_vec());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
    let image = opened(&builder.into_inner().unwrap()).await.unwrap();
    assert_eq!(image.layers[0].digest, Digest::of(&gzipped));
}

#[tokio::test]
async fn a_layer_that_is_not_what_its_digest_says_is_rejected() {
    let flipped = layout(|files| {
        let layer = files.iter_mut().find(|(_, bytes)| bytes.starts_with(&GZIP_MAGIC)).unwrap();
        *layer.1.last_mut().unwrap() ^= 1;
    });
    let layer = tar(&[("app", b"program")]);
    let other = saved(&["layer.tar"], b"another layer", &[("layer.tar", &layer)]);
    for archive in [flipped, other] {
        let error = opened(&archive).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceDigestMismatch, "{error:?}");
    }
}

#[tokio::test]
async fn a_path_that_leads_out_of_the_archive_is_rejected() {
    for outside in ["../../etc/passwd", "/etc/passwd", "a/../../b"] {
        let reason = reason(&saved(&[outside], b"", &[])).await;
        assert!(matches!(&reason, ImageError::OutsidePath { path } if path == outside), "{reason:?}");
    }
}

#[tokio::test]
async fn a_file_of_the_archive_that_leads_out_of_it_is_ignored() {
    let reason = reason(&saved(&["etc/passwd"], b"", &[("../etc/passwd", b"root")])).await;
    assert!(matches!(&reason, ImageError::MissingFile { path } if path == "etc/passwd"), "{reason:?}");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let reason = reason(&layout(|files| files.retain(|(path, _)| path.contains("index.json")))).await;
    assert!(matches!(&reason, ImageError::MissingFile { path } if path.starts_with("blobs/sha256/")), "{reason:?}");
}

#[tokio::test]
async fn a_file_that_claims_more_than_the_archive_has_is_rejected() {
    let mut archive = layout(|_| {});
    // The size in the first header, in octal digits.
    archive[124..135].copy_from_slice(b"77777777777");
    let mut header = tar::Header::from_byte_slice(&archive[..512]).clone();
    header.set_cksum();
    archive[..512].copy_from_slice(header.as_bytes());
    let reason = reason(&archive).await;
    assert!(matches!(reason, ImageError::NotTar(_)), "{reason:?}");
}

#[tokio::test]
async fn an_archive_without_an_image_and_a_file_that_is_not_an_archive_are_rejected() {
    assert!(matches!(reason(&tar(&[("readme", b"hello")])).await, ImageError::NoImage));
    assert!(matches!(reason(&[b'x'; 2000]).await, ImageError::NotTar(_)));
    assert!(matches!(reason(&GZIP_MAGIC).await, ImageError::Unreadable(_)));
}

#[tokio::test]
async fn several_images_in_one_archive_are_rejected() {
    let two = json!([{"Config": "c", "Layers": []}, {"Config": "d", "Layers": []}]);
    let two = serde_json::to_vec(&two).unwrap();
    assert!(matches!(reason(&tar(&[("manifest.json", &two)])).await, ImageError::SeveralImages { count: 2 }));
}

#[tokio::test]
async fn the_number_of_layers_is_limited_and_a_folder_is_told() {
    let reason = reason(&saved(&["layer.tar"; 129], b"", &[])).await;
    assert!(matches!(reason, ImageError::LayerCount { count: 129, .. }), "{reason:?}");
    let folder = tempfile::tempdir().unwrap();
    let error = Image::from_archive(folder.path(), Architecture::Amd64).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { reason: ImageError::Folder, .. }), "{error:?}");
}

#[tokio::test]
async fn a_saved_layer_may_have_several_members_or_be_zstd() {
    let layer = tar(&[("app", b"program")]);
    let members = [gzip(&layer[..700]).unwrap(), gzip(&layer[700..]).unwrap()].concat();
    let image = opened(&saved(&["layer.tar"], &layer, &[("layer.tar", &members)])).await.unwrap();
    assert_eq!(image.layers[0].digest, Digest::of(&members));
    let zstd = ruzstd::encoding::compress_to_vec(&layer[..], ruzstd::encoding::CompressionLevel::Fastest);
    let image = opened(&saved(&["layer.tar"], &layer, &[("layer.tar", &zstd)])).await.unwrap();
    let unzipped = Digest::of_reader(GzDecoder::new(&content(&image.layers[0]).await[..])).unwrap().0;
    assert_eq!(unzipped, Digest::of(&layer));
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_told_from_a_broken_one() {
    let error = Image::from_archive(Path::new("/nowhere/app.tar"), Architecture::Amd64).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { reason: ImageError::CannotOpen(_), .. }), "{error:?}");
}
