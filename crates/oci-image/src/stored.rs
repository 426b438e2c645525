//! Reads an image from a store that is not a registry on the network: a trait for whoever has manifests and blobs, the
//! checks of what it returns, and copies of layers in files.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, try_unfold};
use sha2::{Digest as _, Sha256};

use crate::architecture::Architecture;
use crate::assemble::{PartSource, Root, assemble};
use crate::content::{Blob, BlobSource, Chunks};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Result};
use crate::external::check_size;
use crate::file_part::FilePart;
use crate::image::Image;
use crate::limits::{DOCUMENT_LIMIT, OverLimit};
use crate::media_type;

/// Something that holds images: their manifests by tag and digest, and their blobs by digest. What it returns is checked
/// here, so it need not check anything, and may return streams of any length.
pub trait ContentStore: fmt::Debug + Send + Sync {
    /// The bytes of the manifest or index that a tag or a digest names.
    fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Chunks>>;

    /// The bytes of a blob.
    fn blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>>;
}

/// An image in a store. A name can stand for an index of several images, so the digest that was asked for can be another
/// than that of the image.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// The image.
    pub image: Image,
    /// The digest of what the name stands for: the image's own, or that of the index that lists it.
    pub named: Digest,
}

impl Image {
    /// Finds the image for `architecture` in a store and reads what describes it. `name` is for errors; `reference` is the
    /// tag or the digest in the store. An image without a command is accepted, because whoever runs it may add one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the store fails; [`Error::Unusable`] if the image would not run on `architecture`, or if its
    /// content is not what its digests say.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::sync::Arc;
    ///
    /// use futures_util::future::BoxFuture;
    /// use futures_util::stream::{StreamExt as _, once};
    /// use oci_image::{Architecture, Chunks, ContentStore, Digest, Image};
    ///
    /// /// Everything by tag or digest.
    /// #[derive(Debug)]
    /// struct Memory(BTreeMap<String, Vec<u8>>);
    ///
    /// impl ContentStore for Memory {
    ///     fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, std::io::Result<Chunks>> {
    ///         let bytes = self.0.get(name).cloned().ok_or(std::io::ErrorKind::NotFound.into());
    ///         Box::pin(async move { bytes.map(|bytes| once(async { Ok(bytes.into()) }).boxed()) })
    ///     }
    ///
    ///     fn blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, std::io::Result<Chunks>> {
    ///         self.manifest(digest.as_str())
    ///     }
    /// }
    ///
    /// # async fn example(memory: Memory) -> oci_image::Result<()> {
    /// let found = Image::from_store(Arc::new(memory), "app:1", "1", Architecture::Amd64).await?;
    /// println!("{}", found.image.digest());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_store(
        store: Arc<dyn ContentStore>,
        name: &str,
        reference: &str,
        architecture: Architecture,
    ) -> Result<StoredImage> {
        let source = Source { store, name: name.to_owned() };
        let bytes = source.document("manifest", source.store.manifest(reference).await).await?;
        let named = Digest::of(&bytes);
        if let Ok(expected) = reference.parse::<Digest>()
            && expected != named
        {
            return Err(source.damaged("its manifest", &expected, named));
        }
        let root = Root { bytes, media_type: media_type::MANIFEST.to_owned() };
        Ok(StoredImage { image: assemble(name, &source, root, architecture).await?, named })
    }

    /// Copies the layers to files in `folder`, named by their digests, unless they are there, and reads them from there from
    /// then on. A file appears only when its content is complete and right.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a layer cannot be read from where it is, is not what its digest says, or cannot be written.
    pub async fn with_layers_in(mut self, folder: &Path) -> Result<Self> {
        for layer in &mut self.layers {
            let path = folder.join(layer.digest.hex());
            if !path.is_file() {
                let failed = |error| Error::io(format!("read layer {} to {}", layer.digest, folder.display()), error);
                let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
                let mut chunks = layer.chunks().await.map_err(failed)?;
                while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
                    file.write_all(&chunk).map_err(failed)?;
                }
                file.persist(&path).map_err(|error| failed(error.error))?;
            }
            *layer = Blob::at(Arc::new(InFile(path)), layer.digest.clone(), layer.size);
        }
        Ok(self)
    }
}

