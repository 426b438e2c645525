//! Reads a blob on a thread that may block, wherever the blob is.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;

use crate::content::{Blob, Chunks};

/// The content of a blob from its beginning.
pub(super) struct BlobReader {
    blob: Blob,
    runtime: Handle,
    chunks: Option<Chunks>,
    current: Bytes,
}

impl BlobReader {
    pub fn new(blob: Blob, runtime: Handle) -> Self {
        Self { blob, runtime, chunks: None, current: Bytes::new() }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let chunks = match &mut self.chunks {
                Some(chunks) => chunks,
                none => none.insert(self.runtime.block_on(self.blob.chunks())?),
            };
            match self.runtime.block_on(chunks.try_next())? {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let read = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
