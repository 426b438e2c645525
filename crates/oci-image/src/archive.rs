//! Reads an image from a file: an OCI layout, or what `docker save` writes, as a tar file that may be gzipped. Unpacked data
//! goes only to files without a name, which the system deletes. Must not know where the image goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::Deserialize;
use tar::{Archive, EntryType};

use crate::architecture::Architecture;
use crate::assemble::{PartSource, Root, assemble};
use crate::content::{Blob, BlobSource};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::external::{DOCUMENT_LIMIT, check_config, check_size};
use crate::file_part::FilePart;
use crate::image::{GZIP_UNKNOWN_SYSTEM, Image};
use crate::manifest::Manifest;
use crate::media_type;

/// The largest unpacked archive: what a Fargate task has for an image by default.
const ARCHIVE_LIMIT: u64 = 20 * 1024 * 1024 * 1024;
/// The most files of an archive; an image has some dozens.
const ENTRY_LIMIT: usize = 10_000;
/// The longest chain of links from one file to another.
const LINK_LIMIT: usize = 8;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

impl Image {
    /// Reads the image for `architecture` from an archive and checks every digest in it. The archive is an OCI layout or
    /// what `docker save` writes, as a tar file that may be gzipped. The image keeps the file open and reads the layers
    /// from it.
    ///
    /// # Errors
    ///
    /// [`Error::Unusable`] if the file does not exist, is not such an archive, is damaged, or holds no image that would
    /// run on `architecture`.
    ///
    /// ```no_run
    /// use oci_image::{Architecture, Image};
    ///
    /// # async fn example() -> oci_image::Result<()> {
    /// let image = Image::from_archive("build/app.tar".as_ref(), Architecture::Amd64).await?;
    /// println!("{} ({} bytes)", image.digest(), image.size());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_archive(path: &Path, architecture: Architecture) -> Result<Self> {
        let path = path.to_owned();
        // Reading and hashing may take seconds: use a thread that may block.
        let contents = Arc::new(blocking(move || Contents::read(&path)).await?);
        if contents.part("index.json").is_some() {
            let root = Root { bytes: contents.small("index.json")?, media_type: media_type::INDEX.to_owned() };
            return assemble(&contents.name, &contents, root, architecture).await;
        }
        blocking(move || contents.docker_save(architecture)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::io("read an image archive", io::Error::other(error)))?
}

