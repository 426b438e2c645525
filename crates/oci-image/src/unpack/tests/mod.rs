//! Layers as tools make them, as nobody should make them, and at random.

mod fuzz;
mod made;
mod others;
mod random;
mod roots;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use made::{Made, device, directory, file, hard_link, image, image_as, layer, symlink, tree};
use tempfile::TempDir;

use super::*;
use crate::ErrorKind;
use crate::image::gzip;

/// Unpacks layers into the folder `root` beside a file that must not change.
async fn try_unpacked(layers: &[&[Made]]) -> (TempDir, Result<Unpacked>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "kept").unwrap();
    let done = image(layers).unpack(&folder.path().join("root"), &Limits::default()).await;
    assert_eq!(fs::read(folder.path().join("precious")).unwrap(), b"kept");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    (folder, done)
}

async fn unpacked(layers: &[&[Made]]) -> BTreeMap<String, String> {
    let (folder, done) = try_unpacked(layers).await;
    done.unwrap();
    tree(&folder.path().join("root"))
}

fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

async fn refused(layers: &[&[Made]]) -> String {
    let (_folder, done) = try_unpacked(layers).await;
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error:?}");
    told(&error)
}

const D: &str = "dir 755";

fn text(content: &str) -> String {
    format!("file 644 1700000000 {content}")
}

fn expect(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect()
}

#[tokio::test]
async fn an_entry_replaces_one_of_another_kind() {
    let (one, two) = (text("1"), text("2"));
    let in_x = [directory("x", 0o755), file("x/in", "1")];
    for (low, high, expected) in [
        (&[file("x", "1")][..], &[directory("x", 0o755), file("x/in", "2")][..], &[("x", D), ("x/in", &two)][..]),
        (&[file("x", "1")], &[file("x/in", "2")], &[("x", D), ("x/in", &two)]),
        (&in_x, &[file("x", "2")], &[("x", &two)]),
        (&in_x, &[symlink("x", "y")], &[("x", "-> y")]),
        (
            &[directory("y", 0o755), symlink("x", "y")],
            &[directory("x", 0o755), file("x/in", "2")],
            &[("x", D), ("x/in", &two), ("y", D)],
        ),
        (&[file("x", "1")], &[symlink("x", "y")], &[("x", "-> y")]),
        (&[file("x", "1"), file("y", "2")], &[hard_link("x", "y")], &[("x", &two), ("y", &format!("{two} = x"))]),
        (&[file("y", "1"), symlink("x", "y")], &[file("x", "2")], &[("x", &two), ("y", &one)]),
        (&in_x, &[hard_link("x", "x/in")], &[("x", &one)]),
        (&in_x, &[device("x")], &[]),
        (&in_x, &[directory("x", 0o700)], &[("x", "dir 700"), ("x/in", &one)]),
    ] {
        assert_eq!(unpacked(&[low, high]).await, expect(expected), "{low:?} {high:?}");
    }
}

#[tokio::test]
async fn links_on_the_way_lead_to_places_inside_the_root() {
    let two = text("2");
    for (low, high, expected) in [
        (
            &[directory("usr/bin", 0o755), symlink("bin", "usr/bin")][..],
            file("bin/tool", "2"),
            &[("bin", "-> usr/bin"), ("usr", D), ("usr/bin", D), ("usr/bin/tool", &two)][..],
        ),
        (
            &[directory("run", 0o755), symlink("var/run", "/run")],
            file("var/run/pid", "2"),
            &[("run", D), ("run/pid", &two), ("var", D), ("var/run", "-> /run")],
        ),
        (&[symlink("out", "..")], file("out/evil", "2"), &[("evil", &two), ("out", "-> ..")]),
        (
            &[symlink("out", "../../../../tmp/x")],
            file("out/evil", "2"),
            &[("out", "-> ../../../../tmp/x"), ("tmp", D), ("tmp/x", D), ("tmp/x/evil", &two)],
        ),
        (
            &[symlink("a", "/b"), symlink("b", "c/../d")],
            file("a/f", "2"),
            &[("a", "-> /b"), ("b", "-> c/../d"), ("d", D), ("d/f", &two)],
        ),
    ] {
        assert_eq!(unpacked(&[low, &[high]]).await, expect(expected), "{low:?}");
    }
}

