//! The bytes of a connection: notes when they come and go, and sends the error page of an ALB where hyper sends an error
//! without a page.

use super::activity::{Activity, Pulse};
use super::answer;
use http::StatusCode;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Sleep;

/// The beginnings of the responses that hyper makes for malformed requests, with the status of an ALB.
const ERRORS: [(&[u8], StatusCode); 3] = [
    (b"HTTP/1.1 400 ", StatusCode::BAD_REQUEST),
    (b"HTTP/1.1 414 ", StatusCode::BAD_REQUEST),
    (b"HTTP/1.1 431 ", StatusCode::BAD_REQUEST),
];

const NO_BODY: &[u8] = b"content-length: 0";
/// How long and how much a client can send after the last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    activity: Arc<Activity>,
    /// The rest of an error page.
    page: Vec<u8>,
    /// The end of a connection whose client still sends.
    linger: Option<Linger>,
}

/// A client that gets a reset may not read the last response. So what it still sends is read, for a time.
#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, page: Vec::new(), linger: None }
    }

    /// Sends an error page and ends the connection.
    pub(super) async fn refuse(&mut self, status: StatusCode) -> io::Result<()> {
        self.stream.write_all(&answer::raw(status)).await?;
        self.shutdown().await
    }

    /// The status of the page that goes in place of a response of hyper to a malformed request.
    fn replaced(&self, parts: &[IoSlice<'_>]) -> Option<StatusCode> {
        let [first, others @ ..] = parts else { return None };
        // A response of an exchange can look the same.
        if first.is_empty() || self.activity.take_own() || !others.is_empty() || !self.activity.is_in_head() {
            return None;
        }
        let (_, status) = ERRORS.iter().find(|(begin, _)| first.starts_with(begin))?;
        let empty = first.windows(NO_BODY.len()).any(|part| part.eq_ignore_ascii_case(NO_BODY));
        (empty && first.ends_with(b"\r\n\r\n")).then_some(*status)
    }

    fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.page.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.page))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.page.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(came @ [_, ..]) = buffer.filled().get(before..) {
            self.activity.came(came);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_page(context))?;
        if let Some(status) = self.replaced(parts) {
            self.page = answer::raw(status);
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.went();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_page(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_page(context))?;
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.linger = Some(Linger { until: Box::pin(tokio::time::sleep(LINGER)), left: LINGER_BYTES });
        }
        let this = &mut *self;
        let Some(linger) = &mut this.linger else { return Poll::Ready(Ok(())) };
        loop {
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && linger.left >= buffer.filled().len() => {
                    linger.left -= buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.until.as_mut().poll(context).map(Ok),
            }
        }
    }
}

/// A stream whose bytes are noted.
#[derive(Debug)]
pub(super) struct Touching<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Touching<S> {
    pub(super) fn new(stream: S, pulse: &Arc<Pulse>) -> Self {
        Self { stream, pulse: Arc::clone(pulse) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Touching<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.touch();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Touching<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(1..)) = polled {
            self.pulse.touch();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
