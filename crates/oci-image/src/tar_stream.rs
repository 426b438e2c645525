//! Reads a tar archive entry by entry: ustar, GNU and PAX, as GNU tar, Go and Python write them. Nothing whose size the
//! archive chooses is read into memory before its size is checked. The `tar` crate decodes the fields; its own reader loads
//! extended headers without a limit. Must not know what the entries mean.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::limits::{Limits, OverLimit};

const BLOCK: u64 = 512;

/// A reader that can leave out bytes.
pub(crate) trait Skip: Read {
    /// Leaves out exactly this many bytes.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A reader that has to read what it leaves out.
#[cfg(any(feature = "unpack", test))]
pub(crate) struct Stream<R>(pub R);

#[cfg(any(feature = "unpack", test))]
impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(any(feature = "unpack", test))]
impl<R: Read> Skip for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// A device or a pipe.
    Special,
    /// A type of some vendor, such as the label of a volume.
    Unknown,
}

/// One entry. Its content is the reader's next [`stored`](Self::stored) bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The size of the file.
    pub size: u64,
    /// The bytes that the archive holds of it.
    pub stored: u64,
    /// Where the stored bytes belong, as offset and length; `None` if they are the whole file.
    pub sparse: Option<Vec<(u64, u64)>>,
}

/// A tar archive that is being read.
pub(crate) struct TarStream<'a, R> {
    reader: R,
    limits: &'a Limits,
    /// The bytes of the current entry that are not read yet.
    left: u64,
    /// The bytes after it, up to the next header.
    padding: u64,
    /// Where the reader is.
    at: u64,
    ended: bool,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed tar archive: {what}"))
}

impl<'a, R: Skip> TarStream<'a, R> {
    pub fn new(reader: R, limits: &'a Limits) -> Self {
        Self { reader, limits, left: 0, padding: 0, at: 0, ended: false }
    }