#[tokio::test]
async fn a_loop_of_links_is_an_error() {
    let error = refused(&[&[symlink("a", "b"), symlink("b", "a"), file("a/f", "1")]]).await;
    assert!(error.contains("cannot unpack layer 1: its entry a/f: Too many levels of symbolic links"), "{error}");
}

#[tokio::test]
async fn names_may_begin_at_the_root() {
    let one = text("1");
    let layer = [
        directory("/", 0o755),
        directory("./", 0o755),
        file("/ko-app/app", "1"),
        file("./a/./b", "1"),
        hard_link("/c", "/a/b"),
    ];
    let expected = [("a", D), ("a/b", &one), ("c", &format!("{one} = a/b")), ("ko-app", D), ("ko-app/app", &one)];
    assert_eq!(unpacked(&[&layer]).await, expect(&expected));
}

#[tokio::test]
async fn a_path_that_leads_out_is_refused() {
    for evil in ["../evil", "a/../../evil", "/../evil"] {
        let error = refused(&[&[file(evil, "1")]]).await;
        assert!(error.contains("leads out of the image"), "{error}");
        let error = refused(&[&[hard_link("x", evil)]]).await;
        assert!(error.contains("leads out of the image"), "{error}");
    }
    let error = refused(&[&[symlink("out", "/.."), hard_link("x", "out/precious")]]).await;
    assert!(error.contains("is not there"), "{error}");
    let error = refused(&[&[file("/", "1")]]).await;
    assert!(error.contains("it replaces the root"), "{error}");
}

#[tokio::test]
async fn nothing_is_hidden_outside() {
    let one = text("1");
    let layers: [&[Made]; 2] =
        [&[symlink("out", ".."), file("a", "1")], &[file("out/.wh.precious", ""), file("out/.wh.a", "")]];
    assert_eq!(unpacked(&layers).await, expect(&[("out", "-> ..")]));
    for evil in [".wh.", ".wh..", ".wh..."] {
        let error = refused(&[&[file("a/b", "1")], &[file(&format!("a/{evil}"), "")]]).await;
        assert!(error.contains("it hides nothing"), "{error}");
    }
    let metadata: [&[Made]; 2] = [&[file("a", "1")], &[directory(".wh..wh.plnk", 0o700), file("no/.wh.thing", "")]];
    assert_eq!(unpacked(&metadata).await, expect(&[("a", &one)]));
}

#[tokio::test]
async fn whiteouts_hide_entries_of_lower_layers_only_whatever_their_place() {
    let (one, two) = (text("1"), text("2"));
    let low = [file("d/old", "1"), file("d/deep/old", "1"), file("w", "1"), file("gone", "1"), file("dir/old", "1")];
    let high = [
        file("d/new", "2"),
        file("d/deep/new", "2"),
        file("w", "2"),
        file("dir/new", "2"),
        file("d/.wh..wh..opq", ""),
        file(".wh.w", ""),
        file(".wh.gone", ""),
        file(".wh.dir", ""),
    ];
    let expected = expect(&[
        ("d", D),
        ("d/deep", D),
        ("d/deep/new", &two),
        ("d/new", &two),
        ("dir", D),
        ("dir/new", &two),
        ("w", &two),
    ]);
    assert_eq!(unpacked(&[&low, &high]).await, expected);
    let mut reversed = high.to_vec();
    reversed.reverse();
    assert_eq!(unpacked(&[&low, &reversed]).await, expected);
    // A layer above sees the layer below as lower.
    assert_eq!(
        unpacked(&[&[file("a/x", "1")], &[file("a/y", "1")], &[file("a/.wh..wh..opq", "")], &[file("a/z", "1")]]).await,
        expect(&[("a", D), ("a/z", &one)])
    );
}