/// The files of an archive by their names, each a part of the archive's file.
struct Contents {
    name: String,
    files: BTreeMap<PathBuf, FilePart>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let unusable = |reason| Error::unusable(&name, reason);
        let file = File::open(path).map_err(|error| unusable(ImageError::CannotOpen(error)))?;
        let whole = unzipped(file).map_err(|error| unusable(ImageError::Unreadable(error)))?;
        let mut contents = Self { name: name.clone(), files: BTreeMap::new(), links: BTreeMap::new() };
        contents.list(&whole).map_err(|error| unusable(ImageError::NotTar(error)))?;
        Ok(contents)
    }

    fn unusable(&self, reason: ImageError) -> Error {
        Error::unusable(&self.name, reason)
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> Error {
        self.unusable(ImageError::UnreadableFile { path: path.display().to_string(), source })
    }

    fn damaged(&self, part: &Path, expected: &Digest, found: Digest) -> Error {
        let (expected, found) = (Box::new(expected.clone()), Box::new(found));
        self.unusable(ImageError::DigestMismatch { part: part.display().to_string(), expected, found })
    }

    /// Records where each file is, without reading it.
    fn list(&mut self, whole: &FilePart) -> io::Result<()> {
        let mut archive = Archive::new(BufReader::new(Seekable { part: whole.clone(), at: 0 }));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let Some(path) = plain(&entry.path()?) else { continue };
            if self.files.len() + self.links.len() >= ENTRY_LIMIT {
                return Err(io::Error::other(format!("it holds more than {ENTRY_LIMIT} files")));
            }
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let (offset, size) = (entry.raw_file_position(), entry.size());
                    if offset.checked_add(size).is_none_or(|end| end > whole.size) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.files.insert(path, FilePart { offset, size, ..whole.clone() });
                }
                // Older `docker save` writes a layer that occurs twice as a link to the first.
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = entry.link_name()?.unwrap_or_default().into_owned();
                    let from =
                        if kind == EntryType::Symlink { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
                    if let Some(target) = joined(from, &target) {
                        self.links.insert(path, target);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn part(&self, path: impl AsRef<Path>) -> Option<&FilePart> {
        let mut path = path.as_ref();
        for _ in 0..LINK_LIMIT {
            match self.links.get(path) {
                Some(target) => path = target,
                None => return self.files.get(path),
            }
        }
        None
    }

    fn require(&self, path: &Path) -> Result<&FilePart> {
        let missing = || self.unusable(ImageError::MissingFile { path: path.display().to_string() });
        self.part(path).ok_or_else(missing)
    }

    /// A document, whole.
    fn small(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let part = self.require(path)?;
        check_size(&path.display().to_string(), part.size, DOCUMENT_LIMIT).map_err(|reason| self.unusable(reason))?;
        let mut bytes = Vec::new();
        part.reader().read_to_end(&mut bytes).map_err(|error| self.unreadable(path, error))?;
        Ok(bytes)
    }

    /// A blob of an OCI layout, whose content is what its digest says.
    fn blob(&self, descriptor: &Descriptor) -> Result<&FilePart> {
        let path = Path::new("blobs/sha256").join(descriptor.digest.hex());
        let part = self.require(&path)?;
        let (digest, size) = Digest::of_reader(part.reader()).map_err(|error| self.unreadable(&path, error))?;
        if (&digest, size) == (&descriptor.digest, descriptor.size) {
            return Ok(part);
        }
        Err(self.damaged(&path, &descriptor.digest, digest))
    }

    /// An image as `docker save` wrote it before it wrote OCI layouts (Docker 25): layers by path, mostly not compressed.
    fn docker_save(&self, architecture: Architecture) -> Result<Image> {
        if self.part("manifest.json").is_none() {
            return Err(self.unusable(ImageError::NoImage));
        }
        let saved: Vec<Saved> = serde_json::from_slice(&self.small("manifest.json")?)
            .map_err(|source| self.unusable(ImageError::InvalidDocument { document: "manifest.json", source }))?;
        let [saved] = &saved[..] else {
            return Err(self.unusable(ImageError::SeveralImages { count: saved.len() }));
        };
        let config = self.small(self.inside(&saved.config)?)?;
        let usable = check_config(&self.name, &config, architecture, saved.layers.len())?;
        let mut layers = Vec::new();
        for (path, diff_id) in saved.layers.iter().zip(&usable.diff_ids) {
            layers.push(self.saved_layer(&self.inside(path)?, diff_id)?);
        }
        let config = Blob::new(config);
        let manifest = Manifest::of_image(&config, &layers);
        let manifest = manifest.map_err(|error| Error::io(format!("write the manifest of {}", self.name), error))?;
        Ok(Image { config, layers, manifest, runs_as_root: usable.runs_as_root, attachments: Vec::new() })
    }

    /// A path that `manifest.json` names.
    fn inside(&self, path: &str) -> Result<PathBuf> {
        plain(Path::new(path)).ok_or_else(|| self.unusable(ImageError::OutsidePath { path: path.to_owned() }))
    }

    /// A layer, compressed if it is not yet, because every task pulls it.
    fn saved_layer(&self, path: &Path, diff_id: &Digest) -> Result<Blob> {
        let part = self.require(path)?;
        let broken = |error| self.unreadable(path, error);
        let is_gzip = starts_with(part, &GZIP_MAGIC).map_err(broken)?;
        let (content, found) = if is_gzip {
            let unzipped = GzDecoder::new(BufReader::new(part.reader())).take(ARCHIVE_LIMIT);
            (part.clone(), Digest::of_reader(unzipped).map_err(broken)?.0)
        } else {
            compress(part).map_err(broken)?
        };
        if found != *diff_id {
            return Err(self.damaged(path, diff_id, found));
        }
        let (digest, size) = Digest::of_reader(content.reader()).map_err(broken)?;
        Ok(Blob::at(Arc::new(content), digest, size))
    }
}

impl PartSource for Arc<Contents> {
    async fn read(&self, descriptor: &Descriptor, _: bool) -> Result<Vec<u8>> {
        check_size("manifest", descriptor.size, DOCUMENT_LIMIT).map_err(|reason| self.unusable(reason))?;
        self.blob(descriptor)?;
        self.small(Path::new("blobs/sha256").join(descriptor.digest.hex()))
    }

    async fn layer(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>> {
        let (contents, descriptor) = (Self::clone(self), descriptor.clone());
        Ok(Arc::new(blocking(move || contents.blob(&descriptor).cloned()).await?))
    }
}

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// A part of a file, for a reader that skips what it does not need.
struct Seekable {
    part: FilePart,
    at: u64,
}

impl Read for Seekable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let read = self.part.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl io::Seek for Seekable {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::End(by) => self.part.size.checked_add_signed(by),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The file itself; if it is gzipped, its content, unpacked to a file without a name.
fn unzipped(file: File) -> io::Result<FilePart> {
    let zipped = FilePart::whole(file)?;
    if !starts_with(&zipped, &GZIP_MAGIC)? {
        return Ok(zipped);
    }
    let mut unpacked = tempfile::tempfile()?;
    let written = io::copy(&mut GzDecoder::new(BufReader::new(zipped.reader())).take(ARCHIVE_LIMIT), &mut unpacked)?;
    if written == ARCHIVE_LIMIT {
        return Err(io::Error::other(format!("it holds more than {ARCHIVE_LIMIT} bytes")));
    }
    FilePart::whole(unpacked)
}

/// Gzips a part into a file without a name, and hashes the part.
fn compress(part: &FilePart) -> io::Result<(FilePart, Digest)> {
    let header = GzBuilder::new().mtime(0).operating_system(GZIP_UNKNOWN_SYSTEM);
    let mut encoder = header.write(io::BufWriter::new(tempfile::tempfile()?), Compression::default());
    let found = Digest::of_reader(Tee { from: part.reader(), to: &mut encoder })?.0;
    let file = encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((FilePart::whole(file)?, found))
}

/// Copies to a writer what it reads.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        Ok(read)
    }
}

fn starts_with(part: &FilePart, magic: &[u8]) -> io::Result<bool> {
    let mut start = Vec::new();
    part.reader().take(magic.len() as u64).read_to_end(&mut start)?;
    Ok(start == magic)
}

/// A path without `.`; `None` if it leads out of the folder where it begins.
fn plain(path: &Path) -> Option<PathBuf> {
    joined(Path::new(""), path)
}

fn joined(from: &Path, path: &Path) -> Option<PathBuf> {
    let mut plain = from.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;
