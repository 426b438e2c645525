//! Removes and copies whole trees that images and their programs have made: with directories that their owner may not
//! enter, of any depth, and with links that lead anywhere. No link is followed, and nothing outside of the tree is touched.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir as Listing, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, chownat,
    fchown, fstat, futimens, ioctl_ficlone, linkat, mkdirat, openat, readlinkat, renameat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::dir::{directory, is_directory, joined, set_mode, status};
use super::writing;
use crate::text::clean_bytes;

/// How deep directories are visited where they are; what is deeper is moved up first.
const DEPTH: usize = 64;

/// Removes a directory, or whatever is there, with everything in it, also if directories in it are locked by their modes.
/// Succeeds if nothing is there.
///
/// # Errors
///
/// If something cannot be removed, for example because it belongs to somebody else, or is a mount point.
///
/// ```
/// # fn example() -> std::io::Result<()> {
/// oci_image::remove_tree("build/root".as_ref())
/// # }
/// ```
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(name), parent) = (path.file_name(), path.parent()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
    };
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The way to it may lead through links; only the last name may not be one.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => remove_at(parent.as_fd(), name.as_bytes()),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a name in a directory, with everything in it.
pub(super) fn remove_at(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let Some(there) = status(at, name)? else { return Ok(()) };
    if !is_directory(&there) {
        return Ok(unlinkat(at, name, AtFlags::empty())?);
    }
    if there.st_dev != fstat(at)?.st_dev {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is a mount point"));
    }
    let top = openat(at, name, directory(), Mode::empty())?;
    clear(top.as_fd(), top.as_fd(), 0, &mut 0)?;
    Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
}

