//! Decompresses layers and archives: gzip (of several members too), zstd (of several frames too), or neither, as their
//! first bytes say. Must not know what is compressed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 64 * 1024;

/// What bytes are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The compression of what begins with these bytes.
    pub fn of(start: &[u8]) -> Self {
        // A zstd file may begin with a frame to skip (RFC 8878, section 3.1.2).
        let skippable = start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
        if start.starts_with(&GZIP_MAGIC) {
            Self::Gzip
        } else if start.starts_with(&ZSTD_MAGIC) || skippable {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// The decompressed content of a reader.
pub(crate) fn decompressed<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = [0; 4];
    let mut filled = 0;
    while filled < start.len() {
        match reader.read(&mut start[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    let compression = Compression::of(&start[..filled]);
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(start).take(filled as u64).chain(reader));
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(Frames::new(whole)),
        Compression::None => Box::new(whole),
    })
}

/// The content of zstd frames, one after the other.
struct Frames<R> {
    reader: R,
    decoder: FrameDecoder,
    /// Whether a frame has begun and is not read to its end.
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(reader: R) -> Self {
        Self { reader, decoder: FrameDecoder::new(), inside: false }
    }

    /// Begins the next frame that holds content; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.reader) {
                Ok(()) => {
                    self.inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.reader).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.inside && !self.begin()? {
                break;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.decoder.is_finished() {
                self.inside = false;
            } else {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.reader, some).map_err(|error| invalid(&error))?;
            }
        }
        Ok(0)
    }
}

fn invalid(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::image::gzip;

    fn content(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        decompressed(bytes)?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn what_is_not_compressed_is_read_as_it_is() {
        for bytes in [&b""[..], b"a", b"plain text"] {
            assert_eq!(content(bytes).unwrap(), bytes);
        }
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        let members = [gzip(b"first, ").unwrap(), gzip(b"second").unwrap()].concat();
        assert_eq!(content(&members).unwrap(), b"first, second");
    }

    #[test]
    fn all_frames_of_a_zstd_file_are_read_and_those_to_skip_are_skipped() {
        let skip = [&0x184d_2a5f_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"zzz"].concat();
        let large = vec![7; 500_000];
        let frames = [skip.clone(), zstd(b"first, "), skip, zstd(&large), zstd(b"second")].concat();
        assert_eq!(content(&frames).unwrap(), [&b"first, "[..], &large, b"second"].concat());
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_an_error() {
        for whole in [gzip(&[7; 10_000]).unwrap(), zstd(&[7; 10_000])] {
            assert!(content(&whole[..whole.len() - 1]).is_err());
            assert!(content(&[&whole[..], b"garbage"].concat()).is_err());
        }
        assert!(content(&[0x5f, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
    }
}