/// A file that holds one blob.
#[derive(Debug)]
struct InFile(PathBuf);

impl BlobSource for InFile {
    fn chunks<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(async move { FilePart::whole(File::open(&self.0)?)?.chunks(digest).await })
    }
}

struct Source {
    store: Arc<dyn ContentStore>,
    name: String,
}

impl Source {
    async fn document(&self, part: &'static str, chunks: io::Result<Chunks>) -> Result<Vec<u8>> {
        let read = async { collect(chunks?, part, DOCUMENT_LIMIT).await };
        read.await.map_err(|error| match ImageError::of_io(error, ImageError::Unreadable) {
            ImageError::Unreadable(error) => Error::io(format!("read the {part} of {}", self.name), error),
            reason => Error::unusable(&self.name, reason),
        })
    }

    fn damaged(&self, part: &str, expected: &Digest, found: Digest) -> Error {
        let (expected, found) = (Box::new(expected.clone()), Box::new(found));
        Error::unusable(&self.name, ImageError::DigestMismatch { part: part.to_owned(), expected, found })
    }
}

impl PartSource for Source {
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>> {
        let part = if is_manifest { "manifest" } else { "config" };
        check_size(part, descriptor.size, DOCUMENT_LIMIT).map_err(|reason| Error::unusable(&self.name, reason))?;
        let bytes = if is_manifest {
            self.document(part, self.store.manifest(descriptor.digest.as_str()).await).await?
        } else {
            self.document(part, self.store.blob(&descriptor.digest).await).await?
        };
        let found = Digest::of(&bytes);
        if found == descriptor.digest { Ok(bytes) } else { Err(self.damaged(part, &descriptor.digest, found)) }
    }

    async fn layer(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>> {
        Ok(Arc::new(StoredBlob { store: Arc::clone(&self.store), size: descriptor.size }))
    }
}

/// A blob in a store.
#[derive(Debug)]
struct StoredBlob {
    store: Arc<dyn ContentStore>,
    size: u64,
}

impl BlobSource for StoredBlob {
    fn chunks<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(async move { Ok(verified(self.store.blob(digest).await?, digest.clone(), self.size)) })
    }
}

