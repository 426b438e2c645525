//! The references in a template, as JSON: to resources, parameters, and conditions, by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A reference from one item of a template to another. It is data, so that a program can draw or copy parts of a
/// template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The logical id of the item with the reference.
    pub from: String,
    /// The name that it refers to.
    pub to: String,
    /// The kind of item that it refers to.
    pub kind: Kind,
}

/// The kind of item that a reference points to. A condition and a resource may have the same name only in different
/// kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A resource, a parameter or a pseudo parameter.
    Value,
    /// A condition.
    Condition,
}

/// Every reference in the conditions, resources, and outputs of the template.
///
/// ```
/// use cfn_kit::{references, references_of};
/// use serde_json::json;
///
/// let bucket = json!({ "Type": "AWS::S3::Bucket", "Condition": "Logs", "DependsOn": "Key" });
/// let template = json!({ "Conditions": { "Logs": {} }, "Resources": { "Key": {}, "Log": bucket } });
/// let found: Vec<String> = references(&template).into_iter().map(|it| format!("{} -> {}", it.from, it.to)).collect();
/// assert_eq!(found, ["Log -> Logs", "Log -> Key"]);
/// // Of one item alone:
/// assert_eq!(references_of("Resources", "Log", &bucket), references(&template));
/// ```
pub fn references(template: &Value) -> Vec<Reference> {
    ["Conditions", "Resources", "Outputs"].iter().flat_map(|section| references_in(template, section)).collect()
}

/// Every reference in one section of the template: `Conditions`, `Resources` or `Outputs`.
pub(super) fn references_in(template: &Value, section: &str) -> Vec<Reference> {
    let items = template[section].as_object().into_iter().flatten();
    items.flat_map(|(id, item)| references_of(section, id, item)).collect()
}

/// Those of the references whose names do not exist in the template.
pub(super) fn dangling(template: &Value, references: impl IntoIterator<Item = Reference>) -> Vec<Reference> {
    let names = |section: &str| -> BTreeSet<&str> {
        template[section].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    };
    let (resources, parameters, conditions) = (names("Resources"), names("Parameters"), names("Conditions"));
    let exists = |reference: &Reference| {
        let to = reference.to.as_str();
        match reference.kind {
            Kind::Condition => conditions.contains(to),
            Kind::Value => to.starts_with("AWS::") || resources.contains(to) || parameters.contains(to),
        }
    };
    references.into_iter().filter(|reference| !exists(reference)).collect()
}

/// Cycles of resources that refer to each other, by the references of resources. The first resource of each cycle is
/// also its last. A resource is in at most one cycle.
pub(super) fn cycles(template: &Value, references: &[Reference]) -> Vec<Vec<String>> {
    let is_resource = |id: &str| template["Resources"].get(id).is_some();
    let mut next: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for reference in references.iter().filter(|it| it.kind == Kind::Value && is_resource(&it.to)) {
        next.entry(reference.from.clone()).or_default().insert(reference.to.clone());
    }
    let mut found = Vec::new();
    // Remove resources that are in no cycle and lead to none, until none is left.
    while let Some(id) = next.iter().find(|(_, to)| to.iter().all(|to| !next.contains_key(to))).map(|it| it.0.clone()) {
        next.remove(&id);
    }
    // Every remaining resource leads into a cycle.
    while let Some(first) = next.keys().next().cloned() {
        let mut path = vec![first];
        let circle = loop {
            let last = path.last().and_then(|last| next.get(last));
            let Some(to) = last.and_then(|to| to.iter().find(|to| next.contains_key(*to))) else { break Vec::new() };
            if let Some(start) = path.iter().position(|id| id == to) {
                let mut circle = path.split_off(start);
                circle.push(to.clone());
                break circle;
            }
            path.push(to.clone());
        };
        for id in path.iter().chain(&circle) {
            next.remove(id);
        }
        if !circle.is_empty() {
            found.push(circle);
        }
    }
    found
}

/// Every reference of one item of a section (`Conditions`, `Resources` or `Outputs`).
pub fn references_of(section: &str, id: &str, item: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut note = |kind, to: &str| found.push(Reference { from: id.to_owned(), to: to.to_owned(), kind });
    if section == "Conditions" {
        conditions(item, &mut note);
    } else if let Some(condition) = item["Condition"].as_str() {
        note(Kind::Condition, condition);
    }
    for to in texts(&item["DependsOn"]) {
        note(Kind::Value, to);
    }
    collect(item, &mut note);
    found
}

