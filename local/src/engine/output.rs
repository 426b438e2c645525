//! The output of a task: in a bounded ring buffer for readers with the framing of Docker, and in a bounded file.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// The limit of the output in memory.
const RING_BYTES: usize = 1024 * 1024;
/// The limit of the output in the file, so that a task cannot fill the disk.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// A longer line is split.
const LINE_BYTES: usize = 16 * 1024;

/// The stream that a task wrote to, with the number of Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

/// The output of one container.
#[derive(Debug)]
pub(crate) struct Output {
    ring: Mutex<Ring>,
    /// The number of lines so far; readers wait for a change.
    progress: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    lines: VecDeque<(Stream, Bytes)>,
    bytes: usize,
    /// The number of the first line in the buffer.
    first: u64,
    closed: bool,
    file: Option<std::fs::File>,
    file_bytes: u64,
}

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Framed lines.
    pub(crate) frames: Bytes,
    /// The number of the next line to read.
    pub(crate) next: u64,
    /// Whether the output is complete.
    pub(crate) end: bool,
}

impl Output {
    /// Output that is also appended to `file`, if the file can be opened.
    pub(crate) fn new(file: Option<&Path>) -> Self {
        let file = file.and_then(|path| std::fs::File::options().create(true).append(true).open(path).ok());
        let ring = Ring { lines: VecDeque::new(), bytes: 0, first: 0, closed: false, file, file_bytes: 0 };
        Self { ring: Mutex::new(ring), progress: watch::Sender::new(0) }
    }

    /// Reads a stream to its end, line by line.
    pub(crate) async fn capture(&self, stream: Stream, mut source: impl AsyncRead + Unpin) {
        let mut pending = BytesMut::with_capacity(4096);
        loop {
            match source.read_buf(&mut pending).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                self.push(stream, pending.split_to(end + 1).freeze());
            }
            if pending.len() >= LINE_BYTES {
                self.push(stream, pending.split().freeze());
            }
        }
        if !pending.is_empty() {
            self.push(stream, pending.freeze());
        }
    }

    /// Adds one line.
    pub(crate) fn push(&self, stream: Stream, line: Bytes) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.file_bytes < FILE_BYTES {
            ring.file_bytes += line.len() as u64;
            if let Some(file) = &mut ring.file {
                // The line is in the buffer anyway; a full disk must not end the task.
                let _ = file.write_all(&line);
            }
        }
        ring.bytes += line.len();
        ring.lines.push_back((stream, line));
        while ring.bytes > RING_BYTES {
            let Some((_, old)) = ring.lines.pop_front() else { break };
            ring.bytes -= old.len();
            ring.first += 1;
        }
        let total = ring.first + ring.lines.len() as u64;
        drop(ring);
        self.progress.send_replace(total);
    }

    /// Marks the output as complete.
    pub(crate) fn close(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.progress.send_modify(|_| {});
    }

    /// Returns the lines from number `from` on, without waiting.
    pub(crate) fn batch(&self, from: u64, wanted: impl Fn(Stream) -> bool) -> Batch {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let mut frames = BytesMut::new();
        for (stream, line) in ring.lines.iter().skip(skip).filter(|(stream, _)| wanted(*stream)) {
            frame(*stream, line, &mut frames);
        }
        Batch { frames: frames.freeze(), next: ring.first + ring.lines.len() as u64, end: ring.closed }
    }

    /// The number of the first of the last `count` lines.
    pub(crate) fn tail_start(&self, count: usize) -> u64 {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.first + ring.lines.len().saturating_sub(count) as u64
    }

    /// The last lines as text.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = ring.lines.len().saturating_sub(count);
        ring.lines.iter().skip(skip).map(|(_, line)| String::from_utf8_lossy(line).trim_end().to_owned()).collect()
    }

    /// Changes when there can be more to read.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}

/// The multiplexed framing of Docker: the stream, three zeros, the length in big endian, the bytes.
fn frame(stream: Stream, line: &[u8], out: &mut BytesMut) {
    out.put_slice(&[stream as u8, 0, 0, 0]);
    out.put_u32(u32::try_from(line.len()).unwrap_or(u32::MAX));
    out.put_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_is_split_into_lines_and_framed_by_stream() {
        let output = Output::new(None);
        output.capture(Stream::Stdout, &b"one\ntwo"[..]).await;
        output.capture(Stream::Stderr, &b"bad\n"[..]).await;
        let batch = output.batch(0, |_| true);
        assert_eq!(&batch.frames[..], b"\x01\0\0\0\0\0\0\x04one\n\x01\0\0\0\0\0\0\x03two\x02\0\0\0\0\0\0\x04bad\n");
        assert!(!batch.end);
        assert_eq!(output.tail(2), ["two", "bad"]);
        assert_eq!(&output.batch(0, |stream| stream == Stream::Stderr).frames[8..], b"bad\n");
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_it_was_and_sees_the_end() {
        let output = Output::new(None);
        output.push(Stream::Stdout, Bytes::from_static(b"one\n"));
        let next = output.batch(0, |_| true).next;
        output.push(Stream::Stdout, Bytes::from_static(b"two\n"));
        output.close();
        let batch = output.batch(next, |_| true);
        assert_eq!(&batch.frames[8..], b"two\n");
        assert!(batch.end);
    }

    #[test]
    fn a_chatty_task_keeps_only_its_last_output_in_memory() {
        let output = Output::new(None);
        for number in 0..300 {
            output.push(Stream::Stdout, Bytes::from(format!("{number:08}{}\n", "x".repeat(8000))));
        }
        assert!(output.batch(0, |_| true).frames.len() <= RING_BYTES + 300 * 8);
        assert!(output.tail(1)[0].starts_with("00000299"));
    }
}
