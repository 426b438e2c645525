//! Where prod and dev send requests, and what that makes of each environment.

use std::fmt;

use aws::rules::Found;
use model::color::Color;
use model::listener::ListenerState;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// Where prod and dev send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// What users get.
    pub prod: ListenerState,
    /// The state of the dev listener.
    pub dev: ListenerState,
    /// Whether rules of the stack say so. The listeners of a stack that an older version made forward by themselves.
    pub by_rules: bool,
}

impl From<Found> for Traffic {
    fn from(found: Found) -> Self {
        Self { prod: found.listeners.prod, dev: found.listeners.dev, by_rules: found.by_rules }
    }
}

impl Traffic {
    /// The environment that gets all of prod's requests, if there is one.
    pub fn prod_color(&self) -> Option<Color> {
        self.prod.color()
    }

    /// The environment that gets dev's requests, if there is one.
    pub fn dev_color(&self) -> Option<Color> {
        self.dev.color()
    }

    /// The percentage of prod's requests that an environment gets.
    pub fn share(&self, color: Color) -> u8 {
        self.prod.route().map_or(0, |route| route.percent(color))
    }

    /// The live environment, or none if no rule says which because nothing was released yet; an error if prod does not
    /// send everything to one environment.
    pub fn live(&self) -> Result<Option<Color>> {
        match (&self.prod, self.prod_color()) {
            (_, Some(color)) => Ok(Some(color)),
            (ListenerState::Absent, _) => Ok(None),
            (ListenerState::At(route), _) => Err(Error::Split { route: *route }),
            (ListenerState::NotUnderstood(problem), _) => Err(Error::NotUnderstood { problem: problem.clone() }),
        }
    }

    /// The live environment; an error if nothing was released yet, too.
    pub fn require_live(&self) -> Result<Color> {
        self.live()?.ok_or(Error::NotReleased)
    }

    /// The role of an environment.
    pub fn role(&self, color: Color) -> Role {
        Role { share: self.share(color), dev: self.dev_color() == Some(color) }
    }
}

/// What an environment is to prod and dev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// The percentage of prod's requests that it gets.
    pub share: u8,
    /// Whether it gets dev's requests.
    pub dev: bool,
}

impl Role {
    /// All of prod's requests.
    pub const PROD: Self = Self { share: 100, dev: false };
    /// All of dev's requests.
    pub const DEV: Self = Self { share: 0, dev: true };
    /// No requests.
    pub const NONE: Self = Self { share: 0, dev: false };

    /// Whether it gets requests of prod.
    pub const fn serves_prod(self) -> bool {
        self.share > 0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.share, self.dev) {
            (0, true) => "dev".to_owned(),
            (0, false) => "no traffic".to_owned(),
            (100, true) => "prod+dev".to_owned(),
            (100, false) => "prod".to_owned(),
            (share, true) => format!("prod {share} %+dev"),
            (share, false) => format!("prod {share} %"),
        };
        out.pad(&text)
    }
}

/// As two fields: the text, and the percentage.
impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Role", 2)?;
        fields.serialize_field("role", &self.to_string())?;
        fields.serialize_field("prod_percent", &self.share)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_reported_by_both_listeners() {
        for (share, dev, expected) in [
            (0, true, "dev"),
            (0, false, "no traffic"),
            (100, true, "prod+dev"),
            (100, false, "prod"),
            (10, true, "prod 10 %+dev"),
            (10, false, "prod 10 %"),
        ] {
            let role = Role { share, dev };
            assert_eq!(role.to_string(), expected);
            assert_eq!(role.serves_prod(), expected.starts_with("prod"), "{expected}");
        }
        let json = serde_json::to_string(&Role::PROD).unwrap();
        assert_eq!(json, r#"{"role":"prod","prod_percent":100}"#);
    }
}
