//! Every resource of every profile conforms to AWS's schema of its type: known and required properties, enumerations,
//! ranges, patterns, and the attributes that references use.

use std::collections::{BTreeMap, BTreeSet};

use cfn_kit::assertions::Checked;
use regex_lite::Regex;
use serde_json::Value;
use stack::synthesize;

use crate::profiles::profiles;
use crate::schema::published::{Published, written_types};

/// The types that no profile contains, each with the reason.
const UNUSED: [&str; 0] = [];

#[test]
fn every_resource_of_every_profile_is_what_its_schema_says() {
    let Some(published) = Published::find() else { return };
    let mut schemas = BTreeMap::new();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (profile, settings) in profiles() {
        let template = Checked::new(&synthesize(&settings).unwrap());
        let types: BTreeMap<&str, &str> =
            template.resources().map(|(id, resource)| (id, resource["Type"].as_str().unwrap())).collect();
        for (id, resource) in template.resources() {
            let name = types[id];
            seen.insert(name.to_owned());
            let schema = schemas.entry(name.to_owned()).or_insert_with(|| published.schema(name));
            let check = Check { schema };
            let mut wrong = Vec::new();
            check.value(&resource["Properties"], schema, "", &mut wrong);
            found.extend(wrong.into_iter().map(|what| format!("{profile}: {id} ({name}){what}")));
        }
        for (from, to, attribute) in attributes(template.json()) {
            let schema =
                schemas.entry(types[to.as_str()].to_owned()).or_insert_with(|| published.schema(types[to.as_str()]));
            if !has_attribute(schema, &attribute) {
                found.push(format!("{profile}: {from}: {} has no attribute {attribute}", types[to.as_str()]));
            }
        }
    }
    assert!(found.is_empty(), "not what AWS's schemas say:\n{}", found.join("\n"));
    let unseen: Vec<String> =
        written_types().into_iter().filter(|name| !seen.contains(name) && !UNUSED.contains(&name.as_str())).collect();
    assert!(unseen.is_empty(), "no profile has {unseen:?}, so nothing checks them: add one to crates/stack/profiles");
}

#[test]
fn what_is_wrong_with_a_resource_is_said_with_its_place() {
    let Some(published) = Published::find() else { return };
    let schema = published.schema("AWS::EC2::VPCEndpoint");
    let check = Check { schema: &schema };
    let mut wrong = Vec::new();
    let resource = serde_json::json!({ "VpcEndpointType": "Wormhole", "SubnetIds": "a", "Servicename": "x" });
    check.value(&resource, &schema, "", &mut wrong);
    let wrong = wrong.join("\n");
    for words in [
        ".VpcEndpointType: \"Wormhole\" is none of",
        ".SubnetIds: \"a\" is no array",
        ".Servicename: there is no such property",
        ": VpcId is missing",
    ] {
        assert!(wrong.contains(words), "{words}: {wrong}");
    }
}

struct Check<'a> {
    schema: &'a Value,
}

