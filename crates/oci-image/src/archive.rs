//! Reads an image from a file: an OCI layout, or what `docker save` writes, as a tar that may be gzipped. Nothing of it is
//! written to disk under a name of its own. Must not know where the image goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::Deserialize;
use tar::{Archive, EntryType};

use super::content::{Blob, Content, Digest, FilePart, whole};
use super::elf::Architecture;
use super::external::{DOCUMENT_LIMIT, Descriptor, MANIFEST_TYPES, check_config, check_size, refused};
use super::image::{self, GZIP_UNKNOWN_SYSTEM, Image};
use super::source::{Parts, assemble};
use crate::error::{Doing as _, Error, Result};

/// What an archive may hold when it is unpacked: what a Fargate task has for an image.
const ARCHIVE_LIMIT: u64 = 20 * 1024 * 1024 * 1024;
/// Files of an archive; an image has some dozens.
const ENTRY_LIMIT: usize = 10_000;
/// Links that lead from one file to another.
const LINK_LIMIT: usize = 8;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Finds the image for `architecture` in an archive, and checks every digest in it.
pub(super) async fn open(path: &Path, architecture: Architecture) -> Result<Image> {
    let path = path.to_owned();
    // Reading and hashing may take seconds: not on a thread that others wait for.
    let contents = tokio::task::spawn_blocking(move || Contents::read(&path));
    let contents = contents.await.doing(|| "read an image archive".to_owned())??;
    if contents.part("index.json").is_some() {
        let root = contents.small("index.json")?;
        let name = contents.name.clone();
        return assemble(&name, &contents, (root, MANIFEST_TYPES[1].to_owned()), architecture).await;
    }
    let saved = tokio::task::spawn_blocking(move || contents.docker_save(architecture));
    saved.await.doing(|| "read an image archive".to_owned())?
}

/// The files of an archive by their names, each a part of the one file that it is.
struct Contents {
    name: String,
    files: BTreeMap<PathBuf, FilePart>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            Error::usage(format!("cannot use image {name}"))
                .because(error)
                .hint("build the archive first, or name one that is there; paths begin in the folder of bluegreen.toml")
        })?;
        let whole = unzipped(file).map_err(|error| refused(&name, format!("it cannot be read: {error}")))?;
        let mut contents = Self { name, files: BTreeMap::new(), links: BTreeMap::new() };
        contents.list(&whole).map_err(|error| {
            refused(&contents.name, format!("it is no tar archive, or a broken one: {error}"))
                .hint("write it with docker save, podman save, skopeo or another tool that writes images")
        })?;
        Ok(contents)
    }

    /// Finds out where each file is, without reading it.
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
        self.part(path).ok_or_else(|| {
            refused(&self.name, format!("it names {} and does not hold it", path.display()))
                .hint("it is cut off, or was not written by docker save, podman save, skopeo or such a tool")
        })
    }

    /// A document, whole.
    fn small(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let part = self.require(path)?;
        check_size(&self.name, &path.display().to_string(), part.size, DOCUMENT_LIMIT)?;
        let mut bytes = Vec::new();
        let read = part.reader().read_to_end(&mut bytes);
        read.map_err(|error| refused(&self.name, format!("{}: {error}", path.display())))?;
        Ok(bytes)
    }

    /// A blob of an OCI layout, whose content is what it should be.
    fn blob(&self, descriptor: &Descriptor) -> Result<&FilePart> {
        let part = self.require(&Path::new("blobs/sha256").join(descriptor.digest.hex()))?;
        let found = Digest::of_reader(part.reader()).map_err(|error| refused(&self.name, error.to_string()))?;
        if found == (descriptor.digest.clone(), descriptor.size) {
            return Ok(part);
        }
        Err(refused(
            &self.name,
            format!("what should be {} is {} (digest mismatch)", descriptor.digest.as_str(), found.0.as_str()),
        )
        .hint("the archive is damaged: write it again"))
    }

    /// An image as `docker save` wrote it before it wrote OCI layouts: layers by path, mostly not compressed.
    fn docker_save(&self, architecture: Architecture) -> Result<Image> {
        if self.part("manifest.json").is_none() {
            return Err(refused(&self.name, "it holds neither index.json nor manifest.json, so no image")
                .hint("write it with docker save, podman save, skopeo or another tool that writes images"));
        }
        let saved: Vec<Saved> = serde_json::from_slice(&self.small("manifest.json")?)
            .map_err(|error| refused(&self.name, format!("its manifest.json: {error}")))?;
        let [saved] = &saved[..] else {
            return Err(
                refused(&self.name, format!("it holds {} images", saved.len())).hint("save one image by itself")
            );
        };
        let config = self.small(self.inside(&saved.config)?)?;
        let usable = check_config(&self.name, &config, architecture, saved.layers.len())?;
        let mut layers = Vec::new();
        for (path, diff_id) in saved.layers.iter().zip(&usable.diff_ids) {
            layers.push(self.saved_layer(&self.inside(path)?, diff_id)?);
        }
        let config = Blob::new(config);
        let manifest = image::manifest(&config, &layers).doing(|| format!("write the manifest of {}", self.name))?;
        Ok(Image { config, layers, manifest, runs_as_root: usable.runs_as_root, attachments: Vec::new() })
    }

    /// A path that `manifest.json` names.
    fn inside(&self, path: &str) -> Result<PathBuf> {
        plain(Path::new(path)).ok_or_else(|| refused(&self.name, format!("it names {path:?}, which leads out of it")))
    }

    /// A layer, compressed where it is not: what is not compressed takes every task longer to pull.
    fn saved_layer(&self, path: &Path, diff_id: &Digest) -> Result<Blob> {
        let part = self.require(path)?;
        let broken = |error: io::Error| refused(&self.name, format!("{}: {error}", path.display()));
        let is_gzip = starts_with(part, &GZIP_MAGIC).map_err(broken)?;
        let (content, found) = if is_gzip {
            let unzipped = GzDecoder::new(BufReader::new(part.reader())).take(ARCHIVE_LIMIT);
            (part.clone(), Digest::of_reader(unzipped).map_err(broken)?.0)
        } else {
            compress(part).map_err(broken)?
        };
        if found != *diff_id {
            return Err(refused(
                &self.name,
                format!("{} is {}, not {} (digest mismatch)", path.display(), found.as_str(), diff_id.as_str()),
            )
            .hint("the archive is damaged: write it again"));
        }
        let (digest, size) = Digest::of_reader(content.reader()).map_err(broken)?;
        Ok(Blob { digest, size, content: Content::File(content) })
    }
}

