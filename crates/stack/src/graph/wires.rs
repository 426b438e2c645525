//! The references between resources of a template: by which permission, and whether now or after a cutover.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A reference in the properties of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wire<'a> {
    pub(super) from: &'a str,
    pub(super) to: String,
    /// The policy statement that contains it.
    pub(super) permission: Option<&'a str>,
    /// Whether it is in a branch that is not used with the defaults of the parameters.
    pub(super) otherwise: bool,
}

/// Every reference from a resource to another one.
pub(super) fn wires(template: &Value) -> Vec<Wire<'_>> {
    let mut found = Vec::new();
    for (id, resource) in template["Resources"].as_object().into_iter().flatten() {
        let mut walk = Walk { template, from: id, found: &mut found };
        walk.value(&resource["Properties"], None, false);
    }
    found.retain(|wire| wire.from != wire.to && template["Resources"].get(&wire.to).is_some());
    found
}

struct Walk<'a, 'b> {
    template: &'a Value,
    from: &'a str,
    found: &'b mut Vec<Wire<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn value(&mut self, value: &'a Value, permission: Option<&'a str>, otherwise: bool) {
        match value {
            Value::Object(fields) => self.object(fields, permission, otherwise),
            Value::Array(items) => items.iter().for_each(|item| self.value(item, permission, otherwise)),
            _ => {}
        }
    }

    fn object(&mut self, fields: &'a Map<String, Value>, permission: Option<&'a str>, otherwise: bool) {
        let permission = fields.get("Sid").and_then(Value::as_str).or(permission);
        let mut note = |to: &str| {
            self.found.push(Wire { from: self.from, to: to.to_owned(), permission, otherwise });
        };
        for (name, inner) in fields {
            match (name.as_str(), inner) {
                ("Ref", Value::String(to)) => note(to),
                ("Fn::GetAtt", Value::Array(path)) => {
                    path.first().and_then(Value::as_str).into_iter().for_each(&mut note);
                }
                ("Fn::Sub", Value::String(text)) => placeholders(text).for_each(&mut note),
                ("Fn::Sub", Value::Array(parts)) => {
                    parts.first().and_then(Value::as_str).into_iter().flat_map(placeholders).for_each(&mut note);
                }
                _ => {}
            }
        }
        for (name, inner) in fields {
            match (name.as_str(), inner.as_array().map(Vec::as_slice)) {
                ("Fn::If", Some([Value::String(condition), yes, no])) => {
                    let holds = by_default(self.template, condition);
                    self.value(yes, permission, otherwise || holds == Some(false));
                    self.value(no, permission, otherwise || holds == Some(true));
                }
                _ => self.value(inner, permission, otherwise),
            }
        }
    }
}

/// The names in the text of an `Fn::Sub`.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).map(|part| part.split(['}', '.']).next().unwrap_or_default())
}

/// Whether a condition holds with the defaults of the parameters. `None` for a condition that checks whether a value is
/// given, because a picture shows the complete stack.
fn by_default(template: &Value, condition: &str) -> Option<bool> {
    let [one, other] = template["Conditions"][condition]["Fn::Equals"].as_array()?.as_slice() else { return None };
    let text = |value: &Value| {
        let parameter = value["Ref"].as_str();
        let value = parameter.map_or(value, |name| &template["Parameters"][name]["Default"]);
        value.as_str().map(str::to_owned)
    };
    Some(text(one)? == text(other)?)
}

/// The neighbors of each resource, in either direction.
pub(super) fn neighbours<'a>(wires: &'a [Wire<'a>]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for wire in wires {
        found.entry(wire.from).or_default().push(&wire.to);
        found.entry(&wire.to).or_default().push(wire.from);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_branch_that_is_not_taken_by_default_is_distinguished() {
        let template = json!({
            "Parameters": { "Prod": { "Default": "green" } },
            "Conditions": { "GreenIsProd": { "Fn::Equals": [{ "Ref": "Prod" }, "green"] } },
            "Resources": {
                "Green": {}, "Blue": {},
                "Listener": { "Properties": { "To": { "Fn::If": ["GreenIsProd", { "Ref": "Green" }, { "Ref": "Blue" }] } } },
            },
        });
        let wires = wires(&template);
        let found: Vec<_> = wires.iter().map(|wire| (wire.to.as_str(), wire.otherwise)).collect();
        assert_eq!(found, [("Green", false), ("Blue", true)]);
    }

    #[test]
    fn a_reference_in_a_statement_knows_its_permission() {
        let template = json!({ "Resources": {
            "Bucket": {},
            "Role": { "Properties": { "Policies": [{ "Statement": [
                { "Sid": "ReadIt", "Resource": [{ "Fn::Sub": "${Bucket.Arn}/*" }, { "Ref": "AWS::Region" }] },
            ] }] } },
        } });
        let wires = wires(&template);
        assert_eq!(wires.len(), 1);
        assert_eq!((wires[0].from, wires[0].to.as_str(), wires[0].permission), ("Role", "Bucket", Some("ReadIt")));
    }
}
