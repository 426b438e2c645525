//! Finds paths inside a root directory as a process sees them whose root it is: links are followed, and none leads out. Each
//! step opens one name and follows no link by itself, so it also holds if somebody changes the tree meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, chmodat, mkdirat, openat, readlinkat, statat};
use rustix::io::Errno;

/// The most links that are followed on the way to one path (as Linux has it).
const LINK_LIMIT: usize = 40;
/// The deepest directory. Each on the way is open, and a process may not open many more.
const DEPTH_LIMIT: usize = 256;
/// The most steps on the way to one path, with those of links.
const STEP_LIMIT: usize = 10_000;

/// A directory in the tree, open, with its real path from the root.
#[derive(Debug)]
pub(super) struct Dir {
    pub fd: OwnedFd,
    pub path: Vec<u8>,
}

/// The root directory of an unpacked image.
///
/// ```no_run
/// use oci_image::RootDir;
///
/// # fn example() -> std::io::Result<()> {
/// let root = RootDir::open("build/root".as_ref())?;
/// // The file of the image, also if it is a link to /usr/lib/passwd.
/// let users = root.read("etc/passwd", 1 << 20)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
}

impl RootDir {
    /// Opens the root directory.
    ///
    /// # Errors
    ///
    /// If it is not a directory or may not be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: openat(CWD, path, directory(), Mode::empty())? })
    }

    /// Reads a file of the image of at most `limit` bytes. Links are followed inside the root.
    ///
    /// # Errors
    ///
    /// If there is no such file, if it is not a regular file, or if it is larger.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut path = path.as_bytes().to_vec();
        for _ in 0..LINK_LIMIT {
            let (parent, name) = split(&path);
            let parent = self.directory(parent, false)?;
            let status = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Symlink => {
                    let target = readlinkat(&parent.fd, name, Vec::new())?.into_bytes();
                    path = if target.starts_with(b"/") { target } else { joined(&parent.path, &target) };
                }
                FileType::RegularFile => {
                    // It cannot become a pipe that blocks: such an open returns at once.
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let file = File::from(openat(&parent.fd, name, flags, Mode::empty())?);
                    let mut content = Vec::new();
                    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
                    if content.len() as u64 > limit {
                        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
                    }
                    return Ok(content);
                }
                _ => return Err(io::Error::other("it is not a regular file")),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Opens a directory. Links are followed inside the root; `..` of the root is the root. With `create`, what is missing
    /// is created, and what is not a directory is replaced.
    pub(super) fn directory(&self, path: &[u8], create: bool) -> io::Result<Dir> {
        let mut stack: Vec<(OwnedFd, Vec<u8>)> = Vec::new();
        let mut steps: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let (mut links, mut taken) = (0, 0);
        while let Some(step) = steps.pop_front() {
            taken += 1;
            if taken > STEP_LIMIT || stack.len() > DEPTH_LIMIT {
                return Err(Errno::NAMETOOLONG.into());
            }
            match &step[..] {
                b"" | b"." => continue,
                b".." => {
                    stack.pop();
                    continue;
                }
                _ => {}
            }
            let at = stack.last().map_or(self.fd.as_fd(), |(fd, _)| fd.as_fd());
            match openat(at, &step[..], directory(), Mode::empty()) {
                Ok(next) => stack.push((next, step)),
                Err(Errno::NOENT) if create => {
                    if let Some(count) = left_again(&steps) {
                        steps.drain(..count);
                    } else {
                        make(at, &step)?;
                        steps.push_front(step);
                    }
                }
                // A link, or no directory.
                Err(error @ (Errno::LOOP | Errno::NOTDIR)) => match readlinkat(at, &step[..], Vec::new()) {
                    Ok(target) => {
                        links += 1;
                        if links > LINK_LIMIT {
                            return Err(Errno::LOOP.into());
                        }
                        let target = target.as_bytes();
                        if target.starts_with(b"/") {
                            stack.clear();
                        }
                        for part in target.split(|byte| *byte == b'/').rev() {
                            steps.push_front(part.to_vec());
                        }
                    }
                    Err(Errno::INVAL) if create => {
                        rustix::fs::unlinkat(at, &step[..], AtFlags::empty())?;
                        steps.push_front(step);
                    }
                    Err(_) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
        let path = stack.iter().map(|(_, name)| &name[..]).collect::<Vec<_>>().join(&b'/');
        let fd = match stack.pop() {
            Some((fd, _)) => fd,
            None => self.fd.try_clone()?,
        };
        Ok(Dir { fd, path })
    }
}

/// How many steps lead into a directory that does not exist and out of it again: it need not be created for them.
fn left_again(steps: &VecDeque<Vec<u8>>) -> Option<usize> {
    let mut depth = 1;
    for (index, step) in steps.iter().enumerate() {
        match &step[..] {
            b"" | b"." => {}
            b".." if depth == 1 => return Some(index + 1),
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    None
}

/// A directory is opened only to find names in it, which needs no permission to read it.
pub(super) fn directory() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Creates a directory that no layer describes.
fn make(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    mkdirat(at, name, Mode::from_raw_mode(0o755))?;
    set_mode(openat(at, name, directory(), Mode::empty())?.as_fd(), 0o755)
}

/// Changes the mode of what is open, also if it is open only as a path.
pub(super) fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// What is at a name, without following a link; `None` if there is nothing.
pub(super) fn status(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

/// Parent and last name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// A name in a directory, as a path from the root.
pub(super) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
