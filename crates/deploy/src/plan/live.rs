//! The effect of a change on current users: what each resource serves is read from the marks in the
//! templates, and a resource without a mark counts as one that serves everyone. Pure.

use std::collections::{BTreeMap, BTreeSet};

use model::color::Color;
use serde_json::Value;

use super::REVISIONS;
use super::difference::{Action, Difference};
use cfn_kit::references;
pub use stack::part::Serves;

/// Type of the load balancer's listeners.
pub const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";

/// The property with a listener's target for requests that match no rule.
pub const DEFAULT_ACTIONS: &str = "DefaultActions";

/// Changes of these reach nothing that runs. A change set names them as it names properties.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceTargetDefinition.html>
const HARMLESS: [&str; 2] = ["Metadata", "Tags"];

/// What only says who may do what: without anything that refers to it, nobody who is served depends on it.
const RIGHTS: [&str; 3] = ["AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role"];

/// The worse of what the old and the new template say.
fn worse(one: Serves, other: Serves) -> Serves {
    match (one, other) {
        (one, other) if one == other => one,
        (Serves::Nobody, other) => other,
        (one, Serves::Nobody) => one,
        _ => Serves::Everyone,
    }
}

/// What the resources of two templates serve.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    serves: BTreeMap<String, Serves>,
    /// The listeners whose default action will be one fixed response.
    fixed_responses: BTreeSet<String>,
    /// What nothing in the deployed template refers to.
    unused: BTreeSet<String>,
}

impl Marks {
    /// Reads the marks of the deployed template and of the new one.
    ///
    /// If the deployed template marks a resource, the worse of both marks counts. If it does not, as an older version
    /// of this command wrote it, the mark of the new template counts. A resource without a mark serves everyone.
    pub fn of(before: &Value, after: &Value) -> Self {
        let used: BTreeSet<String> = references(before).into_iter().map(|reference| reference.to).collect();
        let (old_marks, new_marks) = (before, after);
        let (before, after) = (resources(before), resources(after));
        let ids: BTreeSet<&String> = before.keys().chain(after.keys()).copied().collect();
        let serves = ids.into_iter().map(|id| {
            let (old, new) = (Serves::of(old_marks, id), Serves::of(new_marks, id));
            let mark = match (before.contains_key(id), after.contains_key(id)) {
                (true, true) => {
                    let new = new.unwrap_or_default();
                    old.map_or(new, |old| worse(old, new))
                }
                (true, false) => old.unwrap_or_default(),
                (false, _) => new.unwrap_or_default(),
            };
            (id.clone(), mark)
        });
        let unused = before.keys().filter(|id| !used.contains(id.as_str())).map(|id| (*id).clone()).collect();
        let fixed = after.iter().filter(|(_, body)| responds_by_itself(body)).map(|(id, _)| (*id).clone());
        Self { serves: serves.collect(), fixed_responses: fixed.collect(), unused }
    }

    /// Who is served by the resource with this logical id.
    pub fn serves(&self, id: &str) -> Serves {
        self.serves.get(id).copied().unwrap_or_default()
    }

    /// The effect of a change on the users of the resource.
    pub fn effect(&self, change: &Difference) -> Effect {
        let touches = |name: &str| change.properties.iter().any(|it| it.top() == name && !it.stays);
        let harmless = || change.properties.iter().all(|it| it.stays || HARMLESS.contains(&it.top()));
        match change.action {
            Action::Add => Effect::None,
            // As of a role that halves of an older version shared, once both have their own.
            Action::Remove if RIGHTS.contains(&change.kind.as_str()) && self.unused.contains(&change.id) => {
                Effect::None
            }
            Action::Remove => Effect::Removed,
            Action::Replace if change.kind == REVISIONS => Effect::Revision,
            Action::Replace => Effect::Replaced,
            // A change without details can be any change.
            Action::Modify if change.vague || change.properties.is_empty() => Effect::Unknown,
            Action::Modify if harmless() => Effect::None,
            Action::Modify if change.kind == LISTENER && touches(DEFAULT_ACTIONS) => {
                Effect::DefaultActions { fixed_response: self.fixed_responses.contains(&change.id) }
            }
            Action::Modify => Effect::InPlace,
        }
    }

    /// What users notice, one sentence for each change.
    pub fn noticed(&self, changes: &[Difference], live: Option<Color>) -> Vec<String> {
        changes.iter().filter_map(|change| self.sentence(change, live)).collect()
    }

    fn sentence(&self, change: &Difference, live: Option<Color>) -> Option<String> {
        let effect = self.effect(change);
        if effect == Effect::None {
            return None;
        }
        let whom = match self.serves(&change.id) {
            Serves::Everyone => "it serves all users".to_owned(),
            Serves::Environment(color) if Some(color) == live => match effect {
                Effect::Revision | Effect::InPlace => "users of prod get it immediately".to_owned(),
                _ => format!("it serves users of prod ({color})"),
            },
            Serves::Environment(_) | Serves::Nobody => return None,
        };
        let mut properties: Vec<&str> =
            change.properties.iter().filter(|property| !property.stays).map(|property| property.top()).collect();
        properties.dedup();
        let named = if properties.is_empty() { String::new() } else { format!(" ({})", properties.join(", ")) };
        let what = match effect {
            Effect::Removed => "is removed".to_owned(),
            Effect::Replaced => "is replaced".to_owned(),
            Effect::Revision => "gets a new revision".to_owned(),
            Effect::Unknown => "changes, and CloudFormation does not say how".to_owned(),
            _ => format!("changes in place{named}"),
        };
        Some(format!("{} {what}: {whom}", change.id))
    }

