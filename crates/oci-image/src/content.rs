//! Bytes that are known by their digest, wherever they are until they are needed. Must not know what the bytes mean, nor
//! that there is a network.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};

use crate::digest::Digest;
use crate::error::Error;

/// Bytes piece by piece.
pub type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Where the bytes of a blob are: in memory, in a file, in a registry.
pub(crate) trait BlobSource: fmt::Debug + Send + Sync {
    /// All bytes, if they are in memory.
    fn bytes(&self) -> Option<&Bytes> {
        None
    }

    /// The bytes from the beginning. `digest` names them, for a source that holds several blobs.
    fn chunks<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>>;

    /// What it means that these bytes cannot be read.
    fn explain(&self, digest: &Digest, error: io::Error) -> Error {
        Error::io(format!("read the blob {digest}"), error)
    }
}

/// Bytes in memory.
#[derive(Debug)]
struct Memory(Bytes);

impl BlobSource for Memory {
    fn bytes(&self) -> Option<&Bytes> {
        Some(&self.0)
    }

    fn chunks<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        let bytes = self.0.clone();
        Box::pin(async move { Ok(futures_util::stream::once(async move { Ok(bytes) }).boxed()) })
    }
}

/// Bytes by their digest.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub digest: Digest,
    pub size: u64,
    source: Arc<dyn BlobSource>,
}

/// The digest says what the bytes are, wherever they are.
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Blob {}

impl Blob {
    /// A blob in memory.
    pub fn new(bytes: Vec<u8>) -> Self {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Self { digest, size, source: Arc::new(Memory(bytes.into())) }
    }

    /// A blob somewhere else.
    pub fn at(source: Arc<dyn BlobSource>, digest: Digest, size: u64) -> Self {
        Self { digest, size, source }
    }

    /// The bytes, if they are in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.source.bytes()
    }

    /// The bytes from the beginning.
    pub async fn chunks(&self) -> io::Result<Chunks> {
        self.source.chunks(&self.digest).await
    }

    /// What an error of [`Blob::chunks`], or of the chunks, means.
    pub fn explain(&self, error: io::Error) -> Error {
        self.source.explain(&self.digest, error)
    }
}
