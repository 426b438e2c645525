//! A template as it is under some parameters: conditions decided, parameters put in, everything that only CloudFormation
//! can compute left as it is written. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Parameters' values by name.
pub type Values = BTreeMap<String, String>;

/// A resource as the template describes it under some parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its type, for example `AWS::ECS::Service`.
    pub kind: String,
    /// Its properties.
    pub properties: Map<String, Value>,
}

/// The resources that exist under these parameters, by logical id.
pub fn resources(template: &Value, values: &Values) -> BTreeMap<String, Described> {
    let scope = Scope { template, values: with_defaults(template, values), assumed: BTreeMap::new() };
    let Some(all) = template.get("Resources").and_then(Value::as_object) else { return BTreeMap::new() };
    all.iter()
        .filter(|(_, body)| match body.get("Condition").and_then(Value::as_str) {
            // What cannot be decided here is shown rather than hidden.
            Some(condition) => scope.holds(condition).unwrap_or(true),
            None => true,
        })
        .map(|(id, body)| {
            let kind = body.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
            let properties = match body.get("Properties").map(|properties| scope.value(properties)) {
                Some(Some(Value::Object(properties))) => properties,
                _ => Map::new(),
            };
            (id.clone(), Described { kind, properties })
        })
        .collect()
}

/// Conditions of one resource that are tried both ways; more are not known.
const MOST_CONDITIONS: usize = 6;

/// A resource as it can be, whatever the parameters are and whatever its conditions turn out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Possible {
    /// Its type.
    pub kind: String,
    /// Whether it exists only under a condition.
    pub conditional: bool,
    /// What its properties can be: one for each way in which its conditions can be decided. None if there are too many.
    pub variants: Vec<Map<String, Value>>,
}

/// Every resource of a template as it can be, by logical id. Parameters are left as they are written.
pub fn possibilities(template: &Value) -> BTreeMap<String, Possible> {
    let Some(all) = template.get("Resources").and_then(Value::as_object) else { return BTreeMap::new() };
    all.iter().map(|(id, body)| (id.clone(), possible(template, body))).collect()
}

fn possible(template: &Value, body: &Value) -> Possible {
    let properties = body.get("Properties").unwrap_or(&Value::Null);
    let mut conditions = BTreeSet::new();
    conditions_in(properties, &mut conditions);
    let mut variants = Vec::new();
    if conditions.len() <= MOST_CONDITIONS {
        for bits in 0..1_usize << conditions.len() {
            let held = |(bit, name): (usize, &&str)| ((*name).to_owned(), bits >> bit & 1 == 1);
            let assumed = conditions.iter().enumerate().map(held).collect();
            let scope = Scope { template, values: Values::new(), assumed };
            let variant = match scope.value(properties) {
                Some(Value::Object(properties)) => properties,
                _ => Map::new(),
            };
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
    }
    let kind = body.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
    Possible { kind, conditional: body.get("Condition").is_some(), variants }
}

/// The conditions on which the parts of a value depend.
fn conditions_in<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| conditions_in(item, found)),
        Value::Object(fields) => {
            if let Some(("Fn::If", Value::Array(branches))) = single(value)
                && let Some(Value::String(name)) = branches.first()
            {
                found.insert(name);
            }
            fields.values().for_each(|field| conditions_in(field, found));
        }
        _ => {}
    }
}

/// Whether what a value will be is settled by its text: the same text means the same thing before and after. That is
/// not so of parameters, of what is looked up elsewhere, and of what only CloudFormation computes.
pub fn is_settled(template: &Value, value: &Value) -> bool {
    match value {
        // <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html>
        Value::String(text) => !text.contains("{{resolve:"),
        Value::Array(items) => items.iter().all(|item| is_settled(template, item)),
        Value::Object(fields) => match single(value) {
            Some(("Ref", Value::String(name))) => !is_parameter(template, name),
            Some(("Fn::GetAtt", target)) => has_known_attributes(template, target),
            Some(("Fn::Sub", Value::String(text))) => is_settled_text(template, text),
            Some(("Fn::Sub", Value::Array(parts))) => match parts.as_slice() {
                [Value::String(text), variables] => is_settled_text(template, text) && is_settled(template, variables),
                _ => false,
            },
            Some(("Fn::Join" | "Fn::Select" | "Fn::Split" | "Fn::Base64", inner)) => is_settled(template, inner),
            _ => fields.iter().all(|(key, field)| !key.starts_with("Fn::") && is_settled(template, field)),
        },
        _ => true,
    }
}