/// All chunks; an error as soon as they are more than `limit` bytes.
pub(crate) async fn collect(mut chunks: Chunks, what: &'static str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(OverLimit::bytes(what, limit).into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The content of a blob is not what its digest and its size say.
#[derive(Debug, thiserror::Error)]
#[error("its content is not that of {expected}, {size} bytes (digest mismatch)")]
pub(crate) struct WrongContent {
    expected: Digest,
    size: u64,
}

/// The chunks, each only when the next one has arrived, because the receiver of the last one has the whole blob. The stream
/// ends with an error if the content is not what the digest says, and as soon as it is longer than `size`.
pub(crate) fn verified(chunks: Chunks, expected: Digest, size: u64) -> Chunks {
    struct State {
        chunks: Chunks,
        hash: Sha256,
        seen: u64,
        held: Option<Bytes>,
        ended: bool,
    }
    let state = State { chunks, hash: Sha256::new(), seen: 0, held: None, ended: false };
    let next = move |mut state: State| {
        let wrong = WrongContent { expected: expected.clone(), size };
        async move {
            if state.ended {
                return Ok(None);
            }
            while let Some(chunk) = state.chunks.try_next().await? {
                state.seen += chunk.len() as u64;
                if state.seen > size {
                    return Err(io::Error::other(wrong));
                }
                state.hash.update(&chunk);
                if let Some(held) = state.held.replace(chunk) {
                    return Ok(Some((held, state)));
                }
            }
            state.ended = true;
            let found = Digest::from_hash(state.hash.clone().finalize());
            if state.seen != size || found != wrong.expected {
                return Err(io::Error::other(wrong));
            }
            Ok(state.held.take().map(|held| (held, state)))
        }
    };
    try_unfold(state, next).boxed()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream::{iter, repeat_with};

    use super::*;
    use crate::elf::tests::program;
    use crate::{ErrorKind, ImageSpec};

    /// Everything by tag or digest, and how many chunks were read.
    #[derive(Debug, Default)]
    struct Memory {
        content: BTreeMap<String, Vec<u8>>,
        endless: Option<String>,
        chunks: Arc<AtomicUsize>,
    }

    impl ContentStore for Memory {
        fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Chunks>> {
            Box::pin(async move {
                let read = Arc::clone(&self.chunks);
                let count = move |chunk| {
                    read.fetch_add(1, Ordering::Relaxed);
                    Ok(chunk)
                };
                if self.endless.as_deref() == Some(name) {
                    return Ok(repeat_with(|| Bytes::from(vec![b' '; 1 << 20])).map(count).boxed());
                }
                let content = self.content.get(name).ok_or(io::ErrorKind::NotFound)?;
                let chunks: Vec<_> = content.chunks(100).map(Bytes::copy_from_slice).collect();
                Ok(iter(chunks).map(count).boxed())
            })
        }

        fn blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
            self.manifest(digest.as_str())
        }
    }

    fn stored() -> (Memory, Image) {
        let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
        let image = Image::from_static_binary(&spec, &program(Architecture::Amd64, None)).unwrap();
        let mut memory = Memory::default();
        for blob in image.blobs().into_iter().chain([&image.manifest.blob]) {
            memory.content.insert(blob.digest.to_string(), blob.bytes().unwrap().to_vec());
        }
        memory.content.insert("1".to_owned(), image.manifest.blob.bytes().unwrap().to_vec());
        (memory, image)
    }

    async fn opened(memory: Memory, reference: &str) -> Result<StoredImage> {
        Image::from_store(Arc::new(memory), "app:1", reference, Architecture::Amd64).await
    }

    #[tokio::test]
    async fn an_image_is_read_by_tag_and_by_digest_and_its_layers_are_kept_in_files() {
        let folder = tempfile::tempdir().unwrap();
        for by_tag in [true, false] {
            let (memory, original) = stored();
            let reference = if by_tag { "1".to_owned() } else { original.digest().to_string() };
            let found = opened(memory, &reference).await.unwrap();
            assert_eq!((&found.image, &found.named), (&original, original.digest()));
            let image = found.image.with_layers_in(folder.path()).await.unwrap();
            let chunks: Vec<_> = image.layers[0].chunks().await.unwrap().try_collect().await.unwrap();
            assert_eq!(chunks.concat()[..], original.layers[0].bytes().unwrap()[..]);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn other_content_than_the_digests_say_is_refused() {
        let (_, image) = stored();
        for (blob, kind) in
            [(&image.manifest.blob, ErrorKind::SourceDigestMismatch), (&image.config, ErrorKind::SourceDigestMismatch)]
        {
            let (mut memory, _) = stored();
            memory.content.insert(blob.digest.to_string(), b"{}".to_vec());
            let error = opened(memory, image.digest().as_str()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error:?}");
        }
        for wrong in [vec![0; 111], vec![0; 1 << 20], Vec::new()] {
            let (mut memory, _) = stored();
            memory.content.insert(image.layers[0].digest.to_string(), wrong);
            let folder = tempfile::tempdir().unwrap();
            let found = opened(memory, "1").await.unwrap().image;
            let error = found.with_layers_in(folder.path()).await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("digest mismatch"), "{error:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn a_document_without_an_end_is_read_up_to_its_limit() {
        let (mut memory, image) = stored();
        memory.endless = Some("1".to_owned());
        let read = Arc::clone(&memory.chunks);
        let error = opened(memory, "1").await.unwrap_err();
        assert!(
            matches!(&error, Error::Unusable { reason: ImageError::OverLimit { limit: DOCUMENT_LIMIT, .. }, .. }),
            "{error:?}"
        );
        assert_eq!(read.load(Ordering::Relaxed), 5);
        let (mut memory, _) = stored();
        memory.endless = Some(image.layers[0].digest.to_string());
        let read = Arc::clone(&memory.chunks);
        let folder = tempfile::tempdir().unwrap();
        opened(memory, "1").await.unwrap().image.with_layers_in(folder.path()).await.unwrap_err();
        assert!(read.load(Ordering::Relaxed) < 20, "the layer was read beyond its size");
    }
}