    /// The reader, after the last entry.
    #[cfg(feature = "unpack")]
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// Where the content of the current entry begins.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next entry, without what is left of the current one; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let (mut extension, mut extended) = (Extension::default(), false);
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return if extended { Err(malformed("it ends after an extended header")) } else { Ok(None) };
            };
            let size = header.entry_size().map_err(|_| malformed("a size is not a number"))?;
            self.content(size);
            match header.entry_type() {
                EntryType::GNULongName => extension.long_name = Some(terminated(self.extended()?)),
                EntryType::GNULongLink => extension.long_link = Some(terminated(self.extended()?)),
                EntryType::XHeader => {
                    let records = self.extended()?;
                    extension.read(&records)?;
                }
                // Comments of version control systems; as Go does, which most tools for images are written in.
                EntryType::XGlobalHeader => {}
                _ => return self.entry(&header, size, extension).map(Some),
            }
            extended = header.entry_type() != EntryType::XGlobalHeader;
        }
    }

    /// Reads the content of the current entry.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = self.read(buffer)?;
            if read == 0 {
                return Err(malformed("an entry is too short"));
            }
            buffer = &mut buffer[read..];
        }
        Ok(())
    }

    /// The next `size` bytes are content.
    fn content(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.left.checked_add(self.padding).ok_or_else(|| malformed("a size is too large"))?;
        if rest > 0 {
            self.reader.skip(rest)?;
        }
        self.at = self.at.checked_add(rest).ok_or_else(|| malformed("a size is too large"))?;
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// One block; `None` at the end of the file.
    fn block(&mut self) -> io::Result<Option<[u8; 512]>> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match self.reader.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        self.at = self.at.saturating_add(BLOCK);
        Ok(Some(block))
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let Some(block) = (if self.ended { None } else { self.block()? }) else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            // The end is two blocks of zeros. A single one hides what follows from some readers.
            return match self.block()? {
                Some(next) if next.iter().any(|byte| *byte != 0) => Err(malformed("there is data after its end")),
                _ => Ok(None),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        let (before, after) = (&block[..148], &block[156..]);
        let sum = before.iter().chain(after).fold(8 * 32, |sum, byte| sum + u32::from(*byte));
        if header.cksum().is_ok_and(|expected| expected == sum) {
            Ok(Some(header))
        } else {
            Err(malformed("the checksum of a header is wrong"))
        }
    }

    /// The content of an extended header, whole.
    fn extended(&mut self) -> io::Result<Vec<u8>> {
        let limit = self.limits.extension_bytes;
        let size = usize::try_from(self.left).ok().filter(|_| self.left <= limit);
        let size = size.ok_or_else(|| OverLimit::bytes("an extended header", limit))?;
        let mut bytes = vec![0; size];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header, size: u64, extension: Extension) -> io::Result<Entry> {
        let path = extension.path.or(extension.long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let own_link = || header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let link = extension.link.or(extension.long_link).unwrap_or_else(own_link);
        if path.len().max(link.len()) as u64 > self.limits.path_bytes {
            return Err(OverLimit::bytes("a path", self.limits.path_bytes).into());
        }
        let kind = kind(header, &path);
        // As Go does: only files have content, whatever their headers say.
        let has_content = matches!(kind, Kind::File | Kind::Unknown);
        let size = if has_content { extension.size.unwrap_or(size) } else { 0 };
        self.content(size);
        let raw = header.as_old();
        let mtime = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
        let mut entry = Entry {
            path,
            link,
            kind,
            mode: number(&raw.mode, header.mode())?,
            uid: extension.uid.map_or_else(|| number(&raw.uid, header.uid()), Ok)?,
            gid: extension.gid.map_or_else(|| number(&raw.gid, header.gid()), Ok)?,
            mtime: extension.mtime.unwrap_or(mtime),
            size,
            stored: size,
            sparse: None,
        };
        if header.entry_type() == EntryType::GNUSparse {
            self.gnu_sparse(header, &mut entry)?;
        } else if kind == Kind::File && extension.sparse.is_used() {
            self.pax_sparse(extension.sparse, &mut entry)?;
        }
        Ok(entry)
    }

    /// A sparse file of GNU tar's own format: its map is in the header, and in the blocks after it.
    fn gnu_sparse(&mut self, header: &Header, entry: &mut Entry) -> io::Result<()> {
        let gnu = header.as_gnu().ok_or_else(|| malformed("a sparse file without a map"))?;
        let number = |field: io::Result<u64>| field.map_err(|_| malformed("the map of a sparse file is invalid"));
        let mut map = Vec::new();
        for part in gnu.sparse.iter().filter(|part| !part.is_empty()) {
            map.push((number(part.offset())?, number(part.length())?));
        }
        let mut more = gnu.is_extended();
        while more {
            if map.len() as u64 * 16 > self.limits.extension_bytes {
                return Err(OverLimit::bytes("an extended header", self.limits.extension_bytes).into());
            }
            let block = self.block()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut extended = GnuExtSparseHeader::new();
            extended.as_mut_bytes().copy_from_slice(&block);
            for part in extended.sparse.iter().filter(|part| !part.is_empty()) {
                map.push((number(part.offset())?, number(part.length())?));
            }
            more = extended.is_extended();
        }
        entry.size = number(gnu.real_size())?;
        sparse(entry, map)
    }

    /// A sparse file in PAX records (GNU tar's formats 0.0, 0.1 and 1.0).
    fn pax_sparse(&mut self, records: SparseRecords, entry: &mut Entry) -> io::Result<()> {
        if let Some(name) = records.name {
            entry.path = name;
        }
        if let Some(size) = records.size {
            entry.size = size;
        }
        let map = if records.major == Some(1) {
            let map = self.map_in_content()?;
            entry.stored = self.left;
            map
        } else {
            records.map
        };
        sparse(entry, map)
    }

    /// The map of format 1.0: decimal numbers in lines, filled up to whole blocks, before the content.
    fn map_in_content(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let limit = self.limits.extension_bytes;
        let mut text = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            if text.len() as u64 >= limit {
                return Err(OverLimit::bytes("an extended header", limit).into());
            }
            let mut block = [0; 512];
            self.read_exact(&mut block)?;
            for byte in block {
                if byte == b'\n' {
                    numbers.push(decimal(&text).ok_or_else(|| malformed("the map of a sparse file is invalid"))?);
                    text.clear();
                } else if byte != 0 {
                    text.push(byte);
                }
            }
            if numbers.len() as u64 * 8 > limit {
                return Err(OverLimit::bytes("an extended header", limit).into());
            }
            let needed = numbers.first().map(|parts| parts.saturating_mul(2).saturating_add(1));
            if needed.is_some_and(|needed| numbers.len() as u64 >= needed) {
                return Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect());
            }
        }
    }
}