#[tokio::test]
async fn modes_are_kept_and_lock_nobody_out_while_unpacking() {
    let low = [
        directory("ro", 0o555),
        file("ro/in", "1"),
        directory("none", 0),
        file("none/in", "1"),
        directory("tmp", 0o1777),
    ];
    let mut setuid = file("su", "1");
    setuid.mode = 0o4755;
    let high = [file("ro/two", "2"), file("none/deep/three", "3"), setuid];
    let (folder, done) = try_unpacked(&[&low, &high]).await;
    done.unwrap();
    let mode = |path: &str| fs::metadata(folder.path().join("root").join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("ro"), mode("none"), mode("tmp"), mode("su")), (0o555, 0, 0o1777, 0o755));
    // A directory that is made again has its new mode.
    let replaced: [&[Made]; 2] = [&[directory("a", 0), directory("a/b", 0)], &[file(".wh.a", ""), file("a/b/c", "1")]];
    assert_eq!(unpacked(&replaced).await, expect(&[("a", D), ("a/b", D), ("a/b/c", &text("1"))]));
}

#[tokio::test]
async fn devices_are_left_out_and_told() {
    let (folder, done) = try_unpacked(&[&[device("dev/null"), file("a", "1")]]).await;
    let done = done.unwrap();
    assert_eq!((done.left_out_count, &done.left_out[..]), (1, &["dev/null (a device or a pipe)".to_owned()][..]));
    assert_eq!(tree(&folder.path().join("root")), expect(&[("a", &text("1")), ("dev", D)]));
}

type Store<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn layers_may_be_compressed_in_any_way() {
    let layers = [layer(&[file("a", "1")]), layer(&[file("b", &"2".repeat(300_000))])];
    let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let members = |bytes: &[u8]| bytes.chunks(1000).flat_map(|part| gzip(part).unwrap()).collect();
    let stores: [Store<'_>; 4] = [&<[u8]>::to_vec, &|bytes| gzip(bytes).unwrap(), &members, &zstd];
    for store in stores {
        let folder = tempfile::tempdir().unwrap();
        let done = image_as(&layers, store).unpack(folder.path(), &Limits::default()).await.unwrap();
        assert_eq!((done.entries, done.bytes), (2, 300_001));
        assert_eq!(tree(folder.path()), expect(&[("a", &text("1")), ("b", &text(&"2".repeat(300_000)))]));
    }
}

#[tokio::test]
async fn a_layer_with_another_content_than_its_config_says_is_refused() {
    let mut image = image(&[&[file("a", "1")]]);
    image.diff_ids = vec![Digest::of(b"other")];
    let folder = tempfile::tempdir().unwrap();
    let error = image.unpack(folder.path(), &Limits::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceDigestMismatch, "{error:?}");
}

#[tokio::test]
async fn limits_are_named() {
    let zeros = layer(&[file("zeros", &"\0".repeat(1_000_000))]);
    let two = layer(&[file("a", ""), file("b", "")]);
    for (layers, limits, expected) in [
        (
            std::slice::from_ref(&two),
            Limits { unpacked_bytes: 600, ..Limits::default() },
            "an unpacked layer: more than 600 bytes",
        ),
        (
            &[zeros.clone(), zeros.clone()],
            Limits { unpacked_bytes: 1_500_000, ..Limits::default() },
            "the files of all layers: more than 1500000 bytes",
        ),
        (std::slice::from_ref(&two), Limits { entries: 1, ..Limits::default() }, "the layers: more than 1 files"),
    ] {
        let image = image_as(layers, |layer| gzip(layer).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let error = image.unpack(folder.path(), &limits).await.unwrap_err();
        assert_eq!(told(&error), format!("cannot use image {}: {expected}", image.digest()));
    }
}

#[tokio::test]
async fn an_error_names_the_entry_without_its_control_characters() {
    let missing = format!("missing\u{1b}{}", "/x".repeat(1500));
    let error = refused(&[&[hard_link("a\u{1b}[2J", &missing)]]).await;
    assert!(error.contains(r"its entry a\u{1b}[2J: it is a link to missing\u{1b}/x/x"), "{error}");
    assert!(error.len() < 600, "{error}");
}

fn locked_tree(folder: &TempDir) -> PathBuf {
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::write(root.join("a/b/c/file"), "1").unwrap();
    std::os::unix::fs::symlink("..", root.join("a/b/out")).unwrap();
    for (path, mode) in [("a/b/c/file", 0), ("a/b/c", 0o555), ("a/b", 0), ("a", 0o100)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    root
}

#[test]
fn a_tree_is_removed_whatever_its_modes_and_its_depth() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "kept").unwrap();
    let root = locked_tree(&folder);
    // Deeper than any path could say, with a name that is used to move directories up.
    let mut at = rustix::fs::openat(rustix::fs::CWD, &root, dir::directory(), rustix::fs::Mode::empty()).unwrap();
    rustix::fs::mkdirat(&at, ".removed-1", rustix::fs::Mode::RWXU).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "deeper", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "deeper", dir::directory(), rustix::fs::Mode::empty()).unwrap();
    }
    std::os::unix::fs::symlink("../precious", root.join("link")).unwrap();
    remove_tree(&root).unwrap();
    assert!(!root.exists());
    assert_eq!(fs::read(folder.path().join("precious")).unwrap(), b"kept");
    remove_tree(&root).unwrap();
    std::os::unix::fs::symlink("precious", folder.path().join("link")).unwrap();
    remove_tree(&folder.path().join("link")).unwrap();
    assert_eq!(fs::read(folder.path().join("precious")).unwrap(), b"kept");
}

