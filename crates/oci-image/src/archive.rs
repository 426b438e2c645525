//! Reads an image from a file: an OCI layout, or what `docker save` writes, as a tar file that may be gzipped. Unpacked data
//! goes only to files without a name, which the system deletes. Must not know where the image goes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use flate2::GzBuilder;
use serde::Deserialize;

use crate::architecture::Architecture;
use crate::assemble::{PartSource, Root, assemble};
use crate::compression::{Compression, decompressed};
use crate::content::{Blob, BlobSource};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::external::{Usable, check_config, check_layer_count, check_size, invalid};
use crate::file_part::FilePart;
use crate::image::{GZIP_UNKNOWN_SYSTEM, Image};
use crate::limits::{DOCUMENT_LIMIT, Limited, Limits, OverLimit};
use crate::manifest::Manifest;
use crate::media_type;
use crate::tar_stream::{Kind, Skip, TarStream};
use crate::text::clean;

/// The most files of an archive; an image has some dozens.
const ENTRY_LIMIT: usize = 10_000;
/// The longest chain of links from one file to another.
const LINK_LIMIT: usize = 8;

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
            let name = contents.name.clone();
            return assemble(&name, &contents, root, architecture).await?.require_command(&name);
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
    limits: Limits,
    files: BTreeMap<PathBuf, FilePart>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let unusable = |reason| Error::unusable(&name, reason);
        let file = File::open(path).map_err(|error| unusable(ImageError::CannotOpen(error)))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(unusable(ImageError::Folder));
        }
        let limits = Limits::default();
        let unreadable = |error| unusable(ImageError::of_io(error, ImageError::Unreadable));
        let whole = unzipped(file, &limits).map_err(unreadable)?;
        let mut contents = Self { name: name.clone(), limits, files: BTreeMap::new(), links: BTreeMap::new() };
        contents.list(&whole).map_err(|error| unusable(ImageError::of_io(error, ImageError::NotTar)))?;
        Ok(contents)
    }

    fn unusable(&self, reason: ImageError) -> Error {
        Error::unusable(&self.name, reason)
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> Error {
        let path = clean(&path.display().to_string());
        self.unusable(ImageError::of_io(source, |source| ImageError::UnreadableFile { path, source }))
    }

    fn damaged(&self, part: &Path, expected: &Digest, found: Digest) -> Error {
        let (expected, found) = (Box::new(expected.clone()), Box::new(found));
        self.unusable(ImageError::DigestMismatch { part: clean(&part.display().to_string()), expected, found })
    }

    /// Records where each file is, without reading it.
    fn list(&mut self, whole: &FilePart) -> io::Result<()> {
        let limits = self.limits.clone();
        let mut archive = TarStream::new(Seekable { part: whole.clone(), at: 0 }, &limits);
        while let Some(entry) = archive.next()? {
            let Some(path) = plain(Path::new(OsStr::from_bytes(&entry.path))) else { continue };
            if self.files.len() + self.links.len() >= ENTRY_LIMIT {
                return Err(OverLimit { what: "the archive", limit: ENTRY_LIMIT as u64, unit: "files" }.into());
            }
            match entry.kind {
                // No tool makes such an archive with sparse files.
                Kind::File if entry.sparse.is_none() => {
                    let (offset, size) = (archive.position(), entry.size);
                    if offset.checked_add(size).is_none_or(|end| end > whole.size) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.files.insert(path, FilePart { offset, size, ..whole.clone() });
                }
                // Older `docker save` writes a layer that occurs twice as a link to the first.
                Kind::Symlink | Kind::HardLink => {
                    let from = if entry.kind == Kind::Symlink { path.parent() } else { None };
                    let target = Path::new(OsStr::from_bytes(&entry.link));
                    if let Some(target) = joined(from.unwrap_or(Path::new("")), target) {
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
        let missing = || self.unusable(ImageError::MissingFile { path: clean(&path.display().to_string()) });
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
            .map_err(|error| self.unusable(invalid("manifest.json", &error)))?;
        let [saved] = &saved[..] else {
            return Err(self.unusable(ImageError::SeveralImages { count: saved.len() }));
        };
        check_layer_count(saved.layers.len()).map_err(|reason| self.unusable(reason))?;
        let config = self.small(self.inside(&saved.config)?)?;
        let Usable { diff_ids, run } = check_config(&self.name, &config, architecture, saved.layers.len())?;
        let mut layers = Vec::new();
        for (path, diff_id) in saved.layers.iter().zip(&diff_ids) {
            layers.push(self.saved_layer(&self.inside(path)?, diff_id)?);
        }
        let config = Blob::new(config);
        let manifest = Manifest::of_image(&config, &layers);
        let manifest = manifest.map_err(|error| Error::io(format!("write the manifest of {}", self.name), error))?;
        Image { config, layers, manifest, diff_ids, run, attachments: Vec::new() }.require_command(&self.name)
    }

    /// A path that `manifest.json` names.
    fn inside(&self, path: &str) -> Result<PathBuf> {
        plain(Path::new(path)).ok_or_else(|| self.unusable(ImageError::OutsidePath { path: clean(path) }))
    }

    /// A layer, gzipped if it is not yet, because every task pulls it.
    fn saved_layer(&self, path: &Path, diff_id: &Digest) -> Result<Blob> {
        let part = self.require(path)?;
        let broken = |error| self.unreadable(path, error);
        let content = decompressed(part.reader()).map_err(broken)?;
        let content = Limited::new(content, "an unpacked layer", self.limits.expanded(part.size));
        let (stored, found) = if compression(part).map_err(broken)? == Compression::Gzip {
            (part.clone(), Digest::of_reader(content).map_err(broken)?.0)
        } else {
            compress(content).map_err(broken)?
        };
        if found != *diff_id {
            return Err(self.damaged(path, diff_id, found));
        }
        let (digest, size) = Digest::of_reader(stored.reader()).map_err(broken)?;
        Ok(Blob::at(Arc::new(stored), digest, size))
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

impl Skip for Seekable {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        // Beyond the end, the next read tells.
        self.at = self.at.checked_add(bytes).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(())
    }
}

/// The file itself; if it is compressed, its content, unpacked to a file without a name.
fn unzipped(file: File, limits: &Limits) -> io::Result<FilePart> {
    let zipped = FilePart::whole(file)?;
    if compression(&zipped)? == Compression::None {
        return Ok(zipped);
    }
    let mut unpacked = tempfile::tempfile()?;
    let limit = limits.expanded(zipped.size);
    io::copy(&mut Limited::new(decompressed(zipped.reader())?, "the unpacked archive", limit), &mut unpacked)?;
    FilePart::whole(unpacked)
}

/// Gzips what a reader returns into a file without a name, and hashes it.
fn compress(content: impl Read) -> io::Result<(FilePart, Digest)> {
    let header = GzBuilder::new().mtime(0).operating_system(GZIP_UNKNOWN_SYSTEM);
    let mut encoder = header.write(io::BufWriter::new(tempfile::tempfile()?), flate2::Compression::default());
    let found = Digest::of_reader(Tee { from: content, to: &mut encoder })?.0;
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

fn compression(part: &FilePart) -> io::Result<Compression> {
    let mut start = Vec::new();
    part.reader().take(4).read_to_end(&mut start)?;
    Ok(Compression::of(&start))
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
