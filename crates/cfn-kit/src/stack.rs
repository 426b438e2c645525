//! The stack under construction: constructs add to it, and it is checked when it is finished.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Tag;
use super::expr::{Condition, Expr, Ref, Test};
use super::references::{cycles, dangling, references_in};
use super::scope::Scope;
use super::template::{Output, ParameterBody, ResourceBody, Template, UNTYPED};

/// CloudFormation's limit on the length of a logical id
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>).
const LOGICAL_ID_MAX: usize = 255;

/// A CloudFormation resource type: its properties and its name. For a type that the kit does not have, declare the
/// properties that you need, named as in its schema.
///
/// ```
/// use cfn_kit::{Resource, Stack};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Queue {
///     visibility_timeout: u16,
/// }
///
/// impl Resource for Queue {
///     const TYPE: &'static str = "AWS::SQS::Queue";
/// }
///
/// let mut stack = Stack::new("A stack");
/// stack.add("Orders", Queue { visibility_timeout: 60 });
/// assert!(stack.finish().unwrap().to_json().unwrap().contains(r#""VisibilityTimeout":60"#));
/// ```
pub trait Resource: Serialize {
    /// The type's name, for example `AWS::EC2::VPC`.
    const TYPE: &'static str;
}

/// A resource without a Rust type. It has no values: `Ref<Untyped>` is what [`Stack::add_untyped`] returns.
#[derive(Clone, Copy, Debug)]
pub enum Untyped {}

/// A parameter of the template. All parameters here are strings, because engines differ in how they pass numbers.
///
/// ```
/// use cfn_kit::{Parameter, Stack};
///
/// let level = Parameter {
///     description: "What is logged",
///     default: "info",
///     allowed: &["debug", "info"],
///     pattern: None,
/// };
/// let mut stack = Stack::new("A stack");
/// let level = stack.parameter("LogLevel", &level);
/// assert_eq!(level.json(), &serde_json::json!({ "Ref": "LogLevel" }));
/// ```
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its description, shown in the console.
    pub description: &'static str,
    /// Its value if none is given.
    pub default: &'static str,
    /// The allowed values; empty if any value is allowed.
    pub allowed: &'static [&'static str],
    /// A regular expression that the value matches.
    pub pattern: Option<&'static str>,
}

/// A type whose values, as text, match a pattern. For a parameter of this type, CloudFormation accepts only values that
/// match.
///
/// ```
/// use cfn_kit::resources::values::ZoneName;
/// use cfn_kit::{Expr, Matched, Stack};
///
/// let mut stack = Stack::new("A stack");
/// let zone: Expr<ZoneName> = stack.parameter_of("Zone", "Where tasks run");
/// assert!(stack.finish().unwrap().to_json().unwrap().contains(ZoneName::PATTERN));
/// ```
pub trait Matched {
    /// The pattern. It must also match the empty text, which means that no value is given.
    const PATTERN: &'static str;
}

/// Why no template can be created from a stack.
///
/// ```
/// use cfn_kit::{Stack, SynthError};
/// use serde_json::json;
///
/// let mut stack = Stack::new("A stack");
/// stack.add_untyped("Log", "AWS::S3::BucketPolicy", json!({ "Bucket": { "Ref": "Lgo" } }));
/// let error = SynthError::DanglingReference { from: "Log".to_owned(), to: "Lgo".to_owned() };
/// assert_eq!(stack.finish().unwrap_err(), [error]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SynthError {
    /// Two items have the same logical id.
    #[error("logical id {0} is used twice; it must be unique among resources, parameters, conditions and outputs")]
    DuplicateId(String),
    /// A logical id with characters that CloudFormation does not accept.
    #[error("logical id {0:?} does not consist of 1 to 255 letters and digits")]
    BadId(String),
    /// The properties of a resource cannot be written as JSON.
    #[error("the properties of {id} cannot be written as JSON: {reason}")]
    Properties {
        /// The resource's logical id.
        id: String,
        /// The error of the serializer.
        reason: String,
    },
    /// A reference to a name that the stack does not have: a resource of another stack, or a typing error.
    #[error("{from} refers to {to}, which the stack does not have")]
    DanglingReference {
        /// The logical id of the item with the reference.
        from: String,
        /// The name that it refers to.
        to: String,
    },
    /// Resources refer to each other in a cycle, so none of them can be created first.
    #[error("these resources refer to each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

