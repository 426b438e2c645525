//! What the viewers see at one moment: the parts of the page as HTML, made once for all of them.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::actions::{self, Action};
use super::view::{self, View};

/// The page's parts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// By the id of the element that holds it.
    pub parts: Vec<(&'static str, String)>,
    /// One sentence for a screen reader, new only where something of weight has changed.
    pub announcement: String,
    /// What may be asked for.
    pub actions: Vec<Action>,
    /// The page's title.
    pub title: String,
}

impl Frame {
    /// Before anything was read.
    pub fn empty() -> Arc<Self> {
        Self::of(&View::default())
    }

    /// The frame of a view.
    pub fn of(view: &View) -> Arc<Self> {
        Arc::new(Self {
            parts: view::parts(view).into_iter().map(|(id, html)| (id, html.into_string())).collect(),
            announcement: view::announcement(view),
            actions: actions::actions(view, jiff::Timestamp::now()),
            title: view::title(view),
        })
    }

    /// The frame as one server-sent event.
    pub fn event(&self) -> String {
        // Text and lists can always be written as JSON; JSON has no line breaks that would end the event.
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut event = String::with_capacity(json.len() + 32);
        let _ = write!(event, "event: frame\ndata: {json}\n\n");
        event
    }
}
