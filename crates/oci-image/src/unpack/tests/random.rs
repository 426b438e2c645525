//! Random layers: nothing outside of the root is touched, nothing panics, and umoci agrees.

use std::fs;

use proptest::prelude::*;
use tar::EntryType;

use super::made::{Made, image, image_as, layer, tree, write_layout};
use super::others::{by_umoci, installed};
use crate::image::gzip;
use crate::{Limits, remove_tree};

fn paths() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        10 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => prop::sample::select(vec![".wh.a", ".wh.b", ".wh..wh..opq"]).prop_map(str::to_owned),
    ];
    (prop::sample::select(vec!["", "/", "./"]), prop::collection::vec(part, 1..5))
        .prop_map(|(start, parts)| format!("{start}{}", parts.join("/")))
}

fn targets() -> impl Strategy<Value = String> {
    prop_oneof![3 => paths(), 1 => prop::sample::select(vec!["..", "/", "/..", "../..", "../precious", "../../precious", "/a/../..", "a/../../b"]).prop_map(str::to_owned)]
}

fn entries() -> impl Strategy<Value = Made> {
    let kinds = vec![
        EntryType::Regular,
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Fifo,
    ];
    let modes = vec![0o644, 0o755, 0o755, 0, 0o555, 0o4755, 0o1777];
    (paths(), prop::sample::select(kinds), targets(), prop::sample::select(modes)).prop_map(
        |(path, kind, link, mode)| Made {
            content: if kind == EntryType::Regular { path.clone().into_bytes() } else { Vec::new() },
            link: if matches!(kind, EntryType::Link | EntryType::Symlink) { link.into_bytes() } else { Vec::new() },
            path: path.into_bytes(),
            kind,
            mode,
        },
    )
}

fn layers() -> impl Strategy<Value = Vec<Vec<Made>>> {
    prop::collection::vec(prop::collection::vec(entries(), 0..12), 1..4)
}

/// A folder `deep/down` in a folder with files that must stay as they are.
pub(super) struct Guarded(tempfile::TempDir);

impl Guarded {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("deep/down")).unwrap();
        for file in ["precious", "deep/precious", "deep/a", "a"] {
            fs::write(folder.path().join(file), "kept").unwrap();
        }
        Self(folder)
    }

    pub(super) fn root(&self) -> std::path::PathBuf {
        self.0.path().join("deep/down/root")
    }

    pub(super) fn check(self) {
        remove_tree(&self.root()).unwrap();
        let left: Vec<String> = tree(self.0.path())
            .into_iter()
            .map(|(path, what)| format!("{path}: {}", what.rsplit(' ').next().unwrap()))
            .collect();
        assert_eq!(
            left,
            ["a: kept", "deep: 755", "deep/a: kept", "deep/down: 755", "deep/precious: kept", "precious: kept"]
        );
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_layers_touch_nothing_outside(layers in layers()) {
        let guarded = Guarded::new();
        let layers: Vec<_> = layers.iter().map(Vec::as_slice).collect();
        // Most are refused half-way.
        let _ = runtime().block_on(image(&layers).unpack(&guarded.root(), &Limits::default()));
        guarded.check();
    }

    #[test]
    fn damaged_layers_touch_nothing_outside(entries in prop::collection::vec(entries(), 1..6), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), fix in any::<bool>()) {
        let mut bytes = layer(&entries);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
            if fix {
                // A right checksum lets the change get further.
                let start = at / 512 * 512;
                let mut header = tar::Header::from_byte_slice(&bytes[start..start + 512]).clone();
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
            }
        }
        let guarded = Guarded::new();
        let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
        let _ = runtime().block_on(image_as(&[bytes], <[u8]>::to_vec).unpack(&guarded.root(), &limits));
        guarded.check();
    }

    #[test]
    fn damaged_archives_are_refused_without_a_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), zip in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = include_bytes!("../../../tests/corpus/layout.tar").to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(600));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), if zip { gzip(&bytes).unwrap() } else { bytes }).unwrap();
        let _ = runtime().block_on(crate::Image::from_archive(file.path(), crate::Architecture::Amd64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn umoci_agrees_about_random_layers(layers in layers()) {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: the comparison of random layers, because only root can look into all directories");
            return Ok(());
        }
        if !installed("umoci", "the comparison of random layers") {
            return Ok(());
        }
        // Special files are made there and left out here. What a whiteout hides that a link leads to is not agreed upon.
        let has_links = layers.iter().flatten().any(|it| it.kind == EntryType::Symlink);
        let is_compared = |it: &Made| {
            let is_whiteout = it.path.windows(4).any(|part| part == b".wh.");
            let is_special = matches!(it.kind, EntryType::Char | EntryType::Fifo);
            !is_special && (!has_links || !is_whiteout)
        };
        let layers: Vec<Vec<Made>> =
            layers.into_iter().map(|layer| layer.into_iter().filter(is_compared).collect()).collect();
        let layers: Vec<_> = layers.iter().map(Vec::as_slice).collect();
        let (image, folder) = (image(&layers), tempfile::tempdir().unwrap());
        let (layout, theirs, ours) = (folder.path().join("layout"), folder.path().join("theirs"), folder.path().join("ours"));
        let done = runtime().block_on(image.unpack(&ours, &Limits::default()));
        write_layout(&image, &layout);
        let output = by_umoci(&layout, &theirs);
        if done.is_ok() && output.status.success() {
            prop_assert_eq!(tree(&ours), tree(&theirs));
        }
    }
}
