//! The finished template and its JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::Tag;
use super::expr::Test;
use super::references::references;
use super::stack::Parameter;

/// The metadata key of resources without a Rust type.
pub(super) const UNTYPED: &str = "Untyped";

/// A CloudFormation template. Everything is ordered, so the same stack gives the same bytes.
///
/// ```
/// use cfn_kit::{Stack, Template};
///
/// let mut stack = Stack::new("A stack");
/// stack.add_untyped("Orders", "AWS::SQS::Queue", serde_json::json!({}));
/// let template: Template = stack.finish().unwrap();
/// assert_eq!(template.untyped().collect::<Vec<_>>(), [("Orders", "AWS::SQS::Queue")]);
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Template {
    #[serde(rename = "AWSTemplateFormatVersion")]
    version: &'static str,
    description: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    metadata: Value,
    parameters: BTreeMap<String, ParameterBody>,
    conditions: BTreeMap<String, Test>,
    resources: BTreeMap<String, ResourceBody>,
    outputs: BTreeMap<String, Output>,
}

impl Template {
    pub(super) fn new(
        description: String,
        metadata: Value,
        parameters: BTreeMap<String, ParameterBody>,
        conditions: BTreeMap<String, Test>,
        resources: BTreeMap<String, ResourceBody>,
        outputs: BTreeMap<String, Output>,
    ) -> Self {
        Self { version: "2010-09-09", description, metadata, parameters, conditions, resources, outputs }
    }

    /// The resources without a Rust type, whose properties are not checked: the logical id and type of each.
    pub fn untyped(&self) -> impl Iterator<Item = (&str, &str)> {
        let untyped = self.resources.iter().filter(|(_, resource)| resource.metadata.contains_key(UNTYPED));
        untyped.map(|(id, resource)| (id.as_str(), resource.r#type.as_str()))
    }

    /// A part of this template for a first deployment: these resources, unchanged, with everything that they refer to,
    /// and these outputs. All parameters and conditions stay, so an update to the whole template only adds resources.
    #[must_use]
    pub fn only(&self, resources: &[&str], outputs: &[&str]) -> Self {
        let references = references(&serde_json::to_value(self).unwrap_or_default());
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        let mut next = resources.to_vec();
        while let Some(id) = next.pop() {
            if self.resources.contains_key(id) && kept.insert(id) {
                next.extend(references.iter().filter(|it| it.from == id).map(|it| it.to.as_str()));
            }
        }
        let mut template = self.clone();
        template.resources.retain(|id, _| kept.contains(id.as_str()));
        template.outputs.retain(|id, _| outputs.contains(&id.as_str()));
        template
    }

    /// This template without an entry of its metadata.
    #[must_use]
    pub fn without_metadata(mut self, key: &str) -> Self {
        self.metadata.as_object_mut().map(|entries| entries.remove(key));
        self
    }

    /// The template as indented JSON with a final newline: for people and validators.
    pub fn to_pretty_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The template as JSON without white space: for the API, which limits a template's size.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ParameterBody {
    r#type: &'static str,
    description: &'static str,
    default: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allowed_values: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_pattern: Option<&'static str>,
}

impl ParameterBody {
    pub(super) fn new(parameter: &Parameter) -> Self {
        Self {
            r#type: "String",
            description: parameter.description,
            default: parameter.default,
            allowed_values: parameter.allowed,
            allowed_pattern: parameter.pattern,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ResourceBody {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deletion_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update_replace_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "is_empty_object")]
    properties: Value,
}

impl ResourceBody {
    pub(super) fn new(r#type: &str, properties: Value) -> Self {
        Self {
            r#type: r#type.to_owned(),
            condition: None,
            depends_on: Vec::new(),
            deletion_policy: None,
            update_replace_policy: None,
            metadata: BTreeMap::new(),
            properties,
        }
    }
}

impl ResourceBody {
    /// Records that a finding of a checker is accepted.
    pub(super) fn accept(&mut self, finding: &str, reason: &str) {
        let checkov = self.metadata.entry("checkov").or_insert_with(|| json!({ "skip": [] }));
        if let Some(Value::Array(skipped)) = checkov.get_mut("skip") {
            skipped.push(json!({ "id": finding, "comment": reason }));
        }
    }

    /// Adds tags, if the resource has tags.
    pub(super) fn add_tags(&mut self, tags: &[Tag]) {
        if let Some(Value::Array(own)) = self.properties.get_mut("Tags") {
            own.extend(tags.iter().map(|tag| json!({ "Key": tag.key, "Value": tag.value })));
            if own.is_empty() {
                self.properties.as_object_mut().map(|properties| properties.remove("Tags"));
            }
        }
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// An output of the stack, for other programs and for people. [`Stack::output`](crate::Stack::output) adds one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    description: String,
    value: Value,
}

impl Output {
    pub(super) fn new(description: &str, value: Value) -> Self {
        Self { condition: None, description: description.to_owned(), value }
    }

    pub(super) fn when(mut self, condition: &str) -> Self {
        self.condition = Some(condition.to_owned());
        self
    }
}
