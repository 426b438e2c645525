//! Applies one layer after the other to a root directory.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir as Listing, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchown, futimens,
    linkat, mkdirat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::dir::{Dir, RootDir, directory, is_directory, joined, set_mode, split, status};
use super::tree::{remove_at, unlocked};
use super::{Hashed, Unpacked, writing};
use crate::digest::Digest;
use crate::limits::{Limits, OverLimit};
use crate::tar_stream::{Entry, Kind, Stream, TarStream};
use crate::text::clean_bytes;

/// Hides an entry of the lower layers.
const WHITEOUT: &[u8] = b".wh.";
/// Hides all entries of the lower layers in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of the storage driver that whiteouts come from; container runtimes ignore them.
const METADATA: &[u8] = b".wh..wh.";
/// The most paths that are remembered as left out.
const NOTES: usize = 20;
/// The bytes of all paths of directories whose modes wait for the end.
const WAITING_LIMIT: u64 = 64 * 1024 * 1024;
/// Of a directory: permissions, and the bit that only lets owners remove files (as of `/tmp`).
const MODE: u32 = 0o1777;

/// Unpacks the layers of one image.
pub(super) struct Unpacker {
    root: RootDir,
    limits: Limits,
    done: Unpacked,
    /// The modes of directories that their owner could not fill.
    waiting: BTreeMap<Vec<u8>, u32>,
    waiting_bytes: u64,
    gives_away: bool,
    layer: Upper,
    /// The parent of the last entry, by its path in the archive.
    parent: Option<(Vec<u8>, Dir)>,
    buffer: Vec<u8>,
}

/// What the current layer has put into which directory, as hashes: whiteouts spare it. A few million names fit into memory.
#[derive(Default)]
struct Upper {
    names: HashSet<u64>,
    hasher: RandomState,
}

impl Upper {
    fn key(&self, directory: &Stat, name: &[u8]) -> u64 {
        self.hasher.hash_one((directory.st_dev, directory.st_ino, name))
    }

    fn has(&self, directory: &Stat, name: &[u8]) -> bool {
        self.names.contains(&self.key(directory, name))
    }
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// The error about an entry; that of a limit stays as it is.
fn at(path: &[u8], error: io::Error) -> io::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
        return error;
    }
    io::Error::new(error.kind(), format!("its entry {}: {error}", clean_bytes(path)))
}

