//! A response body whose request counts as in progress until the body has ended or is dropped.

use super::target::Flight;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body with the in-progress request that it keeps open.
pub(super) struct Guarded<B> {
    body: B,
    _flight: Flight,
}

impl<B> Guarded<B> {
    pub(super) fn new(body: B, flight: Flight) -> Self {
        Self { body, _flight: flight }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Guarded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