/// A stack under construction.
///
/// Errors, such as a duplicate id, are collected: [`Stack::finish`] reports all of them.
///
/// ```
/// use cfn_kit::Stack;
/// use cfn_kit::resources::s3::Bucket;
///
/// let mut stack = Stack::new("Invoices of the shop");
/// let invoices = stack.add("Invoices", Bucket::private(vec![]));
/// stack.keep(&invoices);
/// stack.output("InvoicesName", "Where invoices are", &invoices.name());
/// println!("{}", stack.finish().unwrap().to_pretty_json().unwrap());
/// ```
#[derive(Debug, Default)]
pub struct Stack {
    description: String,
    parameters: BTreeMap<String, ParameterBody>,
    conditions: BTreeMap<String, Test>,
    resources: BTreeMap<String, ResourceBody>,
    outputs: BTreeMap<String, Output>,
    tags: Vec<Tag>,
    groups: Vec<(&'static str, Vec<&'static str>)>,
    metadata: BTreeMap<&'static str, Value>,
    pub(super) scopes: Vec<(&'static str, Value)>,
    errors: Vec<SynthError>,
}

impl Stack {
    /// An empty stack with a description (at most 1,024 bytes) that the console shows.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), ..Self::default() }
    }

    /// Declares a parameter and returns its value.
    pub fn parameter(&mut self, id: &'static str, parameter: &Parameter) -> Expr<String> {
        self.claim(id);
        self.parameters.insert(id.to_owned(), ParameterBody::new(parameter));
        Expr::from_json(json!({ "Ref": id }))
    }

    /// Declares an optional parameter with values of a type, and returns its value.
    pub fn parameter_of<T: Matched>(&mut self, id: &'static str, description: &'static str) -> Expr<T> {
        let parameter = Parameter { description, default: "", allowed: &[], pattern: Some(T::PATTERN) };
        Expr::from_json(self.parameter(id, &parameter).json().clone())
    }