/// A path without `.` and `..`, relative to the root; an error if it leads out.
fn plain(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(|| refused("it leads out of the image"))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

impl Unpacker {
    pub fn new(root: &Path, limits: Limits) -> io::Result<Self> {
        let root = RootDir::open(root)?;
        Ok(Self {
            root,
            limits,
            done: Unpacked { keeps_owners: true, ..Unpacked::default() },
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            gives_away: rustix::process::geteuid().is_root(),
            layer: Upper::default(),
            parent: None,
            buffer: vec![0; 128 * 1024],
        })
    }

    /// Unpacks a layer over those below, and returns the digest of its content.
    pub fn layer(&mut self, content: impl Read) -> io::Result<Digest> {
        self.layer = Upper::default();
        let limits = self.limits.clone();
        let mut archive = TarStream::new(Stream(Hashed::new(content)), &limits);
        while let Some(entry) = archive.next()? {
            self.done.entries += 1;
            if self.done.entries > limits.entries {
                return Err(OverLimit { what: "the layers", limit: limits.entries, unit: "files" }.into());
            }
            let made = plain(&entry.path).and_then(|path| self.entry(&entry, &path, &mut archive));
            made.map_err(|error| at(&entry.path, error))?;
        }
        self.parent = None;
        archive.into_inner().0.digest()
    }

    /// Gives the directories their modes, the deepest first.
    pub fn finish(mut self) -> io::Result<Unpacked> {
        for (path, mode) in self.waiting.iter().rev() {
            // Exactly this directory: what a link in the path leads to has its own mode.
            let directory = self.root.directory(path, false)?;
            if directory.path == *path {
                set_mode(directory.fd.as_fd(), *mode)?;
            }
        }
        if !self.gives_away {
            self.done.keeps_owners = false;
        }
        Ok(self.done)
    }

    fn entry<R: Read>(&mut self, entry: &Entry, path: &[u8], archive: &mut TarStream<'_, Stream<R>>) -> io::Result<()> {
        let (parent_path, name) = split(path);
        if name.starts_with(METADATA) && name != OPAQUE {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(parent_path, name, hidden);
        }
        match entry.kind {
            // The root itself.
            Kind::Directory if name.is_empty() => return self.describe_root(entry),
            _ if name.is_empty() => return Err(refused("it replaces the root")),
            Kind::Unknown => {
                self.leave_out(path, "of an unknown type");
                return Ok(());
            }
            _ => {}
        }
        let parent = match self.parent.take() {
            Some((known, parent)) if known == parent_path => parent,
            _ => self.root.directory(parent_path, true)?,
        };
        let made = self.make(entry, path, &parent, name, archive);
        self.mark(&parent, name)?;
        // What was replaced may be on the way to it.
        if matches!(made, Ok(false)) {
            self.parent = Some((parent_path.to_vec(), parent));
        }
        made.map(drop)
    }

    /// Makes an entry; whether that changes what other paths lead to.
    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        parent: &Dir,
        name: &[u8],
        archive: &mut TarStream<'_, Stream<R>>,
    ) -> io::Result<bool> {
        let at = parent.fd.as_fd();
        let there = status(at, name)?;
        if entry.kind == Kind::HardLink {
            return self.hard_link(entry, path, parent, name, there.as_ref());
        }
        let stays = entry.kind == Kind::Directory && there.as_ref().is_some_and(is_directory);
        let replaces = there.is_some() && !stays;
        if replaces {
            self.forget(&joined(&parent.path, name));
            remove_at(at, name)?;
        }
        match entry.kind {
            Kind::Directory => {
                if !stays {
                    mkdirat(at, name, Mode::RWXU)?;
                }
                let directory = openat(at, name, directory(), Mode::empty())?;
                self.give_away(at, name, entry)?;
                self.directory_mode(&joined(&parent.path, name), directory.as_fd(), entry.mode & MODE)?;
            }
            Kind::File => self.file(entry, at, name, archive)?,
            Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(refused("it is a link to nothing"));
                }
                symlinkat(&entry.link[..], at, name)?;
                self.give_away(at, name, entry)?;
                utimensat(at, name, &modified(entry), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            _ => self.leave_out(path, "a device or a pipe"),
        }
        Ok(replaces)
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        at: BorrowedFd<'_>,
        name: &[u8],
        archive: &mut TarStream<'_, Stream<R>>,
    ) -> io::Result<()> {
        let limit = self.limits.unpacked_bytes;
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > limit {
            return Err(OverLimit::bytes("the files of all layers", limit).into());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        writing(|| {
            let mut file = File::from(openat(at, name, flags, Mode::RUSR | Mode::WUSR)?);
            let whole = [(0, entry.size)];
            for (offset, length) in entry.sparse.as_deref().unwrap_or(&whole) {
                if entry.sparse.is_some() {
                    file.seek(SeekFrom::Start(*offset))?;
                }
                let mut left = *length;
                while left > 0 {
                    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                    let read = archive.read(&mut self.buffer[..wanted])?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    file.write_all(&self.buffer[..read])?;
                    left -= read as u64;
                }
            }
            if entry.sparse.is_some() {
                file.set_len(entry.size)?;
            }
            self.give_away_file(&file, entry)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o777))?;
            Ok(futimens(&file, &modified(entry))?)
        })
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        path: &[u8],
        parent: &Dir,
        name: &[u8],
        there: Option<&Stat>,
    ) -> io::Result<bool> {
        let target = plain(&entry.link)?;
        let (target_parent, target_name) = split(&target);
        let missing = || refused(format!("it is a link to {}, which is not there", clean_bytes(&entry.link)));
        let from = self.root.directory(target_parent, false).map_err(|_| missing())?;
        let linked = status(from.fd.as_fd(), target_name)?.ok_or_else(missing)?;
        if is_directory(&linked) {
            return Err(refused("it is a hard link to a directory"));
        }
        let at = parent.fd.as_fd();
        let Some(there) = there else {
            linkat(&from.fd, target_name, at, name, AtFlags::empty())?;
            return Ok(false);
        };
        if (there.st_dev, there.st_ino) == (linked.st_dev, linked.st_ino) {
            return Ok(false);
        }
        // The target may be inside of what is replaced: keep it under another name meanwhile.
        let kept = format!(".kept-{:016x}", self.layer.hasher.hash_one(path)).into_bytes();
        linkat(&from.fd, target_name, at, &kept[..], AtFlags::empty())?;
        self.forget(&joined(&parent.path, name));
        remove_at(at, name)?;
        rustix::fs::renameat(at, &kept[..], at, name)?;
        Ok(true)
    }

    fn describe_root(&mut self, entry: &Entry) -> io::Result<()> {
        let root = self.root.directory(b"", false)?;
        if self.gives_away {
            let owner = owner(entry);
            let given = chownat(&root.fd, "", owner.0, owner.1, AtFlags::EMPTY_PATH);
            self.given_away(given)?;
        }
        self.directory_mode(b"", root.fd.as_fd(), entry.mode & MODE)
    }

    /// Sets the mode of a directory, or remembers it for the end if the directory could not be filled with it.
    fn directory_mode(&mut self, path: &[u8], fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        set_mode(fd, mode | 0o700)?;
        if mode & 0o700 == 0o700 {
            if self.waiting.remove(path).is_some() {
                self.waiting_bytes -= path.len() as u64;
            }
        } else if self.waiting.insert(path.to_vec(), mode).is_none() {
            self.waiting_bytes += path.len() as u64;
            if self.waiting_bytes > WAITING_LIMIT {
                return Err(OverLimit::bytes("the paths of directories without permissions", WAITING_LIMIT).into());
            }
        }
        Ok(())
    }

    /// Forgets the modes of the directories at and below a path that is removed.
    fn forget(&mut self, path: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let below = joined(path, b"");
        let gone = |other: &[u8]| other == path || other.starts_with(&below);
        let waiting_bytes = &mut self.waiting_bytes;
        self.waiting.retain(|other, _| {
            let stays = !gone(other);
            if !stays {
                *waiting_bytes -= other.len() as u64;
            }
            stays
        });
    }

    fn give_away(&mut self, at: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> io::Result<()> {
        if !self.gives_away {
            return Ok(());
        }
        let (uid, gid) = owner(entry);
        let given = chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        self.given_away(given)
    }

    fn give_away_file(&mut self, file: &File, entry: &Entry) -> io::Result<()> {
        if !self.gives_away {
            return Ok(());
        }
        let (uid, gid) = owner(entry);
        let given = fchown(file, uid, gid);
        self.given_away(given)
    }

    /// A user that this user namespace does not have is no error.
    fn given_away(&mut self, given: Result<(), Errno>) -> io::Result<()> {
        match given {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::INVAL) => {
                self.done.keeps_owners = false;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leave_out(&mut self, path: &[u8], what: &str) {
        self.done.left_out_count += 1;
        if self.done.left_out.len() < NOTES {
            self.done.left_out.push(format!("{} ({what})", clean_bytes(path)));
        }
    }

    /// Remembers that the current layer has this entry, and so the directories on its way.
    fn mark(&mut self, parent: &Dir, name: &[u8]) -> io::Result<()> {
        let mut directory = rustix::fs::fstat(&parent.fd)?;
        let (mut path, mut name) = (&parent.path[..], name);
        loop {
            let key = self.layer.key(&directory, name);
            // If it is known, so is its way.
            if !self.layer.names.insert(key) || path.is_empty() {
                return Ok(());
            }
            let (above, last) = split(path);
            directory = rustix::fs::fstat(&self.root.directory(above, false)?.fd)?;
            (path, name) = (above, last);
        }
    }

    fn whiteout(&mut self, parent_path: &[u8], name: &[u8], hidden: &[u8]) -> io::Result<()> {
        self.parent = None;
        let parent = match self.root.directory(parent_path, false) {
            Ok(parent) => parent,
            // Nothing is there to be hidden.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if name == OPAQUE {
            return self.remove_lower_in(&parent);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused("it hides nothing"));
        }
        self.remove_lower(&parent, &rustix::fs::fstat(&parent.fd)?, hidden)
    }

    /// Removes what lower layers have under a name.
    fn remove_lower(&mut self, parent: &Dir, parent_status: &Stat, name: &[u8]) -> io::Result<()> {
        let at = parent.fd.as_fd();
        let Some(there) = status(at, name)? else { return Ok(()) };
        let path = joined(&parent.path, name);
        if !self.layer.has(parent_status, name) {
            self.forget(&path);
            return remove_at(at, name);
        }
        if is_directory(&there) {
            let fd = openat(at, name, directory(), Mode::empty())?;
            self.remove_lower_in(&Dir { fd, path })?;
        }
        Ok(())
    }

    fn remove_lower_in(&mut self, directory: &Dir) -> io::Result<()> {
        let own = rustix::fs::fstat(&directory.fd)?;
        let names = names(directory.fd.as_fd())?;
        names.iter().try_for_each(|name| self.remove_lower(directory, &own, name))
    }
}

/// The names in a directory.
fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Listing::read_from(unlocked(directory)?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// User and group; one that Linux cannot have stays that of this process.
fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    (id(entry.uid).map(Uid::from_raw), id(entry.gid).map(Gid::from_raw))
}

fn modified(entry: &Entry) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: entry.mtime, tv_nsec: 0 },
    }
}
