//! Which part of the system a resource is: shared by everyone, one environment's half, or needed by no request.
//!
//! Every construct says it where it adds its resources ([`Marking::serving`]), and the template carries it in the
//! resource's metadata. What reads a deployed template (the guard of live resources, the assembly of halves) asks
//! [`Serves::of`] and knows no logical ids.

use model::color::Color;
use serde_json::{Value, json};

use super::load_balancer::title;
use cfn_kit::{Scope, Stack};

/// The key of this product's metadata, in a resource and in the template.
pub const METADATA: &str = "bluegreen";

/// The key of the mark in a resource's metadata.
const SERVES: &str = "serves";

/// The resources of an environment in templates without marks (of releases up to f79cde2), after the color's name.
const UNMARKED_HALF: [&str; 6] = ["LogGroup", "TargetGroup", "TaskDefinition", "Service", "Capacity", "Scaling"];

/// Whom a resource serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// Users of prod: requests go through it, or live tasks depend on it. Assumed of what is not known.
    #[default]
    Everyone,
    /// The environment of this color: the resource is in that environment's half of the template.
    Environment(Color),
    /// No request: operations only (ledger, function, alarms, logs of others).
    Nobody,
}

impl Serves {
    /// The mark as it is written in the template.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Environment(Color::Blue) => "blue",
            Self::Environment(Color::Green) => "green",
            Self::Nobody => "nobody",
        }
    }

    /// Whom a resource of a template serves.
    ///
    /// Without a mark, the halves that older releases made are recognized by their logical ids. Everything else
    /// without a mark, and a resource that is not there, is `None`: assume the worst of it.
    pub fn of(template: &Value, logical_id: &str) -> Option<Self> {
        let resource = template["Resources"].get(logical_id)?;
        match resource["Metadata"][METADATA].get(SERVES) {
            Some(mark) => Self::parse(mark.as_str()?),
            None => Color::ALL.into_iter().find(|color| is_unmarked_half(logical_id, *color)).map(Self::Environment),
        }
    }

    fn parse(mark: &str) -> Option<Self> {
        let all = [Self::Everyone, Self::Environment(Color::Blue), Self::Environment(Color::Green), Self::Nobody];
        all.into_iter().find(|serves| serves.as_str() == mark)
    }
}

fn is_unmarked_half(logical_id: &str, color: Color) -> bool {
    logical_id.strip_prefix(title(color)).is_some_and(|rest| UNMARKED_HALF.contains(&rest))
}

/// Says whom the resources of a construct serve.
pub trait Marking {
    /// Begins a scope whose resources serve these.
    fn serving(&mut self, serves: Serves) -> Scope<'_>;

    /// Begins a scope whose resources are in the half of this environment.
    fn serving_half(&mut self, color: Color) -> Scope<'_> {
        self.serving(Serves::Environment(color))
    }
}

impl Marking for Stack {
    fn serving(&mut self, serves: Serves) -> Scope<'_> {
        self.annotated(METADATA, json!({ SERVES: serves.as_str() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_what_counts_and_a_half_without_one_is_known_by_its_name() {
        let marked = |mark: &str| json!({ "Metadata": { "bluegreen": { "serves": mark } } });
        let template = json!({ "Resources": {
            "A": marked("everyone"),
            "B": marked("green"),
            "BlueService": marked("nobody"),
            "GreenService": {},
            "BlueErrorsAlarm": {},
            "Unknown": marked("somebody"),
        } });
        for (id, serves) in [
            ("A", Some(Serves::Everyone)),
            ("B", Some(Serves::Environment(Color::Green))),
            ("BlueService", Some(Serves::Nobody)),
            ("GreenService", Some(Serves::Environment(Color::Green))),
            ("BlueErrorsAlarm", None),
            ("Unknown", None),
            ("Missing", None),
        ] {
            assert_eq!(Serves::of(&template, id), serves, "{id}");
        }
    }
}