fn is_settled_text(template: &Value, text: &str) -> bool {
    let named = |part: &str| part.split_once('}').is_some_and(|(name, _)| is_parameter(template, name.trim()));
    !text.contains("{{resolve:") && !text.split("${").skip(1).any(named)
}

fn is_parameter(template: &Value, name: &str) -> bool {
    template.get("Parameters").and_then(|parameters| parameters.get(name)).is_some()
}

/// Whether an attribute is one of a resource that AWS makes: a custom resource answers whatever it likes.
fn has_known_attributes(template: &Value, target: &Value) -> bool {
    let id = match target {
        Value::Array(parts) => parts.first().and_then(Value::as_str),
        Value::String(text) => text.split('.').next(),
        _ => None,
    };
    let kind = id.and_then(|id| template.get("Resources")?.get(id)?.get("Type")?.as_str());
    kind.is_some_and(|kind| !kind.starts_with("Custom::") && !kind.starts_with("AWS::CloudFormation::"))
}

fn with_defaults(template: &Value, values: &Values) -> Values {
    let declared = template.get("Parameters").and_then(Value::as_object);
    let mut all: Values = declared
        .into_iter()
        .flatten()
        .filter_map(|(name, body)| Some((name.clone(), body.get("Default")?.as_str()?.to_owned())))
        .collect();
    all.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

struct Scope<'a> {
    template: &'a Value,
    values: Values,
    /// Conditions that are taken as decided, whatever the parameters are.
    assumed: BTreeMap<String, bool>,
}

impl Scope<'_> {
    /// Whether a condition holds; `None` if that cannot be decided here.
    fn holds(&self, name: &str) -> Option<bool> {
        if let Some(assumed) = self.assumed.get(name) {
            return Some(*assumed);
        }
        self.test(self.template.get("Conditions")?.get(name)?)
    }

    fn test(&self, test: &Value) -> Option<bool> {
        let (function, argument) = single(test)?;
        match (function, argument) {
            ("Condition", Value::String(name)) => self.holds(name),
            ("Fn::Equals", Value::Array(sides)) => match sides.as_slice() {
                [left, right] => Some(self.text(left)? == self.text(right)?),
                _ => None,
            },
            ("Fn::Not", Value::Array(tests)) => tests.first().and_then(|test| self.test(test)).map(|holds| !holds),
            ("Fn::And", Value::Array(tests)) => {
                tests.iter().map(|test| self.test(test)).try_fold(true, |all, holds| Some(all && holds?))
            }
            ("Fn::Or", Value::Array(tests)) => {
                tests.iter().map(|test| self.test(test)).try_fold(false, |any, holds| Some(any || holds?))
            }
            _ => None,
        }
    }

    fn text(&self, value: &Value) -> Option<String> {
        match self.value(value)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value; `None` if the template says that there is none.
    fn value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.value(item)).collect()),
            Value::Object(fields) => match single(value) {
                Some(("Ref", Value::String(name))) if name == "AWS::NoValue" => None,
                Some(("Ref", Value::String(name))) => {
                    Some(self.values.get(name).map_or_else(|| value.clone(), |text| Value::String(text.clone())))
                }
                Some(("Fn::If", Value::Array(branches))) => {
                    self.branch(branches).unwrap_or_else(|| Some(value.clone()))
                }
                Some(("Fn::Sub", Value::String(text))) => Some(self.substitute(text)),
                _ => Some(fields.iter().filter_map(|(key, value)| Some((key.clone(), self.value(value)?))).collect()),
            },
            other => Some(other.clone()),
        }
    }

    /// The branch that is taken; the outer `None` if that cannot be decided here.
    #[expect(clippy::option_option, reason = "undecided is not the same as no value")]
    fn branch(&self, branches: &[Value]) -> Option<Option<Value>> {
        let [Value::String(condition), then, otherwise] = branches else { return None };
        Some(self.value(if self.holds(condition)? { then } else { otherwise }))
    }

    /// `Fn::Sub` with the parameters put in; plain text if nothing else has to be computed.
    fn substitute(&self, text: &str) -> Value {
        let mut done = text.to_owned();
        for (name, value) in &self.values {
            done = done.replace(&format!("${{{name}}}"), value);
        }
        if done.contains("${") { serde_json::json!({ "Fn::Sub": done }) } else { Value::String(done) }
    }
}

