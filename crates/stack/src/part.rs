//! The part of the system that a resource belongs to: shared, one environment's, or needed by no request.
//!
//! Every construct declares it when it adds resources ([`Marking::serving`]), and the template stores it in the
//! metadata of each resource. Readers of a deployed template (the guard of live resources, the assembly of templates)
//! use [`Serves::of`] and need no logical ids.

use model::color::Color;
use serde_json::{Value, json};

use super::load_balancer::title;
use cfn_kit::{Scope, Stack};

/// The key of this product's metadata, in a resource and in the template.
pub const METADATA: &str = "bluegreen";

/// The key of the mark in a resource's metadata.
const SERVES: &str = "serves";

/// Logical ids, after the name of the color, of an environment's resources in templates without marks (of versions up
/// to f79cde2).
const UNMARKED_HALF: [&str; 6] = ["LogGroup", "TargetGroup", "TaskDefinition", "Service", "Capacity", "Scaling"];

/// What a resource serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// Users of prod: requests go through it, or live tasks depend on it. Also the assumption for unknown resources.
    #[default]
    Everyone,
    /// The environment of this color: the resource is in the part of the template of that environment.
    Environment(Color),
    /// No request: it is only for operations (ledger, function, alarms, logs of others).
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

    /// What a resource of a template serves.
    ///
    /// If there is no mark, the environments' resources of older versions are recognized by their logical ids. For any
    /// other resource without a mark, and for one that does not exist, the result is `None`: callers must assume that
    /// it serves users.
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

/// Declares what the resources of a construct serve.
pub trait Marking {
    /// Begins a scope with resources that serve this.
    fn serving(&mut self, serves: Serves) -> Scope<'_>;

    /// Begins a scope with resources of this environment.
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