/// Empties a directory. What is too deep in it goes up to `top`, under a number.
fn clear(top: BorrowedFd<'_>, fd: BorrowedFd<'_>, depth: usize, number: &mut u64) -> io::Result<()> {
    let device = fstat(fd)?.st_dev;
    // Removing names while they are listed may hide others, so the listing is repeated until it is empty.
    loop {
        let mut found = false;
        for entry in Listing::read_from(unlocked(fd)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Some(there) = status(fd, name)? else { continue };
            found = true;
            if !is_directory(&there) {
                unlinkat(fd, name, AtFlags::empty()).map_err(|error| unremovable(name, error))?;
                continue;
            }
            if there.st_dev != device {
                return Err(unremovable(name, "it is a mount point"));
            }
            let next = openat(fd, name, directory(), Mode::empty())?;
            if depth < DEPTH {
                clear(top, next.as_fd(), depth + 1, number)?;
                unlinkat(fd, name, AtFlags::REMOVEDIR).map_err(|error| unremovable(name, error))?;
            } else {
                // To move a directory, its owner must be able to write to it.
                unlocked(next.as_fd())?;
                move_up(top, fd, name, number).map_err(|error| unremovable(name, error))?;
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Moves a directory to the top, where the next listing finds it.
fn move_up(top: BorrowedFd<'_>, fd: BorrowedFd<'_>, name: &[u8], number: &mut u64) -> Result<(), Errno> {
    loop {
        *number += 1;
        match renameat(fd, name, top, format!(".removed-{number}")) {
            // The tree has this name too.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            moved => return moved,
        }
    }
}

fn unremovable(name: &[u8], error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot remove {}: {error}", clean_bytes(name)))
}

/// Opens a directory to list it; if its mode forbids that to its owner, changes the mode.
pub(super) fn unlocked(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = fstat(fd)?.st_mode & 0o7777;
    if mode & 0o700 != 0o700 {
        // Not allowed for a directory of somebody else; then the next step says what is wrong.
        let changed = set_mode(fd, mode | 0o700);
        match changed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(openat(fd, ".", flags, Mode::empty())?)
}

/// Copies a tree to a path where nothing is. Files share their blocks with the original where the file system can do that
/// (btrfs, XFS), hard links stay links to each other, and modes, times and (for root) owners are kept. Devices, pipes and
/// sockets are left out.
///
/// # Errors
///
/// If something cannot be read or written. What is copied until then stays.
///
/// ```
/// # fn example() -> std::io::Result<()> {
/// oci_image::copy_tree("cache/root".as_ref(), "task/root".as_ref())
/// # }
/// ```
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    // Directories that their owner cannot read are unlocked meanwhile: no other copy may take those modes for theirs.
    let _alone = COPYING.lock().unwrap_or_else(PoisonError::into_inner);
    mkdirat(CWD, to, Mode::RWXU)?;
    let source = openat(CWD, from, directory(), Mode::empty())?;
    let target = openat(CWD, to, directory(), Mode::empty())?;
    let keeps_owners = rustix::process::geteuid().is_root();
    Copy { root: target.as_fd(), keeps_owners, links: HashMap::new() }.directory(source.as_fd(), target.as_fd(), b"", 0)
}

static COPYING: Mutex<()> = Mutex::new(());

struct Copy<'a> {
    root: BorrowedFd<'a>,
    keeps_owners: bool,
    /// Files with several names, by device and number, as paths in the copy.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// The deepest tree that is copied; no image has one that is deeper.
const COPY_DEPTH: usize = 300;

impl Copy<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &[u8], depth: usize) -> io::Result<()> {
        if depth > COPY_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let own = fstat(from)?;
        let listing = unlocked(from)?;
        let copied = self.entries(&listing, from, to, path, depth);
        if own.st_mode & 0o700 != 0o700 {
            // Somebody else's directory was not unlocked.
            let locked = set_mode(from, own.st_mode & 0o7777);
            locked
                .or_else(|error| if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) })?;
        }
        copied?;
        if self.keeps_owners {
            chownat(to, "", Some(Uid::from_raw(own.st_uid)), Some(Gid::from_raw(own.st_gid)), AtFlags::EMPTY_PATH)?;
        }
        set_mode(to, own.st_mode & 0o7777)
    }

    fn entries(
        &mut self,
        listing: &OwnedFd,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        for entry in Listing::read_from(listing)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Some(there) = status(from, name)? else { continue };
            let path = joined(path, name);
            let copied = match FileType::from_raw_mode(there.st_mode) {
                FileType::Directory => {
                    mkdirat(to, name, Mode::RWXU)?;
                    let (from, to) = (
                        openat(from, name, directory(), Mode::empty())?,
                        openat(to, name, directory(), Mode::empty())?,
                    );
                    self.directory(from.as_fd(), to.as_fd(), &path, depth + 1)
                }
                FileType::Symlink => self.symlink(from, to, name, &there),
                FileType::RegularFile => self.file(from, to, name, &path, &there),
                _ => Ok(()),
            };
            copied.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", clean_bytes(name))))?;
        }
        Ok(())
    }

    fn symlink(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8], there: &Stat) -> io::Result<()> {
        symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
        if self.keeps_owners {
            let (uid, gid) = (Uid::from_raw(there.st_uid), Gid::from_raw(there.st_gid));
            chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(utimensat(to, name, &times(there), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        there: &Stat,
    ) -> io::Result<()> {
        if there.st_nlink > 1 {
            let key = (there.st_dev, there.st_ino);
            if let Some(first) = self.links.get(&key) {
                return Ok(linkat(self.root, &first[..], to, name, AtFlags::empty())?);
            }
            self.links.insert(key, path.to_vec());
        }
        let mut source = File::from(readable(from, name, there)?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        writing(|| {
            let mut target = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
            if ioctl_ficlone(&target, &source).is_err() {
                // Not every file system shares blocks.
                io::copy(&mut source, &mut target)?;
            }
            if self.keeps_owners {
                fchown(&target, Some(Uid::from_raw(there.st_uid)), Some(Gid::from_raw(there.st_gid)))?;
            }
            rustix::fs::fchmod(&target, Mode::from_raw_mode(there.st_mode & 0o7777))?;
            Ok(futimens(&target, &times(there))?)
        })
    }
}

/// Opens a file to read it, also if its mode forbids that to its owner.
fn readable(at: BorrowedFd<'_>, name: &[u8], there: &Stat) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let path = openat(at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let mode = there.st_mode & 0o7777;
            set_mode(path.as_fd(), mode | 0o400)?;
            let opened = openat(at, name, flags, Mode::empty());
            set_mode(path.as_fd(), mode)?;
            Ok(opened?)
        }
        opened => Ok(opened?),
    }
}

fn times(status: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: status.st_mtime, tv_nsec: status.st_mtime_nsec.cast_signed() },
    }
}
