//! A template as it is under some parameters: conditions decided, parameters put in, everything that only CloudFormation
//! can compute left as it is written. Pure.

use std::collections::BTreeMap;

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
    let scope = Scope { template, values: with_defaults(template, values) };
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
}

impl Scope<'_> {
    /// Whether a condition holds; `None` where that cannot be decided here.
    fn holds(&self, name: &str) -> Option<bool> {
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

    /// The value; `None` where the template says that there is none.
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

    /// The branch that is taken; the outer `None` where that cannot be decided here.
    #[expect(clippy::option_option, reason = "undecided is not the same as no value")]
    fn branch(&self, branches: &[Value]) -> Option<Option<Value>> {
        let [Value::String(condition), then, otherwise] = branches else { return None };
        Some(self.value(if self.holds(condition)? { then } else { otherwise }))
    }

    /// `Fn::Sub` with the parameters put in; plain text where nothing else is left to compute.
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
}
