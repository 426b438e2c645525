//! Keeps unpacked images in a folder, so that each is unpacked once, however many tasks run it. Must not know what a task is.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::tree::remove_tree;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::limits::Limits;

/// How the folder of an unfinished tree begins; a finished one is named by its digest.
const PARTIAL: &str = "partial-";
/// Held as long as a process uses the folder.
const LOCK: &str = "lock";
/// Which start of the machine the trees are of.
const BOOT: &str = "boot";

/// A folder with unpacked images. Images with the same layers share a tree.
///
/// A tree is unpacked beside its final place and then renamed, so a half-made one is never used. After a restart of the
/// machine, all trees are made anew, because nothing forces them to disk.
///
/// ```no_run
/// use std::time::Duration;
///
/// use oci_image::{Image, Limits, RootCache};
///
/// # async fn example(image: Image) -> oci_image::Result<()> {
/// let cache = RootCache::open("state/roots".as_ref(), Limits::default())?;
/// let root = cache.root_of(&image).await?;
/// println!("mount {} read-only", root.path().display());
/// drop(root);
/// cache.remove_unused(Duration::from_hours(1)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RootCache {
    folder: PathBuf,
    limits: Limits,
    known: Mutex<HashMap<Digest, Slot>>,
    _lock: File,
}

/// What is known about one tree.
#[derive(Debug, Default)]
struct Slot {
    /// Held while it is unpacked or removed.
    turn: Arc<tokio::sync::Mutex<()>>,
    used: Weak<Used>,
}

/// Exists as long as somebody uses a tree.
#[derive(Debug)]
struct Used {
    path: PathBuf,
}

/// An unpacked image. The tree stays as long as this value or a clone of it exists. Nobody may change it: mount it
/// read-only, or copy it ([`copy_tree`](crate::copy_tree)).
#[derive(Clone, Debug)]
pub struct UnpackedRoot {
    used: Arc<Used>,
}

impl UnpackedRoot {
    /// The root directory.
    pub fn path(&self) -> &Path {
        &self.used.path
    }
}

impl RootCache {
    /// The cache in this folder, which need not exist. Removes what an interrupted process has left half-made.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be created, read or cleaned, or if another process uses it.
    pub fn open(folder: &Path, limits: Limits) -> Result<Self> {
        let failed = |error: io::Error| Error::io(format!("use {} for unpacked images", folder.display()), error);
        create_private(folder).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        clean(folder).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), limits, known: Mutex::default(), _lock: lock })
    }

    /// The unpacked image. The first call for it unpacks; others wait for that, or find it.
    ///
    /// # Errors
    ///
    /// Those of [`Image::unpack`].
    pub async fn root_of(&self, image: &Image) -> Result<UnpackedRoot> {
        let chain = chain(image);
        let turn = Arc::clone(&self.known().entry(chain.clone()).or_default().turn);
        let _alone = turn.lock().await;
        let path = self.folder.join(chain.hex()).join("root");
        let known = self.known().get(&chain).and_then(|slot| slot.used.upgrade());
        if let Some(used) = known {
            return Ok(UnpackedRoot { used });
        }
        if !path.is_dir() {
            self.unpack(image, &chain).await?;
        }
        // The time of the folder around the tree says when it was asked for.
        let folder = path.parent().unwrap_or(&path);
        let touched = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
        touched.map_err(|error| Error::io(format!("use {}", folder.display()), error))?;
        let used = Arc::new(Used { path });
        self.known().entry(chain).or_default().used = Arc::downgrade(&used);
        Ok(UnpackedRoot { used })
    }

    async fn unpack(&self, image: &Image, chain: &Digest) -> Result<()> {
        let partial = self.folder.join(format!("{PARTIAL}{}", chain.hex()));
        let failed = |error| Error::io(format!("unpack an image to {}", partial.display()), error);
        remove(&partial).await.map_err(failed)?;
        create_private(&partial).map_err(failed)?;
        let unpacked = image.unpack(&partial.join("root"), &self.limits).await;
        let renamed = unpacked.and_then(|_| fs::rename(&partial, self.folder.join(chain.hex())).map_err(failed));
        if renamed.is_err() {
            // Its own failure would hide why the image cannot be unpacked; the next attempt removes it first.
            let _ = remove(&partial).await;
        }
        renamed
    }

    /// Removes the trees that nobody uses and that were not asked for since this time, and returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a tree cannot be removed.
    pub async fn remove_unused(&self, since: Duration) -> Result<usize> {
        let failed = |error| Error::io(format!("remove unpacked images from {}", self.folder.display()), error);
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(chain) = name.to_str().and_then(|name| format!("sha256:{name}").parse::<Digest>().ok()) else {
                continue;
            };
            let turn = Arc::clone(&self.known().entry(chain.clone()).or_default().turn);
            let _alone = turn.lock().await;
            if self.known().get(&chain).is_some_and(|slot| slot.used.strong_count() > 0) {
                continue;
            }
            let path = self.folder.join(chain.hex());
            let asked = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(failed)?;
            if asked.elapsed().is_ok_and(|elapsed| elapsed < since) {
                continue;
            }
            // First out of the way: a tree that is half removed is not used.
            let gone = self.folder.join(format!("{PARTIAL}{}", chain.hex()));
            fs::rename(&path, &gone).map_err(failed)?;
            remove(&gone).await.map_err(failed)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Slot>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the layers over each other: the digest of their digests.
fn chain(image: &Image) -> Digest {
    let all: Vec<&str> = image.diff_ids.iter().map(Digest::as_str).collect();
    Digest::of(all.join(" ").as_bytes())
}

/// Only this user may look into it: files of images may be executable by everybody.
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Removes half-made trees, and all of them after a restart of the machine.
fn clean(folder: &Path) -> io::Result<()> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let same = fs::read(folder.join(BOOT)).is_ok_and(|there| there == boot);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_partial = name.to_str().is_some_and(|name| name.starts_with(PARTIAL));
        let is_tree = name.to_str().is_some_and(|name| format!("sha256:{name}").parse::<Digest>().is_ok());
        if is_partial || (is_tree && !same) {
            remove_tree(&entry.path())?;
        }
    }
    if !same {
        fs::write(folder.join(BOOT), boot)?;
    }
    Ok(())
}

async fn remove(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || remove_tree(&path)).await.map_err(io::Error::other)?
}
