//! What differs between two states of a stack, property by property. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::evaluate::{Described, single};
use cfn_kit::resources::schema::Replaces;

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is created.
    Add,
    /// It is changed in place.
    Modify,
    /// Another one is created, and this one is removed.
    Replace,
    /// It is removed.
    Remove,
}

/// A property that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its path, for example `ContainerDefinitions[app].Image`.
    pub path: String,
    /// Its value now, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value afterwards, if it will have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Another resource whose change brings this one about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// Whether what it follows keeps its identity, so that it will have the value that it has.
    #[serde(skip)]
    pub stays: bool,
}

impl Property {
    /// The property that it is or is inside of.
    pub fn top(&self) -> &str {
        self.path.split(['.', '[']).next().unwrap_or_default()
    }
}

/// What differs in one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The resource's logical id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happens to it.
    pub action: Action,
    /// The properties that differ.
    pub properties: Vec<Property>,
    /// Whether the change set lists the change without its details, so that it can be any.
    #[serde(skip)]
    pub vague: bool,
}

/// The effect of a change of this property on a resource of this type; `None` if unknown.
pub type Model = fn(&str, &str) -> Option<Replaces>;

/// What differs, by logical id.
pub fn compare(
    before: &BTreeMap<String, Described>,
    after: &BTreeMap<String, Described>,
    replaces: Model,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for id in ids {
        let difference = |kind: &str, action, properties| Difference {
            id: id.clone(),
            kind: kind.to_owned(),
            action,
            properties,
            vague: false,
        };
        match (before.get(id), after.get(id)) {
            (Some(old), Some(new)) if old.kind != new.kind => {
                found.push(difference(&new.kind, Action::Replace, Vec::new()));
            }
            (Some(old), Some(new)) => {
                let properties = compare_properties(&old.properties, &new.properties);
                if !properties.is_empty() {
                    let another = properties.iter().any(|it| replaces(&new.kind, it.top()) == Some(Replaces::Always));
                    let action = if another { Action::Replace } else { Action::Modify };
                    found.push(difference(&new.kind, action, properties));
                }
            }
            (Some(old), None) => found.push(difference(&old.kind, Action::Remove, Vec::new())),
            (None, Some(new)) => found.push(difference(&new.kind, Action::Add, Vec::new())),
            (None, None) => {}
        }
    }
    follow_replacements(&mut found, after, replaces);
    found
}

