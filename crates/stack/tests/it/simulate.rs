//! Evaluates policies of a template like IAM. References are replaced by placeholders: `Ref X` by `X`, an attribute by
//! `X.Attribute`, pseudo parameters by values
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>). Must not know the
//! purpose of the policies.

use crate::patterns::{like, texts};
use std::collections::BTreeMap;

use cfn_kit::assertions::Checked;
use serde_json::Value;

/// The values of pseudo parameters.
const PSEUDO: [(&str, &str); 4] = [
    ("AWS::Partition", "aws"),
    ("AWS::Region", "eu-central-1"),
    ("AWS::AccountId", "123456789012"),
    ("AWS::StackName", "shop"),
];

/// A request to IAM.
#[derive(Clone, Debug, Default)]
pub struct Request {
    keys: BTreeMap<&'static str, String>,
}

impl Request {
    /// The same with a condition key.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.keys.insert(key, value.to_owned());
        self
    }
}

/// A session of a role.
pub struct Identity {
    statements: Vec<Value>,
    trust: Vec<Value>,
    user_id: String,
}

impl Identity {
    /// A session of a role of the template.
    pub fn of(template: &Checked, role: &str, user_id: &str) -> Self {
        let properties = resolve(template.properties(role));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let policies = list(&properties["Policies"]);
        let statements = policies.iter().flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])).collect();
        let trust = list(&properties["AssumeRolePolicyDocument"]["Statement"]);
        Self { statements, trust, user_id: user_id.to_owned() }
    }

    /// Whether this request is allowed.
    pub fn may(&self, action: &str, resource: &str, request: &Request) -> bool {
        let matching = |statement: &&Value| {
            let resources = texts(&statement["Resource"]);
            texts(&statement["Action"]).iter().any(|pattern| like(action, pattern))
                && resources.iter().any(|pattern| like(resource, &self.with_user_id(pattern)))
                && holds(statement, request)
        };
        let found: Vec<&Value> = self.statements.iter().filter(matching).collect();
        !found.is_empty() && found.iter().all(|statement| statement["Effect"] == "Allow")
    }

    /// The actions that a statement allows, on any resource.
    pub fn actions(&self) -> Vec<String> {
        self.statements.iter().flat_map(|it| texts(&it["Action"])).map(str::to_owned).collect()
    }

    /// Whether a token with these claims may assume the role.
    pub fn is_given_to(&self, token: &Request) -> bool {
        self.trust.iter().any(|statement| {
            statement["Effect"] == "Allow"
                && statement["Action"] == serde_json::json!(["sts:AssumeRoleWithWebIdentity"])
                && holds(statement, token)
        })
    }

    fn with_user_id(&self, pattern: &str) -> String {
        pattern.replace("${aws:userid}", &self.user_id)
    }
}

/// Whether every condition of a statement holds.
fn holds(statement: &Value, request: &Request) -> bool {
    let Some(operators) = statement["Condition"].as_object() else { return true };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, values)| {
            let Some(value) = request.keys.get(key.as_str()) else { return operator.ends_with("IfExists") };
            texts(values).iter().any(|wanted| match operator.trim_end_matches("IfExists") {
                "StringEquals" | "ArnEquals" => value == wanted,
                "StringLike" | "ArnLike" => like(value, wanted),
                other => panic!("{other} is not known here"),
            })
        })
    })
}

/// The value with all references replaced.
fn resolve(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(resolve).collect(),
        Value::Object(fields) => match fields.iter().next() {
            Some((function, argument)) if fields.len() == 1 => match (function.as_str(), argument) {
                ("Ref", Value::String(name)) => stand_in(name).into(),
                ("Fn::GetAtt", Value::Array(parts)) => texts(&Value::Array(parts.clone())).join(".").into(),
                ("Fn::Sub", Value::String(text)) => substitute(text, None).into(),
                ("Fn::Sub", Value::Array(parts)) => substitute(parts[0].as_str().unwrap(), Some(&parts[1])).into(),
                _ => Value::Object(fields.iter().map(|(key, value)| (key.clone(), resolve(value))).collect()),
            },
            _ => Value::Object(fields.iter().map(|(key, value)| (key.clone(), resolve(value))).collect()),
        },
        other => other.clone(),
    }
}

fn stand_in(name: &str) -> String {
    PSEUDO.iter().find(|(pseudo, _)| *pseudo == name).map_or(name, |(_, value)| value).to_owned()
}

/// The text with all variables replaced; `${!name}` becomes the literal `${name}`.
fn substitute(text: &str, variables: Option<&Value>) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap();
        done += before;
        match (name.strip_prefix('!'), variables.and_then(|all| all.get(name))) {
            (Some(kept), _) => done += &format!("${{{kept}}}"),
            (None, Some(value)) => done += resolve(value).as_str().unwrap(),
            (None, None) => done += &stand_in(name),
        }
        rest = after;
    }
    done + rest
}
