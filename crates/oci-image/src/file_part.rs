//! A part of a file as the source of a blob, so that an archive is never unpacked. Must not know the archive's format.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt as _, unfold};

use crate::content::{BlobSource, Chunks};
use crate::digest::Digest;

/// The size of a read from a file.
const CHUNK: usize = 256 * 1024;

/// A part of a file. The file stays open, and so its bytes reachable, for as long as the part is in use.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub file: Arc<File>,
    pub offset: u64,
    pub size: u64,
}

impl FilePart {
    /// A whole file as a part.
    pub fn whole(mut file: File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file: Arc::new(file), offset: 0, size })
    }

    /// Reads the part from its beginning, with a cursor that no other reader shares.
    pub fn reader(&self) -> PartReader {
        PartReader { part: self.clone(), at: 0 }
    }
}

impl BlobSource for FilePart {
    fn chunks<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        let chunks = chunks(self.reader());
        Box::pin(async move { Ok(chunks) })
    }
}

/// Reads on the threads that may block.
fn chunks(reader: PartReader) -> Chunks {
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
            Ok((Ok(chunk), reader)) => Some((Ok(Bytes::from(chunk)), Some(reader))),
            Ok((Err(error), _)) => Some((Err(error), None)),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
    .boxed()
}

/// Reads a [`FilePart`].
pub(crate) struct PartReader {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::content::Blob;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent_and_nothing_around_it() {
        let part = FilePart { offset: 2, size: 3, ..FilePart::whole(file(b"abcdefg")).unwrap() };
        let blob = Blob::at(Arc::new(part), Digest::of(b"cde"), 3);
        for _ in 0..2 {
            let chunks: Vec<_> = blob.chunks().await.unwrap().try_collect().await.unwrap();
            assert_eq!(chunks.concat(), b"cde");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let part = FilePart { size: 10, ..FilePart::whole(file(b"short")).unwrap() };
        let error = Digest::of_reader(part.reader()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
