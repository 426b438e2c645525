//! Images made here, entry by entry, with paths that no honest tool would write; and what a tree looks like.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;
use tar::{EntryType, Header};

use crate::Digest;
use crate::content::Blob;
use crate::external::{Usable, read_config};
use crate::image::{Image, gzip};
use crate::manifest::Manifest;
use crate::media_type;

/// One entry of a layer.
#[derive(Clone)]
pub(super) struct Made {
    pub path: Vec<u8>,
    pub kind: EntryType,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    pub mode: u32,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy;
        write!(f, "{:?} {} {:o} -> {}", self.kind, text(&self.path), self.mode, text(&self.link))
    }
}

fn made(path: &str, kind: EntryType, link: &str, content: &str, mode: u32) -> Made {
    Made { path: path.into(), kind, link: link.into(), content: content.into(), mode }
}

pub(super) fn file(path: &str, content: &str) -> Made {
    made(path, EntryType::Regular, "", content, 0o644)
}

pub(super) fn directory(path: &str, mode: u32) -> Made {
    made(path, EntryType::Directory, "", "", mode)
}

pub(super) fn symlink(path: &str, target: &str) -> Made {
    made(path, EntryType::Symlink, target, "", 0o777)
}

pub(super) fn hard_link(path: &str, target: &str) -> Made {
    made(path, EntryType::Link, target, "", 0o644)
}

pub(super) fn device(path: &str) -> Made {
    made(path, EntryType::Char, "", "", 0o666)
}

/// The layer with these entries.
pub(super) fn layer(entries: &[Made]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |kind, path: &[u8], link: &[u8], content: &[u8], mode| {
        let mut header = Header::new_gnu();
        let (path, link) = (&path[..path.len().min(100)], &link[..link.len().min(100)]);
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    for entry in entries {
        if entry.path.len() > 100 {
            put(EntryType::GNULongName, b"././@LongLink", b"", &[&entry.path[..], b"\0"].concat(), 0);
        }
        if entry.link.len() > 100 {
            put(EntryType::GNULongLink, b"././@LongLink", b"", &[&entry.link[..], b"\0"].concat(), 0);
        }
        put(entry.kind, &entry.path, &entry.link, &entry.content, entry.mode);
    }
    builder.into_inner().unwrap()
}

/// An image of these uncompressed layers, each stored as the function makes it.
pub(super) fn image_as(layers: &[Vec<u8>], store: impl Fn(&[u8]) -> Vec<u8>) -> Image {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let Usable { diff_ids, run } = read_config(&config).unwrap();
    let layers: Vec<_> = layers.iter().map(|layer| Blob::new(store(layer))).collect();
    let config = Blob::new(config);
    let manifest = Manifest::of_image(&config, &layers).unwrap();
    Image { config, layers, manifest, diff_ids, run, attachments: Vec::new() }
}

/// An image with gzipped layers.
pub(super) fn image(layers: &[&[Made]]) -> Image {
    let layers: Vec<_> = layers.iter().map(|entries| layer(entries)).collect();
    image_as(&layers, |layer| gzip(layer).unwrap())
}

/// Writes an image as an OCI layout with the tag `t`.
pub(super) fn write_layout(image: &Image, folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in image.layers.iter().chain([&image.config, &image.manifest.blob]) {
        fs::write(blobs.join(blob.digest.hex()), blob.bytes().unwrap()).unwrap();
    }
    fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media_type::MANIFEST, "digest": image.digest(), "size": image.manifest.blob.size,
        "annotations": {"org.opencontainers.image.ref.name": "t"},
    }]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

/// What is in a tree: for each path its kind, mode, time, content, and the first path of the same file.
pub(super) fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    visit(root, root, &mut all, &mut inodes);
    all
}

fn visit(root: &Path, folder: &Path, all: &mut BTreeMap<String, String>, inodes: &mut BTreeMap<u64, String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let mode = metadata.permissions().mode() & 0o1777;
        let what = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            visit(root, &path, all, inodes);
            format!("dir {mode:o}")
        } else if metadata.is_file() {
            let first = inodes.entry(metadata.ino()).or_insert_with(|| name.clone());
            let same = if *first == name { String::new() } else { format!(" = {first}") };
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            format!("file {:o} {} {content}{same}", mode & 0o777, metadata.mtime())
        } else {
            "special".to_owned()
        };
        all.insert(name, what);
    }
}
