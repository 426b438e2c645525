//! Unpacks image layers. A layer is not trusted: it cannot write or delete files outside the root directory.

use crate::error::{Context, Error, Result, chain};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use tar::{Archive, EntryType};

/// Hides the entries of lower layers in its directory.
const OPAQUE: &str = ".wh..wh..opq";
/// Hides one entry of the lower layers.
const WHITEOUT: &str = ".wh.";

/// Held shared to write files of images, and exclusively to start a process.
///
/// A new process inherits the open files of this process until its program runs. If a program of an image is among them
/// and open for writing, Linux refuses to execute that program ("text file busy").
static WRITING: RwLock<()> = RwLock::new(());

/// Starts a process while no file of an image is open for writing.
pub(crate) fn while_nothing_is_written<T>(start: impl FnOnce() -> T) -> T {
    let _alone = WRITING.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// Unpacks one layer over the layers below it.
pub(super) fn unpack_layer(media_type: &str, layer: &Path, root: &Path) -> Result<()> {
    let file = File::open(layer).context(|| format!("cannot open {}", layer.display()))?;
    let file = BufReader::new(file);
    if media_type.ends_with("+zstd") {
        return Err(Error::new("it is compressed with zstd, which the local cloud does not support")
            .hint("build the image with gzip layers"));
    }
    if media_type.ends_with("gzip") { unpack_tar(GzDecoder::new(file), root) } else { unpack_tar(file, root) }
        .map_err(|error| Error::new(chain(&error)))
}

fn unpack_tar(layer: impl Read, root: &Path) -> io::Result<()> {
    let mut archive = Archive::new(layer);
    archive.set_preserve_ownerships(rustix::process::geteuid().is_root());
    archive.set_preserve_mtime(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = inside(&entry.path()?)?;
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some(hidden) = name.strip_prefix(WHITEOUT)
        {
            whiteout(root, &path, name, hidden)?;
            continue;
        }
        // Devices and pipes: the kernel provides its devices, and a task needs no others.
        if matches!(entry.header().entry_type(), EntryType::Block | EntryType::Char | EntryType::Fifo) {
            continue;
        }
        let writing = WRITING.read().unwrap_or_else(PoisonError::into_inner);
        let inside = entry.unpack_in(root)?;
        drop(writing);
        if !inside {
            return Err(escape(&path));
        }
    }
    Ok(())
}

/// The path of an entry below the root; an error if it leads out of the root.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return Err(escape(path)),
        }
    }
    Ok(clean)
}

fn whiteout(root: &Path, path: &Path, name: &str, hidden: &str) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let Ok(directory) = root.join(parent).canonicalize() else { return Ok(()) };
    // In a lower layer, the directory can be a symbolic link to another place.
    if !directory.starts_with(root.canonicalize()?) {
        return Err(escape(path));
    }
    if name == OPAQUE {
        for entry in fs::read_dir(&directory)? {
            remove(&entry?.path())?;
        }
        return Ok(());
    }
    if hidden.is_empty() || hidden == "." || hidden == ".." {
        return Err(escape(path));
    }
    remove(&directory.join(hidden))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn escape(path: &Path) -> io::Error {
    io::Error::other(format!("its entry {} leads out of the image", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    enum Entry {
        File(&'static str),
        Link(&'static str, &'static str),
    }

    /// A layer with these entries, with paths that the tar crate itself would refuse to write.
    fn layer(entries: &[Entry]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for entry in entries {
            let mut header = Header::new_old();
            let (path, kind) = match entry {
                Entry::File(path) => (path, EntryType::Regular),
                Entry::Link(path, target) => {
                    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
                    (path, EntryType::Symlink)
                }
            };
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(if kind == EntryType::Regular { 2 } else { 0 });
            header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
            header.set_gid(u64::from(rustix::process::getegid().as_raw()));
            header.set_cksum();
            builder.append(&header, if kind == EntryType::Regular { &b"hi"[..] } else { &[] }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        (dir, root)
    }

    #[test]
    fn files_appear_below_the_root() {
        let (_dir, root) = root();
        unpack_tar(&*layer(&[Entry::File("./app/server")]), &root).unwrap();
        assert_eq!(fs::read(root.join("app/server")).unwrap(), b"hi");
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["../evil", "a/../../evil", "/evil"] {
            let (dir, root) = root();
            let error = unpack_tar(&*layer(&[Entry::File(path)]), &root).unwrap_err();
            assert!(error.to_string().contains("leads out"), "{path}: {error}");
            assert!(!dir.path().join("evil").exists());
        }
    }

    #[test]
    fn nothing_is_written_through_a_symbolic_link_that_leads_out() {
        let (dir, root) = root();
        let entries = [Entry::Link("out", ".."), Entry::File("out/evil")];
        assert!(unpack_tar(&*layer(&entries), &root).is_err());
        assert!(!dir.path().join("evil").exists());
    }

    #[test]
    fn nothing_is_deleted_through_a_symbolic_link_that_leads_out() {
        let (dir, root) = root();
        fs::write(dir.path().join("precious"), "kept").unwrap();
        let entries = [Entry::Link("out", ".."), Entry::File("out/.wh.precious")];
        assert!(unpack_tar(&*layer(&entries), &root).is_err());
        assert!(dir.path().join("precious").exists());
    }

    #[test]
    fn a_whiteout_hides_a_file_of_a_lower_layer_and_an_opaque_one_all_of_them() {
        let (_dir, root) = root();
        unpack_tar(&*layer(&[Entry::File("a/one"), Entry::File("a/two"), Entry::File("b/three")]), &root).unwrap();
        unpack_tar(&*layer(&[Entry::File("a/.wh.one"), Entry::File("b/.wh..wh..opq")]), &root).unwrap();
        assert!(!root.join("a/one").exists() && root.join("a/two").exists());
        assert!(root.join("b").exists() && !root.join("b/three").exists());
    }

    #[test]
    fn a_program_runs_as_soon_as_it_is_unpacked_whatever_is_started_meanwhile() {
        let program = fs::read("/bin/true").unwrap();
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getegid().as_raw()));
        header.set_size(program.len() as u64);
        let mut builder = Builder::new(Vec::new());
        builder.append_data(&mut header, "true", &program[..]).unwrap();
        let layer = builder.into_inner().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let (_dir, root) = root();
                        unpack_tar(&*layer, &root).unwrap();
                        let mut child =
                            while_nothing_is_written(|| std::process::Command::new(root.join("true")).spawn().unwrap());
                        assert!(child.wait().unwrap().success());
                    }
                });
            }
        });
    }
}
