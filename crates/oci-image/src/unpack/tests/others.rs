//! The same images unpacked by umoci, which follows the specification closely, and images that buildah makes. Both are
//! Debian packages; if they are missing, the tests say so.

use std::path::Path;
use std::process::Command;

use super::made::{Made, directory, file, hard_link, image, symlink, tree, write_layout};
use crate::{Architecture, Image, Limits};

/// Whether a program is installed. Otherwise the test prints what it does not check.
pub(super) fn installed(program: &str, otherwise: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: {otherwise}, because {program} is not installed");
    }
    found
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Unpacks an OCI layout with umoci.
pub(super) fn by_umoci(layout: &Path, root: &Path) -> std::process::Output {
    let mut command = Command::new("umoci");
    command.args(["raw", "unpack", "--image"]).arg(format!("{}:t", layout.display()));
    if !rustix::process::geteuid().is_root() {
        command.arg("--rootless");
    }
    command.arg(root).output().unwrap()
}

#[tokio::test]
async fn umoci_unpacks_the_same() {
    if !installed("umoci", "the comparison of unpacked layers") {
        return;
    }
    let in_x = [directory("x", 0o755), file("x/in", "1")];
    let cases: &[(&[Made], &[Made])] = &[
        (&[file("x", "1")], &[directory("x", 0o755), file("x/in", "2")]),
        (&in_x, &[file("x", "2")]),
        (&in_x, &[symlink("x", "y")]),
        (&[directory("y", 0o755), symlink("x", "y")], &[directory("x", 0o755), file("x/in", "2")]),
        (&[file("x", "1")], &[symlink("x", "y")]),
        (&[file("x", "1"), file("y", "2")], &[hard_link("x", "y")]),
        (&[file("y", "1"), symlink("x", "y")], &[file("x", "2")]),
        (&[directory("usr/bin", 0o755), symlink("bin", "usr/bin")], &[file("bin/tool", "2")]),
        (&[directory("real", 0o755), symlink("abs", "/real")], &[file("abs/tool", "2")]),
        (&[directory("ro", 0o555), file("ro/in", "1")], &[file("ro/two", "2")]),
        (&[directory("/", 0o755), file("/ko-app/app", "1")], &[hard_link("/b", "/ko-app/app")]),
        (&[file("d/old", "1")], &[file("d/new", "2"), file("d/.wh..wh..opq", "")]),
        (&[file("d/old", "1")], &[file("d/.wh..wh..opq", ""), file("d/new", "2")]),
        (&[file("a", "1"), file("b", "1")], &[file(".wh.a", ""), file("c", "2")]),
        (&[symlink("out", "..")], &[file("out/inside", "2")]),
    ];
    for (low, high) in cases {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&[low, high]);
        let (layout, theirs, ours) =
            (folder.path().join("layout"), folder.path().join("theirs"), folder.path().join("ours"));
        write_layout(&image, &layout);
        let output = by_umoci(&layout, &theirs);
        assert!(output.status.success(), "{low:?} {high:?}: {output:?}");
        image.unpack(&ours, &Limits::default()).await.unwrap();
        assert_eq!(tree(&ours), tree(&theirs), "{low:?} {high:?}");
    }
}

/// Makes layers as the builds of people do: by changing files of the layer below.
const BUILD: &str = r#"
set -eu
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$1/store" --runroot "$1/run" "${@:2}"; }
F=$1
next() { # the image below, its new name, what to change
    c=$(buildah "$F" from --pull-never "$1")
    (cd "$(buildah "$F" mount "$c")" && eval "$3")
    buildah "$F" config --entrypoint '["/app"]' "$c"
    buildah "$F" commit --quiet "$c" "$2" > /dev/null
    buildah "$F" rm "$c" > /dev/null
}
next scratch localhost/one:1 'mkdir -p d/deep e usr/bin var run srv/old; echo 1 > d/deep/f; echo 1 > app; ln -s usr/bin bin
    echo tool > usr/bin/tool; ln usr/bin/tool usr/bin/tool2; ln -s /run var/run; echo 1 > srv/old/f; echo 1 > turns; mkdir -m 555 ro; chmod 4755 app'
next localhost/one:1 localhost/two:1 'rm -rf d && ln -s /e d; rm turns && mkdir turns && echo in > turns/in; echo 2 > run/pid
    rm usr/bin/tool usr/bin/tool2; echo new > usr/bin/tool; ln usr/bin/tool usr/bin/tool2; rm -rf srv/old; mkdir srv/old; echo new > srv/old/new'
next localhost/two:1 localhost/three:1 'rm -rf turns; echo file > turns; rm d; mkdir d; echo 3 > d/f; echo 3 > ro/f; rm usr/bin/tool2'
for n in one two three; do buildah "$F" push --quiet "localhost/$n:1" "oci-archive:$F/$n.tar:t"; done
buildah "$F" push --quiet --compression-format zstd localhost/three:1 "oci-archive:$F/zstd.tar:t"
skopeo copy --quiet "oci-archive:$F/three.tar:t" "docker-archive:$F/docker.tar:app:1"
buildah "$F" push --quiet localhost/three:1 "oci:$F/layout:t"
"#;

#[tokio::test]
async fn images_of_buildah_are_unpacked_as_umoci_does() {
    let purpose = "images of another builder";
    if !["buildah", "skopeo", "umoci"].iter().all(|program| installed(program, purpose)) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: {purpose}, because buildah mounts images only for root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("bash").args(["-c", BUILD, "bash"]).arg(folder.path()));
    for name in ["one", "two", "three", "zstd", "docker"] {
        let archive = folder.path().join(format!("{name}.tar"));
        let image = Image::from_archive(&archive, Architecture::of_host().unwrap()).await.unwrap();
        image.unpack(&folder.path().join(name), &Limits::default()).await.unwrap();
    }
    let output = by_umoci(&folder.path().join("layout"), &folder.path().join("theirs"));
    assert!(output.status.success(), "{output:?}");
    let theirs = tree(&folder.path().join("theirs"));
    assert_eq!(tree(&folder.path().join("three")), theirs);
    assert_eq!(tree(&folder.path().join("zstd")), theirs);
    assert_eq!(tree(&folder.path().join("docker")), theirs);
    assert_eq!(theirs["bin"], "-> usr/bin");
    assert_eq!(tree(&folder.path().join("two"))["d"], "-> /e");
}
