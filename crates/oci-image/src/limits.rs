//! How much an image may ask of the machine that reads it. Must not know what is counted.

use std::io::{self, Read};

/// The largest manifest, index or config that is read: what registries themselves accept.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

/// Limits for reading and unpacking one image. What exceeds a limit is an error that names it
/// ([`ImageError::OverLimit`](crate::ImageError::OverLimit)); no limit depends on what the image claims about itself.
///
/// ```
/// use oci_image::Limits;
///
/// let strict = Limits { unpacked_bytes: 1 << 30, ..Limits::default() };
/// assert_eq!(strict.extension_bytes, 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of all files in all layers. The default is what a Fargate task has by default for its image and its data:
    /// [20 GiB](https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html).
    pub unpacked_bytes: u64,
    /// How many bytes each byte of a compressed layer may become. The first GiB of a layer is free, because files of zeros
    /// compress a thousand times.
    pub expansion: u64,
    /// The files, directories and links in all layers.
    pub entries: u64,
    /// The bytes of one extended header of a tar entry: a long name, PAX records, the map of a sparse file. It is refused
    /// before it is read.
    pub extension_bytes: u64,
    /// The bytes of one path. Linux accepts no longer ones (`PATH_MAX`).
    pub path_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes: 20 * 1024 * 1024 * 1024,
            expansion: 200,
            entries: 2_000_000,
            extension_bytes: 1024 * 1024,
            path_bytes: 4096,
        }
    }
}

/// Of a compressed layer, this much may be unpacked whatever its size is.
const FREE_EXPANSION: u64 = 1024 * 1024 * 1024;

impl Limits {
    /// How many bytes a layer or an archive of `size` bytes may become.
    pub(crate) fn expanded(&self, size: u64) -> u64 {
        size.saturating_mul(self.expansion).max(FREE_EXPANSION).min(self.unpacked_bytes)
    }
}

/// Something exceeds a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: more than {limit} {unit}")]
pub(crate) struct OverLimit {
    pub what: &'static str,
    pub limit: u64,
    pub unit: &'static str,
}

impl OverLimit {
    pub fn bytes(what: &'static str, limit: u64) -> Self {
        Self { what, limit, unit: "bytes" }
    }
}

impl From<OverLimit> for io::Error {
    fn from(limit: OverLimit) -> Self {
        Self::other(limit)
    }
}

/// Reads at most `limit` bytes; one more is an error.
pub(crate) struct Limited<R> {
    reader: R,
    left: u64,
    over: OverLimit,
}

impl<R> Limited<R> {
    pub fn new(reader: R, what: &'static str, limit: u64) -> Self {
        Self { reader, left: limit, over: OverLimit::bytes(what, limit) }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| self.over.clone())?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_with_an_error_at_its_limit() {
        let mut all = Vec::new();
        Limited::new(&b"four"[..], "a part", 4).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"four");
        let error = Limited::new(io::repeat(0), "a part", 10_000).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "a part: more than 10000 bytes");
    }

    #[test]
    fn a_small_layer_may_become_a_gibibyte_and_a_large_one_what_a_task_has() {
        let limits = Limits::default();
        assert_eq!(limits.expanded(1000), 1 << 30);
        assert_eq!(limits.expanded(10 << 20), 2000 << 20);
        assert_eq!(limits.expanded(u64::MAX), 20 << 30);
    }
}