/// The one field of an object that has exactly one: an intrinsic function and its argument.
pub fn single(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object()?;
    let (key, value) = fields.iter().next()?;
    (fields.len() == 1).then_some((key.as_str(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({
            "Parameters": { "Image": { "Default": "" }, "Prod": { "Default": "green" } },
            "Conditions": {
                "Deployed": { "Fn::Not": [{ "Fn::Equals": [{ "Ref": "Image" }, ""] }] },
                "GreenIsProd": { "Fn::Equals": [{ "Ref": "Prod" }, "green"] },
                "Both": { "Fn::And": [{ "Condition": "Deployed" }, { "Condition": "GreenIsProd" }] },
                "InEurope": { "Fn::Equals": [{ "Ref": "AWS::Region" }, "eu-central-1"] },
            },
            "Resources": {
                "Task": { "Type": "T", "Condition": "Deployed", "Properties": {
                    "Image": { "Ref": "Image" },
                    "Both": { "Fn::If": ["Both", 1, 2] },
                    "Left": { "Fn::If": ["GreenIsProd", { "Ref": "AWS::NoValue" }, "x"] },
                    "Role": { "Fn::GetAtt": ["Role", "Arn"] },
                    "Key": { "Fn::Sub": "code/${Image}.zip" },
                    "Name": { "Fn::Sub": "${AWS::StackName}-${Prod}" },
                } },
                "Elsewhere": { "Type": "T", "Condition": "InEurope" },
            },
        })
    }

    #[test]
    fn a_resource_whose_condition_does_not_hold_does_not_exist() {
        assert!(!resources(&template(), &Values::new()).contains_key("Task"));
    }

    #[test]
    fn what_cannot_be_decided_here_is_shown() {
        assert!(resources(&template(), &Values::new()).contains_key("Elsewhere"));
    }

    #[test]
    fn parameters_and_conditions_are_put_in_and_the_rest_is_left() {
        let values = Values::from([("Image".to_owned(), "app@1".to_owned())]);
        let task = resources(&template(), &values).remove("Task").unwrap();
        let expected = json!({
            "Image": "app@1",
            "Both": 1,
            "Role": { "Fn::GetAtt": ["Role", "Arn"] },
            "Key": "code/app@1.zip",
            "Name": { "Fn::Sub": "${AWS::StackName}-green" },
        });
        assert_eq!(Value::Object(task.properties), expected);
    }

    #[test]
    fn a_condition_is_tried_both_ways() {
        let possible = possibilities(&template()).remove("Task").unwrap();
        assert!(possible.conditional);
        // "Both" and "GreenIsProd" appear, which gives four; each differs.
        assert_eq!(possible.variants.len(), 4);
        let one = possibilities(&json!({ "Resources": { "A": { "Type": "T" } } })).remove("A").unwrap();
        assert_eq!((one.conditional, one.variants.len()), (false, 1));
    }

    #[test]
    fn too_many_conditions_are_not_known() {
        let items: Vec<Value> = (0..=MOST_CONDITIONS).map(|at| json!({ "Fn::If": [format!("C{at}"), 1, 2] })).collect();
        let template = json!({ "Resources": { "A": { "Type": "T", "Properties": { "P": items } } } });
        assert!(possibilities(&template)["A"].variants.is_empty());
    }

    #[test]
    fn what_is_decided_elsewhere_is_not_settled() {
        let template = json!({
            "Parameters": { "P": {} },
            "Resources": { "R": { "Type": "AWS::IAM::Role" }, "C": { "Type": "Custom::Thing" } },
        });
        for (value, expected) in [
            (json!("text"), true),
            (json!({ "Ref": "R" }), true),
            (json!({ "Ref": "AWS::Region" }), true),
            (json!({ "Ref": "P" }), false),
            (json!({ "Fn::GetAtt": ["R", "Arn"] }), true),
            (json!({ "Fn::GetAtt": ["C", "Arn"] }), false),
            (json!({ "Fn::Sub": "${R.Arn}/*" }), true),
            (json!({ "Fn::Sub": "a${P}" }), false),
            (json!({ "Fn::Sub": ["${V}", { "V": { "Ref": "P" } }] }), false),
            (json!({ "Fn::Join": ["", ["a", { "Ref": "R" }]] }), true),
            (json!({ "Fn::ImportValue": "x" }), false),
            (json!({ "Fn::FindInMap": ["a", "b", "c"] }), false),
            (json!({ "Fn::If": "malformed" }), false),
            (json!({ "a": { "Fn::Transform": {} }, "b": 1 }), false),
            (json!("{{resolve:ssm:/x}}"), false),
            (json!([{ "Action": "{{resolve:ssm:/x}}" }]), false),
        ] {
            assert_eq!(is_settled(&template, &value), expected, "{value}");
        }
    }
}
