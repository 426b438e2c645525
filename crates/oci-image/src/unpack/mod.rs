//! Unpacks images into folders: the layers over each other, as the OCI image specification says
//! (<https://github.com/opencontainers/image-spec/blob/main/layer.md>). Layers are hostile: nothing outside of the folder is
//! read, written or removed. Must not know who runs what is unpacked.

mod blobs;
mod dir;
mod layer;
mod roots;
mod tree;

use std::io::{self, Read};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

use crate::compression::decompressed;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::image::Image;
use crate::limits::{Limited, Limits};

pub use dir::RootDir;
pub use roots::{RootCache, UnpackedRoot};
pub use tree::{copy_tree, remove_tree};

/// What [`Image::unpack`] did. A caller can tell from it what a user should know: what was left out, and whether files
/// belong to other users than the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// The files, directories and links.
    pub entries: u64,
    /// The bytes of the files.
    pub bytes: u64,
    /// What was left out, such as device nodes: at most some dozen paths, each with the reason.
    pub left_out: Vec<String>,
    /// How many entries were left out.
    pub left_out_count: u64,
    /// Whether all files belong to the users that the image names. Only root, or root of a user namespace that has these
    /// users, may give files away; otherwise they belong to the user of this process.
    pub keeps_owners: bool,
}

impl Image {
    /// Unpacks the layers, lowest first, into `root`, which must be an empty directory or not exist. If an error occurs,
    /// what is unpacked until then stays; [`remove_tree`] removes it.
    ///
    /// * Every layer is read as a stream, in bounded memory, whatever its size is, and compared with its digest.
    /// * Whiteouts hide entries of lower layers, whatever their place in their own layer is.
    /// * Paths are resolved inside `root`: a link to `/run` leads to `run` in it.
    /// * Modes are kept without set-user-ID and set-group-ID bits. Those of directories come last, so that an ordinary user
    ///   can unpack directories without write permission.
    /// * Device nodes and pipes are left out, and so are extended attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] if a layer is damaged, is not what its digest says, leads out of the root, or exceeds a limit;
    /// [`Error::Io`] if the root cannot be created.
    ///
    /// ```no_run
    /// use oci_image::{Architecture, Image, Limits};
    ///
    /// # async fn example() -> oci_image::Result<()> {
    /// let image = Image::from_archive("build/app.tar".as_ref(), Architecture::Amd64).await?;
    /// let unpacked = image.unpack("build/root".as_ref(), &Limits::default()).await?;
    /// println!("{} files, {} bytes", unpacked.entries, unpacked.bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unpack(&self, root: &Path, limits: &Limits) -> Result<Unpacked> {
        let (image, root, limits) = (self.clone(), root.to_owned(), limits.clone());
        let runtime = tokio::runtime::Handle::current();
        let work = tokio::task::spawn_blocking(move || image.unpack_with(&root, &limits, &runtime));
        work.await.map_err(|error| Error::io("unpack an image", io::Error::other(error)))?
    }

    fn unpack_with(&self, root: &Path, limits: &Limits, runtime: &tokio::runtime::Handle) -> Result<Unpacked> {
        let failed = |error| Error::io(format!("create {}", root.display()), error);
        std::fs::create_dir_all(root).map_err(failed)?;
        let mut unpacker = layer::Unpacker::new(root, limits.clone()).map_err(failed)?;
        let name = self.digest().as_str();
        for (number, (blob, diff_id)) in (1..).zip(self.layers.iter().zip(&self.diff_ids)) {
            let layer = |source| {
                Error::unusable(name, ImageError::of_io(source, |source| ImageError::Layer { layer: number, source }))
            };
            let content = decompressed(blobs::BlobReader::new(blob.clone(), runtime.clone())).map_err(layer)?;
            let content = Limited::new(content, "an unpacked layer", limits.expanded(blob.size));
            let found = unpacker.layer(content).map_err(layer)?;
            if found != *diff_id {
                let (expected, found) = (Box::new(diff_id.clone()), Box::new(found));
                let part = format!("the content of layer {number}");
                return Err(Error::unusable(name, ImageError::DigestMismatch { part, expected, found }));
            }
        }
        unpacker.finish().map_err(failed)
    }
}

/// Held shared to write files, and exclusively to start a process.
static WRITING: RwLock<()> = RwLock::new(());

/// Starts a process while this crate has no file of an image open for writing.
///
/// A new process has the open files of this process until its program runs. If a program of an image is among them and
/// open for writing, Linux refuses to execute that program ("text file busy"). A program that unpacks images in one thread
/// and starts processes in another starts all of them through this function.
///
/// ```
/// let child = oci_image::while_nothing_is_written(|| std::process::Command::new("true").spawn());
/// # child.unwrap().wait().unwrap();
/// ```
pub fn while_nothing_is_written<T>(start: impl FnOnce() -> T) -> T {
    let _alone = WRITING.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// Writes a file while no process is started through [`while_nothing_is_written`].
fn writing<T>(write: impl FnOnce() -> T) -> T {
    let _shared = WRITING.read().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// Hashes what it reads.
struct Hashed<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    fn new(reader: R) -> Self {
        Self { reader, hash: Sha256::new() }
    }

    /// The digest of everything, after what is left is read.
    fn digest(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_hash(self.hash.finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
