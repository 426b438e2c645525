//! Hostile images, read by a process of its own whose memory is limited: the example `unpack`.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use oci_image::Digest;
use serde_json::json;
use tar::{EntryType, Header};

/// All memory that the process may have, in KiB. The program and its libraries take most of it.
const MEMORY: u32 = 160 * 1024;

/// The example, which is built with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    let path = folder.join("examples/unpack");
    assert!(path.is_file(), "{} is not there: cargo test and cargo nextest build it", path.display());
    path
}

fn unpack(archive: &Path, root: &Path) -> Output {
    let script = format!("ulimit -v {MEMORY}; exec \"$0\" \"$1\" \"$2\"");
    // Temporary files go to the folder of the test, not to what may be memory.
    let folder = archive.parent().unwrap();
    Command::new("sh")
        .args(["-c", &script])
        .arg(example())
        .arg(archive)
        .arg(root)
        .env("TMPDIR", folder)
        .output()
        .unwrap()
}

fn refused(archive: &Path) -> String {
    let output = unpack(archive, &archive.with_extension("root"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.len() < 1000, "{said}");
    said
}

fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// Writes a tar entry of repeated bytes.
fn put(to: &mut (impl Write + ?Sized), kind: EntryType, name: &str, byte: u8, size: u64) {
    to.write_all(header(kind, name, size).as_bytes()).unwrap();
    io::copy(&mut io::repeat(byte).take(size.next_multiple_of(512)), to).unwrap();
}

/// Writes a layer, and returns the digests of its content and of its file.
fn layer(path: &Path, write: impl FnOnce(&mut dyn Write)) -> (Digest, Digest, u64) {
    let mut gzip = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    write(&mut gzip);
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap();
    let content = flate2::read::GzDecoder::new(File::open(path).unwrap());
    let (diff_id, _) = Digest::of_reader(content).unwrap();
    let (digest, size) = Digest::of_reader(File::open(path).unwrap()).unwrap();
    (diff_id, digest, size)
}

/// An archive with an image of one layer.
fn archive(folder: &Path, write: impl FnOnce(&mut dyn Write)) -> PathBuf {
    let (diff_id, digest, size) = layer(&folder.join("layer"), write);
    archive_of(folder, &diff_id, &digest, size)
}

/// An archive with an image whose one layer is in the file `layer`.
fn archive_of(folder: &Path, diff_id: &Digest, digest: &Digest, size: u64) -> PathBuf {
    let architecture = oci_image::Architecture::of_host().unwrap().name();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    })
    .to_string();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(config.as_bytes()), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}],
    })
    .to_string();
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": manifest_type, "digest": Digest::of(manifest.as_bytes()), "size": manifest.len()},
    ]})
    .to_string();
    let path = folder.join("image.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    for (name, content) in [
        ("index.json".to_owned(), &index),
        (blob(&Digest::of(config.as_bytes())), &config),
        (blob(&Digest::of(manifest.as_bytes())), &manifest),
    ] {
        tar.append_data(&mut header(EntryType::Regular, "x", content.len() as u64), name, content.as_bytes()).unwrap();
    }
    tar.append_path_with_name(folder.join("layer"), blob(digest)).unwrap();
    tar.finish().unwrap();
    path
}

#[test]
fn a_large_image_is_unpacked_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), |layer| put(layer, EntryType::Regular, "large", 7, 256 << 20));
    let root = folder.path().join("root");
    let output = unpack(&archive, &root);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(root.join("large")).unwrap().len(), 256 << 20);
}

#[test]
fn a_name_of_sixty_mebibytes_in_a_small_layer_is_refused() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), |layer| {
            put(layer, kind, "././@LongLink", b'x', 60 << 20);
            put(layer, EntryType::Regular, "app", b'x', 1);
        });
        assert!(fs::metadata(&archive).unwrap().len() < 1 << 20);
        let said = refused(&archive);
        assert!(said.contains("an extended header: more than 1048576 bytes"), "{said}");
    }
}

/// A gzip file of some MiB that becomes three GiB: one entry, whose content is the same member again and again.
fn expanding(kind: EntryType) -> Vec<u8> {
    let member = |write: &dyn Fn(&mut GzEncoder<Vec<u8>>)| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        write(&mut gzip);
        gzip.finish().unwrap()
    };
    let head = member(&|gzip| gzip.write_all(header(kind, "large", 3 << 30).as_bytes()).unwrap());
    let zeros = member(&|gzip| assert_eq!(io::copy(&mut io::repeat(0).take(64 << 20), gzip).unwrap(), 64 << 20));
    [head, zeros.repeat(48)].concat()
}

#[test]
fn a_small_archive_that_becomes_gigabytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar.gz");
    fs::write(&archive, expanding(EntryType::GNULongName)).unwrap();
    assert!(fs::metadata(&archive).unwrap().len() < 5 << 20);
    let said = refused(&archive);
    assert!(said.contains("the unpacked archive: more than 1073741824 bytes"), "{said}");
}

#[test]
fn a_small_layer_that_becomes_gigabytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = expanding(EntryType::Regular);
    fs::write(folder.path().join("layer"), &bytes).unwrap();
    // The limit is reached before the digest of the content is known.
    let any = Digest::of(b"");
    let archive = archive_of(folder.path(), &any, &Digest::of(&bytes), bytes.len() as u64);
    let said = refused(&archive);
    assert!(said.contains("an unpacked layer: more than 1073741824 bytes"), "{said}");
}

#[test]
fn a_hundred_thousand_names_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), |layer| {
        for number in 0..100_000 {
            let mut header = header(EntryType::Symlink, &format!("{}/{number}", number % 100), 0);
            header.set_link_name("x").unwrap();
            header.set_cksum();
            layer.write_all(header.as_bytes()).unwrap();
        }
    });
    let output = unpack(&archive, &folder.path().join("root"));
    assert!(output.status.success(), "{output:?}");
}