impl Check<'_> {
    /// Records the violations of a value against its schema.
    fn value(&self, value: &Value, schema: &Value, path: &str, wrong: &mut Vec<String>) {
        if let Some(to) = schema["$ref"].as_str() {
            let target = self.schema.pointer(to.trim_start_matches('#')).unwrap();
            return self.value(value, target, path, wrong);
        }
        if let Some(fields) = value.as_object()
            && fields.len() == 1
            && let Some((name, inner)) = fields.iter().next()
        {
            if name == "Fn::If" {
                let branches = inner.as_array().unwrap().iter().skip(1);
                return branches.for_each(|branch| self.value(branch, schema, path, wrong));
            }
            if name == "Ref" || name.starts_with("Fn::") {
                return;
            }
        }
        Self::scalar(value, schema, path, wrong);
        match value {
            Value::Object(fields) => self.object(fields, schema, path, wrong),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &schema["items"], &format!("{path}[{index}]"), wrong);
                }
            }
            _ => {}
        }
        // One of the alternatives must match, including those that only require properties.
        for (alternatives, all) in [("anyOf", false), ("oneOf", false), ("allOf", true)] {
            let Some(alternatives) = schema[alternatives].as_array() else { continue };
            let results: Vec<Vec<String>> = alternatives
                .iter()
                .map(|one| {
                    let mut wrong = Vec::new();
                    self.value(value, one, path, &mut wrong);
                    wrong
                })
                .collect();
            if all || results.iter().all(|one| !one.is_empty()) {
                wrong.extend(results.into_iter().flatten());
            }
        }
    }

    fn object(&self, fields: &serde_json::Map<String, Value>, schema: &Value, path: &str, wrong: &mut Vec<String>) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                wrong.push(format!("{path}: {name} is missing"));
            }
        }
        for (name, inner) in fields {
            let place = format!("{path}.{name}");
            let pattern = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
            match schema["properties"].get(name).or(pattern) {
                Some(property) => self.value(inner, property, &place, wrong),
                None if schema["additionalProperties"] == false => {
                    wrong.push(format!("{place}: there is no such property"));
                }
                None => {}
            }
            let read_only = format!("/properties{}", place.replace('.', "/"));
            if self.schema["readOnlyProperties"].as_array().into_iter().flatten().any(|path| *path == *read_only) {
                wrong.push(format!("{place}: it can only be read"));
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "lengths and limits are small")]
    fn scalar(value: &Value, schema: &Value, path: &str, wrong: &mut Vec<String>) {
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is = |kind: &&str| match *kind {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => true,
        };
        if !kinds.is_empty() && !kinds.iter().any(is) {
            wrong.push(format!("{path}: {value} is no {}", kinds.join(" or ")));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            wrong.push(format!("{path}: {value} is none of {}", schema["enum"]));
        }
        let size = match value {
            Value::String(text) => Some((text.chars().count() as f64, "minLength", "maxLength")),
            Value::Array(items) => Some((items.len() as f64, "minItems", "maxItems")),
            Value::Number(number) => number.as_f64().map(|number| (number, "minimum", "maximum")),
            _ => None,
        };
        if let Some((size, min, max)) = size {
            let (min, max) = (schema[min].as_f64().unwrap_or(f64::MIN), schema[max].as_f64().unwrap_or(f64::MAX));
            if size < min || size > max {
                wrong.push(format!("{path}: {value} is not from {min} to {max}"));
            }
        }
        if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str())
            // Some patterns use syntax that this regex engine does not support; cfn-lint checks them.
            && let Ok(pattern) = Regex::new(pattern)
            && !pattern.is_match(text)
        {
            wrong.push(format!("{path}: {text:?} does not match {pattern}"));
        }
    }
}

/// Every referenced attribute of a resource: the place of the reference, the resource, and the name.
fn attributes(template: &Value) -> Vec<(String, String, String)> {
    fn collect(place: &str, value: &Value, found: &mut Vec<(String, String, String)>) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    match (name.as_str(), inner.as_array().map(Vec::as_slice)) {
                        ("Fn::GetAtt", Some([to, attribute])) => {
                            let text = |value: &Value| value.as_str().unwrap().to_owned();
                            found.push((place.to_owned(), text(to), text(attribute)));
                        }
                        _ => collect(place, inner, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(place, value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for section in ["Resources", "Outputs"] {
        template[section].as_object().unwrap().iter().for_each(|(id, item)| collect(id, item, &mut found));
    }
    found
}

fn has_attribute(schema: &Value, attribute: &str) -> bool {
    let path = format!("/properties/{}", attribute.replace('.', "/"));
    let read_only = schema["readOnlyProperties"].as_array().into_iter().flatten().any(|known| *known == *path);
    read_only || schema["properties"].get(attribute).is_some()
}
