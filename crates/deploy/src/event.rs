//! Sends events: numbers them, and says when they happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use model::event::{Event, EventKind, SCHEMA, Step};

/// The number of the last event, and of the last step, of this process.
static EVENTS: AtomicU64 = AtomicU64::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Receives events.
pub trait Listener: Send + Sync {
    /// Takes an event.
    fn on(&self, event: &Event);
}

/// Ignores every event.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Listener for Silent {
    fn on(&self, _: &Event) {}
}

impl dyn Listener + '_ {
    /// Sends what happens now.
    pub fn send(&self, kind: EventKind) {
        let event_id = EVENTS.fetch_add(1, Ordering::Relaxed) + 1;
        self.on(&Event { schema: SCHEMA, event_id, time: Timestamp::now(), kind });
    }

    /// Sends a note.
    pub fn note(&self, text: impl Into<String>) {
        self.send(EventKind::Note { text: text.into() });
    }

    /// Sends a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(EventKind::Warning { text: text.into() });
    }

    /// Sends the start of a step; the timer sends its end.
    pub fn start(&self, step: impl Into<String>) -> Timer {
        let step = Step { id: STEPS.fetch_add(1, Ordering::Relaxed) + 1, name: step.into() };
        self.send(EventKind::Started { step: step.clone() });
        Timer { step, began: Instant::now() }
    }
}

/// A step that has begun.
#[derive(Debug)]
#[must_use = "a step that began must end"]
pub struct Timer {
    step: Step,
    began: Instant,
}

impl Timer {
    /// Sends the success of the step.
    pub fn finish(self, listener: &dyn Listener, detail: impl Into<String>) {
        let (detail, elapsed) = (detail.into(), self.began.elapsed());
        listener.send(EventKind::Finished { step: self.step, detail, elapsed });
    }
}