/// Adds what changes because something it refers to is replaced, until nothing more does.
fn follow_replacements(found: &mut Vec<Difference>, after: &BTreeMap<String, Described>, replaces: Model) {
    let all_replaced = |found: &[Difference]| -> BTreeSet<String> {
        found.iter().filter(|it| it.action == Action::Replace).map(|it| it.id.clone()).collect()
    };
    let mut handled = BTreeSet::new();
    loop {
        let now = all_replaced(found);
        if now == handled {
            break;
        }
        for (id, described) in after {
            for (name, value) in &described.properties {
                for other in now.iter().filter(|other| *other != id && refers(value, other)) {
                    follow(found, id, described, name, other, replaces);
                }
            }
        }
        handled = now;
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
}

fn follow(found: &mut Vec<Difference>, id: &str, described: &Described, property: &str, other: &str, replaces: Model) {
    let position = found.iter().position(|it| it.id == id).unwrap_or_else(|| {
        let (id, kind) = (id.to_owned(), described.kind.clone());
        found.push(Difference { id, kind, action: Action::Modify, properties: Vec::new(), vague: false });
        found.len() - 1
    });
    let difference = &mut found[position];
    if difference.action == Action::Add
        || difference.properties.iter().any(|it| it.path == property && it.follows.as_deref() == Some(other))
    {
        return;
    }
    difference.properties.push(Property {
        path: property.to_owned(),
        before: None,
        after: None,
        follows: Some(other.to_owned()),
        stays: false,
    });
    if replaces(&described.kind, property) == Some(Replaces::Always) && difference.action == Action::Modify {
        difference.action = Action::Replace;
    }
}

/// Whether a value contains a reference to the resource with this logical id.
fn refers(value: &Value, id: &str) -> bool {
    match single(value) {
        Some(("Ref", Value::String(name))) => return name == id,
        Some(("Fn::GetAtt", Value::Array(parts))) => return parts.first().and_then(Value::as_str) == Some(id),
        Some(("Fn::Sub", Value::String(text))) => {
            return text.contains(&format!("${{{id}}}")) || text.contains(&format!("${{{id}."));
        }
        _ => {}
    }
    match value {
        Value::Array(items) => items.iter().any(|item| refers(item, id)),
        Value::Object(fields) => fields.values().any(|field| refers(field, id)),
        _ => false,
    }
}

fn compare_properties(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Property> {
    let mut found = Vec::new();
    descend("", &Value::Object(before.clone()), &Value::Object(after.clone()), &mut found);
    found
}

/// Descends while both sides have the same shape, and reports the smallest differences.
fn descend(path: &str, before: &Value, after: &Value, found: &mut Vec<Property>) {
    if before == after {
        return;
    }
    match (parts(before), parts(after)) {
        (Some(old), Some(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if key.starts_with('[') || path.is_empty() {
                    format!("{path}{key}")
                } else {
                    format!("{path}.{key}")
                };
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => descend(&path, old, new, found),
                    (old, new) => found.push(leaf(path, old.copied(), new.copied())),
                }
            }
        }
        _ => found.push(leaf(path.to_owned(), Some(before), Some(after))),
    }
}

fn leaf(path: String, before: Option<&Value>, after: Option<&Value>) -> Property {
    Property { path, before: before.map(text), after: after.map(text), follows: None, stays: false }
}

/// The parts of a value by name; `None` if it has none, or if CloudFormation computes it as a whole.
fn parts(value: &Value) -> Option<BTreeMap<String, &Value>> {
    match value {
        Value::Object(_) if single(value).is_some_and(|(key, _)| key == "Ref" || key.starts_with("Fn::")) => None,
        Value::Object(fields) => Some(fields.iter().map(|(key, value)| (key.clone(), value)).collect()),
        Value::Array(items) => {
            let named: BTreeMap<String, &Value> = items.iter().filter_map(|item| Some((name(item)?, item))).collect();
            if named.len() == items.len() {
                return Some(named);
            }
            Some(items.iter().enumerate().map(|(index, item)| (format!("[{index}]"), item)).collect())
        }
        _ => None,
    }
}

/// What an item of a list is called, where such items have names: a tag, a container, a statement.
fn name(item: &Value) -> Option<String> {
    let name = ["Key", "Name", "Sid", "PolicyName", "Id"].iter().find_map(|field| item.get(field)?.as_str())?;
    Some(format!("[{name}]"))
}

/// A value in one line.
pub fn text(value: &Value) -> String {
    match single(value) {
        Some(("Ref", Value::String(name))) => return format!("${{{name}}}"),
        Some(("Fn::Sub", Value::String(text))) => return text.clone(),
        Some(("Fn::GetAtt", Value::Array(parts))) => {
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            return format!("${{{}}}", parts.join("."));
        }
        _ => {}
    }
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stack(resources: Value) -> BTreeMap<String, Described> {
        let Value::Object(resources) = resources else { return BTreeMap::new() };
        resources
            .into_iter()
            .map(|(id, properties)| {
                let kind = format!("T::{}", id.trim_end_matches(char::is_numeric));
                let Value::Object(properties) = properties else {
                    return (id, Described { kind, properties: Map::new() });
                };
                (id, Described { kind, properties })
            })
            .collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "the model of another type may not know")]
    fn name_replaces(_: &str, property: &str) -> Option<Replaces> {
        Some(if property == "Name" { Replaces::Always } else { Replaces::Never })
    }

    #[test]
    fn the_same_state_has_no_differences() {
        let state = stack(json!({ "A": { "Name": "a" } }));
        assert!(compare(&state, &state, name_replaces).is_empty());
    }

    #[test]
    fn the_smallest_thing_that_differs_is_reported_by_its_name() {
        let before = stack(json!({ "A": { "Containers": [{ "Name": "app", "Image": "1", "Port": 80 }] } }));
        let after = stack(json!({ "A": { "Containers": [{ "Name": "app", "Image": "2", "Port": 80 }] } }));
        let found = compare(&before, &after, name_replaces);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].action, Action::Modify);
        assert_eq!(found[0].properties[0].path, "Containers[app].Image");
        assert_eq!(found[0].properties[0].top(), "Containers");
        assert_eq!(found[0].properties[0].before.as_deref(), Some("1"));
        assert_eq!(found[0].properties[0].after.as_deref(), Some("2"));
    }

    #[test]
    fn a_create_only_property_replaces_and_what_refers_to_it_follows() {
        let state = |name| {
            stack(
                json!({ "A": { "Name": name }, "B": { "Name": { "Ref": "A" } }, "C": { "Of": { "Fn::Sub": "${B.Arn}/*" } } }),
            )
        };
        let found = compare(&state("a"), &state("b"), name_replaces);
        let actions: Vec<_> = found.iter().map(|it| (it.id.as_str(), it.action)).collect();
        assert_eq!(actions, [("A", Action::Replace), ("B", Action::Replace), ("C", Action::Modify)]);
        assert_eq!(found[2].properties[0].follows.as_deref(), Some("B"));
    }

    #[test]
    fn what_comes_and_goes_is_reported() {
        let found = compare(&stack(json!({ "Old": {} })), &stack(json!({ "New": {} })), name_replaces);
        let actions: Vec<_> = found.iter().map(|it| (it.id.as_str(), it.action)).collect();
        assert_eq!(actions, [("New", Action::Add), ("Old", Action::Remove)]);
    }
}
