//! Requests that are under way, so that a drain can wait for exactly those that may have chosen its target.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// The requests under way, numbered in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: BTreeSet<u64>,
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Flights,
    number: u64,
}

impl Flights {
    /// A request starts.
    pub(crate) fn enter(&self) -> Flight {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.open.insert(number);
        Flight { flights: self.clone(), number }
    }

    /// A point in time: every request so far is before it.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().next
    }

    /// Whether a request from before the mark is still under way.
    pub(crate) fn any_before(&self, mark: u64) -> bool {
        self.lock().open.first().is_some_and(|first| *first < mark)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().open.remove(&self.number);
    }
}

/// A body whose request is under way until the body has ended or was given up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_from_before_the_mark_count() {
        let flights = Flights::default();
        let early = flights.enter();
        let mark = flights.mark();
        let _late = flights.enter();
        assert!(flights.any_before(mark));
        drop(early);
        assert!(!flights.any_before(mark));
    }
}
