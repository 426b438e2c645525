//! The two environments. A color identifies an environment. Live or idle is its current role, never part of its name.
//! Must not know about listeners or target groups.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of the two environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// The blue environment.
    Blue,
    /// The green environment.
    Green,
}

impl Color {
    /// Both environments, in a fixed order.
    pub const ALL: [Self; 2] = [Self::Blue, Self::Green];

    /// The other environment.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// The lower-case name, as used in events, headers and resource names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text was neither `blue` nor `green`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an environment; use blue or green")]
pub struct UnknownColor(pub String);

impl FromStr for Color {
    type Err = UnknownColor;

    fn from_str(text: &str) -> Result<Self, UnknownColor> {
        Self::ALL
            .into_iter()
            .find(|color| color.as_str() == text)
            .ok_or_else(|| UnknownColor(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for color in Color::ALL {
            assert_eq!(color.to_string().parse(), Ok(color));
            assert_eq!(serde_json::to_value(color).unwrap(), color.as_str());
            assert_eq!(color.other().other(), color);
        }
        assert!("Blue".parse::<Color>().is_err());
    }
}
