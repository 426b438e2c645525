//! The state of a listener: its targets, if they are understood. Must not know how it was read.

use crate::Color;
use crate::route::{Place, Route};

/// The targets of a listener's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerState {
    /// To the target groups of this stack's environments, and nowhere else.
    At(Route),
    /// Nowhere: it has no rule, because nothing was released yet or a person deleted it.
    Absent,
    /// Somewhere else, with a description.
    NotUnderstood(String),
}

impl ListenerState {
    /// Its route, if that is understood.
    pub const fn route(&self) -> Option<Route> {
        match self {
            Self::At(route) => Some(*route),
            Self::Absent | Self::NotUnderstood(_) => None,
        }
    }

    /// The same for the machine, without the description.
    pub const fn place(&self) -> Place<Route> {
        match self {
            Self::At(route) => Place::At(*route),
            Self::Absent => Place::Absent,
            Self::NotUnderstood(_) => Place::Unknown,
        }
    }

    /// Why it sends requests nowhere or somewhere else; `None` if it sends them to the environments.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::At(_) => None,
            Self::Absent => Some("it has no rule that forwards to an environment"),
            Self::NotUnderstood(problem) => Some(problem),
        }
    }

    /// The environment that gets everything, if there is one.
    pub fn color(&self) -> Option<Color> {
        self.route().and_then(Route::whole)
    }
}

/// Both listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// The listener that users open.
    pub prod: ListenerState,
    /// The listener to test the next release.
    pub dev: ListenerState,
}
