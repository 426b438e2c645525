//! What a registry knows by a digest, and where its bytes are until they are sent: in memory, in a part of a file, or in
//! another registry. Must not know what the bytes mean.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _, unfold};
use oci_client::errors::OciDistributionError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::pull::Origin;

/// A read from a file on its way to a registry.
const CHUNK: usize = 256 * 1024;

/// `sha256:` and 64 lower-case hexadecimal digits; nothing else is taken for a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&Sha256::digest(bytes))
    }

    /// The digest of everything that a reader gives, and how much that is.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let read = reader.read(&mut chunk)?;
            if read == 0 {
                return Ok((Self::from_hash(&hash.finalize()), size));
            }
            hash.update(&chunk[..read]);
            size += read as u64;
        }
    }

    /// A finished SHA-256 as a digest.
    pub fn from_hash(hash: &[u8]) -> Self {
        Self(hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// As registries write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not a SHA-256 digest"))
        }
    }
}

/// A part of a file. The file stays open, and so its bytes reachable, for as long as the part is in use.
#[derive(Clone, Debug)]
pub(super) struct FilePart {
    pub file: Arc<File>,
    pub offset: u64,
    pub size: u64,
}

impl FilePart {
    /// Reads the part from its beginning, on a cursor of its own.
    pub fn reader(&self) -> PartReader {
        PartReader { part: self.clone(), at: 0 }
    }
}

/// Reads a [`FilePart`].
pub(super) struct PartReader {
    part: FilePart,
    at: u64,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let left = usize::try_from(self.part.size - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.part.file.read_at(&mut buffer[..wanted], self.part.offset + self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// Where bytes are.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Vec<u8>),
    File(FilePart),
    Registry(Arc<Origin>),
}

/// Bytes by their digest.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub content: Content,
}

/// The digest says what the bytes are, wherever they are.
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Blob {}

/// Bytes that a push takes piece by piece.
pub(super) type Chunks = BoxStream<'static, Result<bytes::Bytes, OciDistributionError>>;

impl Blob {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, content: Content::Memory(bytes) }
    }

    /// The bytes, where they are in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) | Content::Registry(_) => None,
        }
    }

    /// The bytes from the beginning.
    pub async fn chunks(&self) -> Result<Chunks, OciDistributionError> {
        match &self.content {
            Content::Memory(bytes) => {
                let bytes = bytes::Bytes::from(bytes.clone());
                Ok(futures_util::stream::once(async move { Ok(bytes) }).boxed())
            }
            Content::File(part) => Ok(file_chunks(part.reader()).map_err(OciDistributionError::from).boxed()),
            Content::Registry(origin) => origin.chunks(&self.digest).await,
        }
    }
}

/// Reads on the threads that may block.
fn file_chunks(reader: PartReader) -> BoxStream<'static, io::Result<bytes::Bytes>> {
    unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let read = reader.read(&mut chunk).map(|read| {
                chunk.truncate(read);
                chunk
            });
            (read, reader)
        });
        match read.await {
            Ok((Ok(chunk), _)) if chunk.is_empty() => None,
            Ok((Ok(chunk), reader)) => Some((Ok(bytes::Bytes::from(chunk)), Some(reader))),
            Ok((Err(error), _)) => Some((Err(error), None)),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
    .boxed()
}

/// A whole file as a part.
pub(super) fn whole(mut file: File) -> io::Result<FilePart> {
    let size = file.seek(SeekFrom::End(0))?;
    Ok(FilePart { file: Arc::new(file), offset: 0, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn only_sha256_in_lower_case_is_a_digest() {
        assert!(Digest::try_from(Digest::of(b"").as_str().to_owned()).is_ok());
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256:", "sha256:../../etc/passwd", "md5:00", upper.as_str()] {
            assert!(Digest::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent_and_nothing_around_it() {
        let part = FilePart { offset: 2, size: 3, ..whole(file(b"abcdefg")).unwrap() };
        let blob = Blob { digest: Digest::of(b"cde"), size: 3, content: Content::File(part) };
        for _ in 0..2 {
            let chunks: Vec<_> = blob.chunks().await.unwrap().try_collect().await.unwrap();
            assert_eq!(chunks.concat(), b"cde");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let part = FilePart { size: 10, ..whole(file(b"short")).unwrap() };
        let error = Digest::of_reader(part.reader()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
