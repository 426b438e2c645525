//! The bodies of an exchange: they note when data comes, and the response body ends with an error when the exchange is idle
//! or its target is cut off. The request counts as in progress until the response body has ended or is dropped.

use super::activity::{Pulse, Visit};
use super::target::Flight;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request or a response that passes through.
pub(super) type Passing = UnsyncBoxBody<Bytes, BoxError>;

/// A body of the load balancer itself.
pub(super) fn own(body: crate::http_client::Body) -> Passing {
    body.map_err(Into::into).boxed_unsync()
}

const UNREAD: u8 = 0;
/// The target has read all that the client has sent, and there is more to come.
const STARVING: u8 = 1;
const COMPLETE: u8 = 2;

/// How far the body of a request is.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    /// Whether the client has not sent the rest of its request.
    pub(super) fn waits_for_client(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STARVING
    }
}

/// The body of a request on its way to a target.
pub(super) struct Upload {
    body: Incoming,
    pulse: Arc<Pulse>,
    progress: Arc<Progress>,
}

impl Upload {
    pub(super) fn new(body: Incoming, pulse: &Arc<Pulse>, progress: &Arc<Progress>) -> Self {
        Self { body, pulse: Arc::clone(pulse), progress: Arc::clone(progress) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let progress = match &polled {
            Poll::Pending => STARVING,
            Poll::Ready(Some(Ok(_))) => {
                self.pulse.touch();
                if self.body.is_end_stream() { COMPLETE } else { UNREAD }
            }
            Poll::Ready(_) => COMPLETE,
        };
        self.progress.0.store(progress, Ordering::Relaxed);
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response on its way to a client.
pub(super) struct Download<B> {
    body: B,
    pulse: Arc<Pulse>,
    limit: Duration,
    flight: Flight,
    _visit: Visit,
    /// What ends the exchange early; made when the body is waited for.
    end: Option<Pin<Box<dyn Future<Output = &'static str> + Send>>>,
}

impl<B> Download<B> {
    pub(super) fn new(body: B, pulse: Arc<Pulse>, limit: Duration, flight: Flight, visit: Visit) -> Self {
        Self { body, pulse, limit, flight, _visit: visit, end: None }
    }
}

impl<B> Body for Download<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.body).poll_frame(context) {
            self.pulse.touch();
            return Poll::Ready(polled.map(|frame| frame.map_err(Into::into)));
        }
        let this = &mut *self;
        let end = this.end.get_or_insert_with(|| {
            let (pulse, limit, target) = (Arc::clone(&this.pulse), this.limit, Arc::clone(&this.flight.0));
            Box::pin(async move {
                tokio::select! {
                    () = pulse.silent(limit) => "the exchange was idle for too long",
                    () = target.cut_off() => "the deregistration delay of the target is over",
                }
            })
        });
        end.as_mut().poll(context).map(|why| Some(Err(why.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