/// A field of a header; one that is not filled in is zero.
fn number<N: Default>(field: &[u8], read: io::Result<N>) -> io::Result<N> {
    match read {
        Err(_) if field.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(N::default()),
        read => read.map_err(|_| malformed("a field is not a number")),
    }
}

/// Checks the map of a sparse file: its parts follow each other and are what is stored.
fn sparse(entry: &mut Entry, map: Vec<(u64, u64)>) -> io::Result<()> {
    let (mut end, mut stored) = (0_u64, 0_u64);
    for (offset, length) in &map {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= entry.size);
        end = next.ok_or_else(|| malformed("the map of a sparse file is invalid"))?;
        stored += length;
    }
    if stored != entry.stored {
        return Err(malformed("the map of a sparse file does not fit its content"));
    }
    entry.sparse = Some(map);
    Ok(())
}

fn kind(header: &Header, path: &[u8]) -> Kind {
    match header.entry_type() {
        // Before 1988, a directory was a file whose name ends so. Only then had files no type.
        EntryType::Regular if header.as_old().linkflag == [0] && path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        _ => Kind::Unknown,
    }
}

/// What extended headers say about the entry after them.
#[derive(Default)]
struct Extension {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    sparse: SparseRecords,
}

/// The records of a sparse file.
#[derive(Default)]
struct SparseRecords {
    major: Option<u64>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    offset: Option<u64>,
    map: Vec<(u64, u64)>,
}

impl SparseRecords {
    fn is_used(&self) -> bool {
        self.major.is_some() || self.size.is_some()
    }
}

impl Extension {
    /// Reads PAX records: `LENGTH KEY=VALUE` and a line feed each (POSIX.1-2017, pax). A value may hold line feeds.
    fn read(&mut self, mut records: &[u8]) -> io::Result<()> {
        let invalid = || malformed("a PAX record is invalid");
        while !records.is_empty() {
            let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(invalid)?;
            let length = decimal(&records[..space]).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length > space + 1).ok_or_else(invalid)?;
            let record = records.get(space + 1..length).ok_or_else(invalid)?;
            records = &records[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(invalid)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(invalid)?;
            self.set(&record[..equals], &record[equals + 1..]).ok_or_else(invalid)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        match key {
            // A path with a NUL names no file.
            b"path" | b"linkpath" | b"GNU.sparse.name" if value.contains(&0) => return None,
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(seconds(value)?),
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value)?),
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(decimal(value)?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(decimal(value)?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take()?;
                self.sparse.map.push((offset, decimal(value)?));
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(decimal).collect();
                self.sparse.map = numbers?.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            }
            _ => {}
        }
        Some(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// The whole seconds of a time such as `1700000000.5`.
fn seconds(text: &[u8]) -> Option<i64> {
    let whole = text.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(whole).ok()?.parse().ok()
}

/// A text up to its NUL.
fn terminated(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
#[path = "tar_stream/tests.rs"]
mod tests;