    /// Whether a change is asked about before it is made: one in place, of what everyone goes through.
    pub fn is_asked_about(&self, change: &Difference) -> bool {
        let in_place = matches!(self.effect(change), Effect::InPlace | Effect::DefaultActions { .. } | Effect::Unknown);
        in_place && self.serves(&change.id) == Serves::Everyone
    }
}

/// The effect of a change on the users of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is new, or only tags and metadata change.
    None,
    /// It stays and is changed.
    InPlace,
    /// A task definition gets a new revision; the tasks that run it are replaced.
    Revision,
    /// A listener gets other default actions.
    DefaultActions {
        /// Whether these are exactly one fixed response.
        fixed_response: bool,
    },
    /// Another one takes its place.
    Replaced,
    /// It is gone.
    Removed,
    /// The change set does not say what changes.
    Unknown,
}

fn resources(template: &Value) -> BTreeMap<&String, &Value> {
    template.get("Resources").and_then(Value::as_object).into_iter().flatten().collect()
}

/// Whether this is a listener whose only default action is a fixed response.
fn responds_by_itself(resource: &Value) -> bool {
    let Some([action]) = resource.pointer("/Properties/DefaultActions").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return false;
    };
    let is_listener = resource.get("Type").and_then(Value::as_str) == Some(LISTENER);
    is_listener && action.get("Type").and_then(Value::as_str) == Some("fixed-response")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn marked(mark: Option<&str>) -> Value {
        let body = match mark {
            Some(mark) => json!({ "Type": "T", "Metadata": { "bluegreen": { "serves": mark } } }),
            None => json!({ "Type": "T" }),
        };
        json!({ "Resources": { "It": body } })
    }

    #[test]
    fn the_worse_mark_counts_and_a_missing_one_means_everyone() {
        let blue = Serves::Environment(Color::Blue);
        for (before, after, expected) in [
            (Some("nobody"), Some("nobody"), Serves::Nobody),
            (Some("blue"), Some("blue"), blue),
            (Some("nobody"), Some("blue"), blue),
            (Some("blue"), Some("nobody"), blue),
            (Some("blue"), Some("green"), Serves::Everyone),
            (Some("nobody"), Some("everyone"), Serves::Everyone),
            (Some("something"), Some("nobody"), Serves::Nobody),
            (Some("nobody"), Some("something"), Serves::Everyone),
            (Some("nobody"), None, Serves::Everyone),
            (None, None, Serves::Everyone),
            // The migration from a template without marks.
            (None, Some("nobody"), Serves::Nobody),
            (None, Some("blue"), blue),
        ] {
            let marks = Marks::of(&marked(before), &marked(after));
            assert_eq!(marks.serves("It"), expected, "{before:?} {after:?}");
        }
        let gone = Marks::of(&marked(Some("blue")), &json!({}));
        assert_eq!(gone.serves("It"), blue);
        assert_eq!(Marks::of(&marked(None), &Value::Null).serves("It"), Serves::Everyone);
        assert_eq!(gone.serves("Other"), Serves::Everyone);
    }

    #[test]
    fn a_role_that_nothing_refers_to_any_more_can_go() {
        let removed = |kind: &str| Difference {
            id: "Role".to_owned(),
            kind: kind.to_owned(),
            action: Action::Remove,
            properties: Vec::new(),
            vague: false,
        };
        let role =
            |user: Value| json!({ "Resources": { "Role": { "Type": RIGHTS[2] }, "Task": { "Properties": user } } });
        let effect = |user: Value, kind: &str| Marks::of(&role(user), &json!({})).effect(&removed(kind));
        assert_eq!(effect(json!({}), RIGHTS[2]), Effect::None);
        assert_eq!(effect(json!({ "R": { "Fn::GetAtt": ["Role", "Arn"] } }), RIGHTS[2]), Effect::Removed);
        assert_eq!(effect(json!({}), "AWS::EC2::SecurityGroup"), Effect::Removed);
    }

    #[test]
    fn only_a_single_fixed_response_counts_as_one() {
        let listener = |kind: &str, actions: Value| {
            let after = json!({ "Resources": { "L": { "Type": kind, "Properties": { "DefaultActions": actions } } } });
            Marks::of(&Value::Null, &after).fixed_responses.contains("L")
        };
        let fixed = || json!({ "Type": "fixed-response", "FixedResponseConfig": { "StatusCode": "503" } });
        assert!(listener(LISTENER, json!([fixed()])));
        assert!(!listener(LISTENER, json!([fixed(), { "Type": "forward" }])));
        assert!(!listener(LISTENER, json!([{ "Type": "forward" }])));
        assert!(!listener(LISTENER, json!({ "Fn::If": ["C", [fixed()], []] })));
        assert!(!listener("AWS::Other::Listener", json!([fixed()])));
    }
}
