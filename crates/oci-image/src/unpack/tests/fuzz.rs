//! Fuzz targets: layers and archives as files of anybody.

use std::fs;
use std::panic::AssertUnwindSafe;

use fuzz_input::Input;
use tar::EntryType;

use super::made::{Made, image_as, layer};
use super::random::{Guarded, runtime};
use crate::Limits;

/// A layer with one entry of each kind, and whiteouts.
fn layers() -> [Vec<u8>; 2] {
    let made = |path: &str, kind, link: &str| Made {
        content: if kind == EntryType::Regular { b"content".to_vec() } else { Vec::new() },
        link: link.as_bytes().to_vec(),
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o755,
    };
    [
        layer(&[
            made("a", EntryType::Directory, ""),
            made("a/file", EntryType::Regular, ""),
            made("a/link", EntryType::Symlink, "../file"),
            made("hard", EntryType::Link, "a/file"),
            made("device", EntryType::Char, ""),
            made(&"long/".repeat(40), EntryType::Directory, ""),
        ]),
        layer(&[made("a/.wh.file", EntryType::Regular, ""), made("b/.wh..wh..opq", EntryType::Regular, "")]),
    ]
}

#[test]
fn any_bytes_as_a_layer_touch_nothing_outside() {
    let layers = layers();
    let examples: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
    let runtime = AssertUnwindSafe(runtime());
    bolero::check!().with_type::<(Input, Input)>().for_each(|(first, second)| {
        let guarded = Guarded::new();
        let image = image_as(&[first.of(&examples), second.of(&examples)], <[u8]>::to_vec);
        // Most are refused half-way.
        let _ = runtime.block_on(image.unpack(&guarded.root(), &limits));
        guarded.check();
    });
}

#[test]
fn any_bytes_as_an_archive_are_an_image_or_an_error() {
    let example: &[u8] = include_bytes!("../../../tests/corpus/layout.tar");
    let (folder, runtime) = (tempfile::tempdir().unwrap(), AssertUnwindSafe(runtime()));
    let file = folder.path().join("image.tar");
    bolero::check!().with_type::<Input>().for_each(|input| {
        fs::write(&file, input.of(&[example])).unwrap();
        let _ = runtime.block_on(crate::Image::from_archive(&file, crate::Architecture::Amd64));
    });
}