#[test]
fn a_copy_is_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let root = locked_tree(&folder);
    fs::hard_link(root.join("first"), root.join("second")).unwrap_err();
    fs::write(root.join("first"), "2").unwrap();
    fs::hard_link(root.join("first"), root.join("second")).unwrap();
    let copy = folder.path().join("copy");
    copy_tree(&root, &copy).unwrap();
    let mode = |root: &Path, path: &str| fs::symlink_metadata(root.join(path)).unwrap().permissions().mode();
    for (path, unlock) in [("a", 0o700), ("a/b", 0o700), ("a/b/c", 0o755), ("a/b/c/file", 0o600)] {
        assert_eq!(mode(&copy, path), mode(&root, path), "{path}");
        for tree in [&root, &copy] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(unlock)).unwrap();
        }
    }
    assert_eq!(tree(&copy), tree(&root));
    assert!(tree(&copy)["second"].ends_with("= first"));
    assert!(copy_tree(&root, &copy).is_err(), "something is there");
}

#[test]
fn a_file_of_the_image_is_read_through_its_links_and_never_through_those_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("usr/etc")).unwrap();
    fs::write(root.join("usr/etc/passwd"), "image").unwrap();
    for (target, link) in
        [("/usr/etc", "etc"), ("passwd", "usr/etc/users"), ("/etc/hostname", "host"), ("self", "self")]
    {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let opened = RootDir::open(root).unwrap();
    for path in ["etc/passwd", "/etc/users", "usr/../../etc/passwd"] {
        assert_eq!(opened.read(path, 5).unwrap(), b"image", "{path}");
    }
    for (path, limit) in [("host", 5), ("self", 5), ("etc", 5), ("etc/passwd", 4), ("none", 5)] {
        assert!(opened.read(path, limit).is_err(), "{path}");
    }
}

#[test]
fn a_program_runs_as_soon_as_it_is_unpacked_whatever_is_started_meanwhile() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let program = fs::read("/bin/true").unwrap();
    let mut entry = file("true", "");
    (entry.content, entry.mode) = (program, 0o755);
    let image = image_as(&[layer(&[entry])], <[u8]>::to_vec);
    let (image, runtime) = (&image, &runtime);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..20 {
                    let folder = tempfile::tempdir().unwrap();
                    runtime.block_on(image.unpack(folder.path(), &Limits::default())).unwrap();
                    let program = folder.path().join("true");
                    let mut child = while_nothing_is_written(|| std::process::Command::new(program).spawn().unwrap());
                    assert!(child.wait().unwrap().success());
                }
            });
        }
    });
}