    /// Shows these parameters together under `label` in the console.
    pub fn parameter_group(&mut self, label: &'static str, parameters: &[&'static str]) {
        self.groups.push((label, parameters.to_vec()));
    }

    /// Declares a condition.
    pub fn condition(&mut self, id: &str, test: Test) -> Condition {
        self.claim(id);
        self.conditions.insert(id.to_owned(), test);
        Condition(id.to_owned())
    }

    /// Adds a resource.
    pub fn add<R: Resource>(&mut self, id: &str, resource: R) -> Ref<R> {
        self.claim(id);
        match serde_json::to_value(resource) {
            Ok(properties) => {
                self.insert(id, ResourceBody::new(R::TYPE, properties));
            }
            Err(error) => {
                self.errors.push(SynthError::Properties { id: id.to_owned(), reason: error.to_string() });
            }
        }
        Ref::new(id)
    }

    /// Adds a tag to every resource of the stack that supports tags, including resources that are added later.
    pub fn tag(&mut self, tag: Tag) {
        self.tags.push(tag);
    }

    /// Creates `resource` only in deployments in which `condition` holds.
    pub fn when<R>(&mut self, resource: &Ref<R>, condition: &Condition) {
        self.edit(resource, |body| body.condition = Some(condition.0.clone()));
    }

    /// Creates `resource` after `other`, if no reference implies it.
    pub fn after<R, O>(&mut self, resource: &Ref<R>, other: &Ref<O>) {
        let other = other.logical_id().to_owned();
        self.edit(resource, |body| body.depends_on.push(other));
    }

    /// Deletes the resource with the stack, or when it is replaced. For resources that contain data, to show that the
    /// deletion is intended.
    pub fn delete_with_stack<R>(&mut self, resource: &Ref<R>) {
        self.edit(resource, |body| {
            body.deletion_policy = Some("Delete");
            body.update_replace_policy = Some("Delete");
        });
    }

    /// Keeps the resource when the stack is deleted.
    pub fn keep<R>(&mut self, resource: &Ref<R>) {
        self.edit(resource, |body| {
            body.deletion_policy = Some("Retain");
            body.update_replace_policy = Some("Retain");
        });
    }

    /// Records in the template that a finding of a checker (a checkov id) is accepted for this resource, and why.
    pub fn accept<R>(&mut self, finding: &str, resource: &Ref<R>, reason: &str) {
        self.edit(resource, |body| body.accept(finding, reason));
    }

    /// Adds a resource of a type that has no Rust type, with any properties, which are not checked. The metadata of the
    /// resource says so, and `bluegreen synth` prints it.
    pub fn add_untyped(&mut self, id: &str, resource_type: &str, properties: Value) -> Ref<Untyped> {
        self.claim(id);
        let mut body = ResourceBody::new(resource_type, properties);
        body.metadata.insert(UNTYPED, "not checked by the construct kit".into());
        self.insert(id, body);
        Ref::new(id)
    }

    /// Begins a scope: every resource that is added through it has this entry in its metadata.
    pub fn annotated(&mut self, key: &'static str, value: Value) -> Scope<'_> {
        Scope::new(self, key, value)
    }

    /// Adds an entry to the metadata of the template.
    pub fn describe(&mut self, key: &'static str, value: Value) {
        self.metadata.insert(key, value);
    }

    /// Declares an output.
    pub fn output<T>(&mut self, id: &str, description: &str, value: &Expr<T>) {
        self.claim_output(id);
        self.outputs.insert(id.to_owned(), Output::new(description, value.json().clone()));
    }

    /// Declares an output that exists only in deployments in which `condition` holds.
    pub fn output_when<T>(&mut self, id: &str, condition: &Condition, description: &str, value: &Expr<T>) {
        self.claim_output(id);
        let output = Output::new(description, value.json().clone()).when(&condition.0);
        self.outputs.insert(id.to_owned(), output);
    }

    /// The finished template, or all errors.
    ///
    /// # Errors
    /// A logical id that is used twice or that CloudFormation does not accept, properties that cannot be written as
    /// JSON, a reference to a name that the stack does not have, and resources that refer to each other in a cycle.
    pub fn finish(mut self) -> Result<Template, Vec<SynthError>> {
        self.resources.values_mut().for_each(|resource| resource.add_tags(&self.tags));
        let mut errors = self.errors;
        let template = Template::new(
            self.description,
            template_metadata(self.metadata, &self.groups),
            self.parameters,
            self.conditions,
            self.resources,
            self.outputs,
        );
        if errors.is_empty() {
            errors = broken_references(&serde_json::to_value(&template).unwrap_or_default());
        }
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    fn insert(&mut self, id: &str, mut body: ResourceBody) {
        body.metadata.extend(self.scopes.iter().cloned());
        self.resources.insert(id.to_owned(), body);
    }

    fn edit<R>(&mut self, resource: &Ref<R>, change: impl FnOnce(&mut ResourceBody)) {
        // If a resource could not be added, its error is already recorded.
        if let Some(body) = self.resources.get_mut(resource.logical_id()) {
            change(body);
        }
    }

    fn claim(&mut self, id: &str) {
        if self.parameters.contains_key(id) || self.conditions.contains_key(id) || self.resources.contains_key(id) {
            self.errors.push(SynthError::DuplicateId(id.to_owned()));
        }
        self.check(id);
    }

    fn claim_output(&mut self, id: &str) {
        if self.outputs.contains_key(id) {
            self.errors.push(SynthError::DuplicateId(id.to_owned()));
        }
        self.check(id);
    }

    fn check(&mut self, id: &str) {
        let fits = (1..=LOGICAL_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fits {
            self.errors.push(SynthError::BadId(id.to_owned()));
        }
    }
}

/// References to names that do not exist, and cycles of resources.
fn broken_references(template: &Value) -> Vec<SynthError> {
    let [conditions, resources, outputs] =
        ["Conditions", "Resources", "Outputs"].map(|section| references_in(template, section));
    let cycles = cycles(template, &resources);
    let dangling = dangling(template, conditions.into_iter().chain(resources).chain(outputs)).into_iter();
    let dangling = dangling.map(|it| SynthError::DanglingReference { from: it.from, to: it.to });
    dangling.chain(cycles.into_iter().map(SynthError::Cycle)).collect()
}

/// The template's metadata: its entries, and how the console groups the parameters.
fn template_metadata(
    mut entries: BTreeMap<&'static str, Value>,
    groups: &[(&'static str, Vec<&'static str>)],
) -> Value {
    let groups: Vec<Value> = groups
        .iter()
        .map(|(label, parameters)| json!({ "Label": { "default": label }, "Parameters": parameters }))
        .collect();
    if !groups.is_empty() {
        entries.insert("AWS::CloudFormation::Interface", json!({ "ParameterGroups": groups }));
    }
    if entries.is_empty() { Value::Null } else { json!(entries) }
}
