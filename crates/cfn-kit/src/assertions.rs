//! Assertions for tests of templates: what a template contains, and what it must not contain.
//!
//! ```
//! use cfn_kit::assertions::Checked;
//! use cfn_kit::Stack;
//! use serde_json::json;
//!
//! let mut stack = Stack::new("A stack");
//! stack.add_untyped("Orders", "AWS::SQS::Queue", json!({ "SqsManagedSseEnabled": true }));
//! let template = Checked::new(&stack.finish().unwrap());
//! assert_eq!(template.has("AWS::SQS::Queue", &json!({ "SqsManagedSseEnabled": true })).unwrap(), "Orders");
//! template.refers_only_to_what_exists().unwrap();
//! template.allows_no_wildcards(&[]).unwrap();
//! ```

use std::fmt;

use serde_json::Value;

use super::Template;
pub use super::references::{Kind, Reference};
use super::references::{dangling, references, texts};

/// A template as JSON, to check.
#[derive(Clone, Debug)]
pub struct Checked {
    template: Value,
}

/// What is wrong with a template, as a sentence that names the resource. A test fails with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding(String);

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Finding {}

impl From<Value> for Checked {
    fn from(template: Value) -> Self {
        Self { template }
    }
}

impl Checked {
    /// Checks this template.
    pub fn new(template: &Template) -> Self {
        Self::from(serde_json::to_value(template).unwrap_or_default())
    }

    /// The whole template.
    pub fn json(&self) -> &Value {
        &self.template
    }

    /// Every resource with its logical id.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.template["Resources"].as_object().into_iter().flatten().map(|(id, resource)| (id.as_str(), resource))
    }

    /// The logical ids of the resources of a type.
    pub fn ids_of(&self, resource_type: &str) -> Vec<&str> {
        self.resources().filter(|(_, resource)| resource["Type"] == resource_type).map(|(id, _)| id).collect()
    }

    /// The properties of a resource; null if there is no resource with this id.
    pub fn properties(&self, id: &str) -> &Value {
        &self.template["Resources"][id]["Properties"]
    }

    /// Checks that a resource of this type has at least these properties; returns its logical id.
    pub fn has(&self, resource_type: &str, properties: &Value) -> Result<&str, Finding> {
        let ids = self.ids_of(resource_type);
        let found = ids.iter().find(|id| includes(self.properties(id), properties));
        found.copied().ok_or_else(|| {
            let there: Vec<String> = ids.iter().map(|id| format!("{id}: {}", self.properties(id))).collect();
            Finding(format!("no {resource_type} has {properties}; found: {}", there.join("\n")))
        })
    }

    /// Every statement of every policy, with the logical id of the resource that it is in.
    pub fn statements(&self) -> Vec<(&str, &Value)> {
        fn collect<'a>(id: &'a str, value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::Array(statements)) = fields.get("Statement") {
                        found.extend(statements.iter().map(|statement| (id, statement)));
                    }
                    fields.values().for_each(|value| collect(id, value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| collect(id, value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        self.resources().for_each(|(id, resource)| collect(id, &resource["Properties"], &mut found));
        found
    }

    /// Checks that no statement allows a wildcard: no action with `*`, and the resource `*` only for these actions,
    /// which accept no narrower one. Key policies are left out: there, `*` means that key
    /// (<https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html>).
    pub fn allows_no_wildcards(&self, unscoped: &[&str]) -> Result<(), Finding> {
        for (id, statement) in self.statements() {
            let of_key = self.template["Resources"][id]["Type"] == "AWS::KMS::Key";
            if statement["Effect"] != "Allow" || of_key {
                continue;
            }
            let actions: Vec<&str> = texts(&statement["Action"]);
            if let Some(action) = actions.iter().find(|action| action.contains('*')) {
                return Err(Finding(format!("{id} allows {action}: {statement}")));
            }
            let everything = texts(&statement["Resource"]).contains(&"*");
            if everything && let Some(action) = actions.iter().find(|action| !unscoped.contains(action)) {
                return Err(Finding(format!("{id} allows {action} on every resource: {statement}")));
            }
        }
        Ok(())
    }

    /// Checks that every `Ref`, `Fn::GetAtt`, `Fn::Sub`, `DependsOn`, and condition refers to an item of the template.
    pub fn refers_only_to_what_exists(&self) -> Result<(), Finding> {
        match dangling(&self.template, self.references()).first() {
            None => Ok(()),
            Some(reference) => {
                Err(Finding(format!("{} refers to {}, which does not exist", reference.from, reference.to)))
            }
        }
    }

    /// The references from resources, outputs, and conditions to resources, parameters, and conditions.
    pub fn references(&self) -> Vec<Reference> {
        references(&self.template)
    }
}

/// Whether `value` contains `wanted`: an object all of its fields, a list all of its items in any position.
fn includes(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| fields.get(name).is_some_and(|value| includes(value, wanted)))
        }
        (Value::Array(items), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| items.iter().any(|item| includes(item, wanted)))
        }
        _ => value == wanted,
    }
}