impl Parts for Contents {
    async fn read(&self, descriptor: &Descriptor, _: bool) -> Result<Vec<u8>> {
        check_size(&self.name, "manifest", descriptor.size, DOCUMENT_LIMIT)?;
        self.blob(descriptor)?;
        self.small(Path::new("blobs/sha256").join(descriptor.digest.hex()))
    }

    fn layer(&self, descriptor: &Descriptor) -> Result<Content> {
        self.blob(descriptor).cloned().map(Content::File)
    }
}

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// A part of a file, for a reader that skips what it does not want.
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

/// The file itself, or what it holds where it is gzipped: unpacked to a file without a name.
fn unzipped(file: File) -> io::Result<FilePart> {
    let zipped = whole(file)?;
    if !starts_with(&zipped, &GZIP_MAGIC)? {
        return Ok(zipped);
    }
    let mut unpacked = tempfile::tempfile()?;
    let written = io::copy(&mut GzDecoder::new(BufReader::new(zipped.reader())).take(ARCHIVE_LIMIT), &mut unpacked)?;
    if written == ARCHIVE_LIMIT {
        return Err(io::Error::other(format!("it holds more than {ARCHIVE_LIMIT} bytes")));
    }
    whole(unpacked)
}

/// Gzips a part into a file without a name, and hashes what it was.
fn compress(part: &FilePart) -> io::Result<(FilePart, Digest)> {
    let header = GzBuilder::new().mtime(0).operating_system(GZIP_UNKNOWN_SYSTEM);
    let mut encoder = header.write(io::BufWriter::new(tempfile::tempfile()?), Compression::default());
    let found = Digest::of_reader(Tee { from: part.reader(), to: &mut encoder })?.0;
    let file = encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((whole(file)?, found))
}

/// Reads, and writes what it read.
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

/// A path without `.`, or nothing where it leads out of where it begins.
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