/// Conditions that a condition contains, at any depth: `{"Condition": "Name"}` in `Fn::And`, `Fn::Or` and `Fn::Not`.
fn conditions(test: &Value, note: &mut impl FnMut(Kind, &str)) {
    match test {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match (name.as_str(), inner) {
                    ("Condition", Value::String(to)) => note(Kind::Condition, to),
                    _ => conditions(inner, note),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| conditions(item, note)),
        _ => {}
    }
}

fn collect(value: &Value, note: &mut impl FnMut(Kind, &str)) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match (name.as_str(), inner) {
                    ("Ref", Value::String(to)) => note(Kind::Value, to),
                    ("Fn::GetAtt", Value::Array(path)) => {
                        path.first().and_then(Value::as_str).into_iter().for_each(|to| note(Kind::Value, to));
                    }
                    ("Fn::GetAtt", Value::String(path)) => {
                        path.split('.').next().into_iter().for_each(|to| note(Kind::Value, to));
                    }
                    ("Fn::If", Value::Array(branches)) => {
                        branches.first().and_then(Value::as_str).into_iter().for_each(|to| note(Kind::Condition, to));
                        branches.iter().skip(1).for_each(|branch| collect(branch, note));
                    }
                    ("Fn::Sub", Value::String(text)) => placeholders(text, &Map::new(), note),
                    ("Fn::Sub", Value::Array(parts)) => {
                        let variables = parts.get(1).and_then(Value::as_object).cloned().unwrap_or_default();
                        let text = parts.first().and_then(Value::as_str).unwrap_or_default();
                        placeholders(text, &variables, note);
                        variables.values().for_each(|value| collect(value, note));
                    }
                    _ => collect(inner, note),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, note)),
        _ => {}
    }
}

/// The names in the text of an `Fn::Sub`, except its variables.
fn placeholders(text: &str, variables: &Map<String, Value>, note: &mut impl FnMut(Kind, &str)) {
    for part in text.split("${").skip(1) {
        let name = part.split(['}', '.']).next().unwrap_or_default();
        if !name.starts_with('!') && !variables.contains_key(name) {
            note(Kind::Value, name);
        }
    }
}

/// A text or a list of texts as a list.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_inside_of_conditions_are_references() {
        let test =
            json!({ "Fn::Not": [{ "Fn::And": [{ "Condition": "A" }, { "Fn::Equals": [{ "Ref": "P" }, ""] }] }] });
        let found: Vec<(String, Kind)> =
            references_of("Conditions", "C", &test).into_iter().map(|it| (it.to, it.kind)).collect();
        assert_eq!(found, [("A".to_owned(), Kind::Condition), ("P".to_owned(), Kind::Value)]);
    }

    #[test]
    fn an_attribute_is_named_by_a_list_or_by_a_text() {
        for attribute in [json!(["A", "Arn"]), json!("A.Arn")] {
            let found = references_of("Resources", "R", &json!({ "Properties": { "X": { "Fn::GetAtt": attribute } } }));
            assert_eq!(found, [Reference { from: "R".to_owned(), to: "A".to_owned(), kind: Kind::Value }]);
        }
    }

    #[test]
    fn the_condition_of_a_policy_is_no_condition_of_the_template() {
        let policy = json!({ "Properties": { "Statement": [{ "Condition": { "StringEquals": { "a": "b" } } }] } });
        assert_eq!(references_of("Resources", "R", &policy), []);
    }

    #[test]
    fn circles_are_found_and_what_leads_into_one_is_not_in_it() {
        let resource = |to: &[&str]| json!({ "Type": "T", "DependsOn": to });
        let template = json!({ "Resources": {
            "A": resource(&["B"]), "B": resource(&["C", "P"]), "C": resource(&["A"]),
            "Into": resource(&["A"]), "Self": resource(&["Self"]), "Fine": resource(&["Leaf"]), "Leaf": resource(&[]),
        } });
        let references = references_in(&template, "Resources");
        assert_eq!(cycles(&template, &references), [vec!["A", "B", "C", "A"], vec!["Self", "Self"]]);
    }
}
