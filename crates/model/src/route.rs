//! The route of a listener's requests: to one environment, or to both by weight during a shift.
//! Must not know how a listener is read or written.

use crate::Color;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// The listener that users open.
    Prod,
    /// The listener to test the next release.
    Dev,
}

impl Listener {
    /// The name in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prod => "prod",
            Self::Dev => "dev",
        }
    }
}

/// The targets of a listener's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// All to one environment.
    All(Color),
    /// To both: this percentage to blue, 1–99, the rest to green.
    Split {
        /// Blue's percentage.
        blue: u8,
    },
}

impl Route {
    /// `percent` of the requests to `to`, the rest to the other environment. 0 and 100 are not a split.
    pub const fn share(to: Color, percent: u8) -> Self {
        match (percent, to) {
            (0, _) => Self::All(to.other()),
            (100.., _) => Self::All(to),
            (_, Color::Blue) => Self::Split { blue: percent },
            (_, Color::Green) => Self::Split { blue: 100 - percent },
        }
    }

    /// The percentage of the requests that an environment gets.
    pub const fn percent(self, color: Color) -> u8 {
        match (self, color) {
            (Self::All(Color::Blue), Color::Blue) | (Self::All(Color::Green), Color::Green) => 100,
            (Self::All(_), _) => 0,
            (Self::Split { blue }, Color::Blue) => blue,
            (Self::Split { blue }, Color::Green) => 100 - blue,
        }
    }

    /// The environment that gets all requests; `None` if both get some.
    pub const fn whole(self) -> Option<Color> {
        match self {
            Self::All(color) => Some(color),
            Self::Split { .. } => None,
        }
    }

    /// The environment that gets more requests; `None` if both get the same.
    pub const fn heavier(self) -> Option<Color> {
        match self.percent(Color::Blue) {
            0..50 => Some(Color::Green),
            50 => None,
            _ => Some(Color::Blue),
        }
    }

    /// Whether an environment gets any requests.
    pub const fn reaches(self, color: Color) -> bool {
        self.percent(color) > 0
    }
}

/// What is known about the target of a listener's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place<T> {
    /// It was not read, or a write was not answered.
    #[default]
    Unknown,
    /// There is no rule: nothing was released yet, or the rule was deleted.
    Absent,
    /// The rule sends requests there.
    At(T),
}

impl<T: Copy> Place<T> {
    /// The value, if it is known.
    pub const fn at(self) -> Option<T> {
        match self {
            Self::At(value) => Some(value),
            Self::Unknown | Self::Absent => None,
        }
    }

    /// Whether it was read and understood.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

impl<T> From<Option<T>> for Place<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::At)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(color) => color.fmt(f),
            Self::Split { blue } => write!(f, "{blue} % blue and {} % green", 100 - blue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Color::{Blue, Green};

    #[test]
    fn a_share_is_the_same_route_from_either_side() {
        for percent in 0..=100 {
            let route = Route::share(Blue, percent);
            assert_eq!(route, Route::share(Green, 100 - percent));
            assert_eq!((route.percent(Blue), route.percent(Green)), (percent, 100 - percent));
        }
    }

    #[test]
    fn nothing_and_everything_are_no_split() {
        assert_eq!(Route::share(Blue, 0).whole(), Some(Green));
        assert_eq!(Route::share(Blue, 100).whole(), Some(Blue));
        assert_eq!(Route::share(Blue, 30).whole(), None);
    }

    #[test]
    fn the_heavier_side_has_more() {
        let heavier = [1, 50, 51].map(|blue| Route::Split { blue }.heavier());
        assert_eq!(heavier, [Some(Green), None, Some(Blue)]);
        assert_eq!(Route::All(Green).heavier(), Some(Green));
    }
}
