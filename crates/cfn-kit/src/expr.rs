//! Values that CloudFormation computes at deployment, with their Rust types.

use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::stack::Resource;

/// The physical id of a resource of type `R` (the value of `Ref` for most resources). Like [`Arn`] and [`Name`], it has
/// no values: it is the `T` of an [`Expr<T>`].
#[derive(Debug)]
pub struct Id<R>(PhantomData<R>);

/// The Amazon Resource Name of a resource of type `R`. It keeps ARNs of different types apart.
#[derive(Debug)]
pub struct Arn<R>(PhantomData<R>);

/// The name of a resource of type `R`. It keeps names of different types, and names and ids, apart.
#[derive(Debug)]
pub struct Name<R>(PhantomData<R>);

/// A value of type `T` that is either written in the template or computed by CloudFormation.
///
/// `T` is a plain type (`String`, `u16`) or one of the markers [`Id`], [`Arn`], [`Name`].
///
/// ```
/// use cfn_kit::resources::s3::Bucket;
/// use cfn_kit::{Arn, Expr, Name, Stack};
/// use serde_json::json;
///
/// let written: Expr<String> = "eu-central-1".into();
/// assert_eq!(written.json(), &json!("eu-central-1"));
///
/// let bucket = Stack::new("A stack").add("Data", Bucket::private(vec![]));
/// let name: Expr<Name<Bucket>> = bucket.name();
/// let arn: Expr<Arn<Bucket>> = bucket.arn();
/// assert_eq!(name.json(), &json!({ "Ref": "Data" }));
/// assert_eq!(arn.json(), &json!({ "Fn::GetAtt": ["Data", "Arn"] }));
/// ```
///
/// A name is not an ARN:
///
/// ```compile_fail
/// use cfn_kit::resources::s3::Bucket;
/// use cfn_kit::{Arn, Expr, Ref};
///
/// fn arn(bucket: &Ref<Bucket>) -> Expr<Arn<Bucket>> {
///     bucket.name()
/// }
/// ```
pub struct Expr<T> {
    json: Value,
    kind: PhantomData<fn() -> T>,
}

impl<T> Expr<T> {
    /// The expression with this JSON, for intrinsic functions that the kit does not support. Nothing checks that its
    /// value is a `T`.
    ///
    /// ```
    /// use cfn_kit::{Arn, Expr, resources::sns::Topic};
    /// use serde_json::json;
    ///
    /// let topic: Expr<Arn<Topic>> = Expr::from_json(json!({ "Fn::ImportValue": "alerts-topic" }));
    /// ```
    pub fn from_json(json: Value) -> Self {
        Self { json, kind: PhantomData }
    }

    /// `then` if `condition` holds in a deployment, otherwise `otherwise`.
    pub fn when(condition: &Condition, then: &Self, otherwise: &Self) -> Self {
        Self::from_json(json!({ "Fn::If": [condition.0, then.json, otherwise.json] }))
    }

    /// `then` if `condition` holds, otherwise no value, as if the property were absent.
    pub fn when_some(condition: &Condition, then: &Self) -> Self {
        Self::from_json(json!({ "Fn::If": [condition.0, then.json, { "Ref": "AWS::NoValue" }] }))
    }

    /// The same value as plain text, for places that take any string (environment variables, outputs).
    pub fn text(&self) -> Expr<String> {
        Expr::from_json(self.json.clone())
    }

    /// The expression as it is in the template.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl Expr<String> {
    /// The region of the deployment.
    pub fn region() -> Self {
        Self::from_json(json!({ "Ref": "AWS::Region" }))
    }

    /// The account of the deployment.
    pub fn account_id() -> Self {
        Self::from_json(json!({ "Ref": "AWS::AccountId" }))
    }

    /// The partition of the deployment: `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition() -> Self {
        Self::from_json(json!({ "Ref": "AWS::Partition" }))
    }

    /// The name of the stack.
    pub fn stack_name() -> Self {
        Self::from_json(json!({ "Ref": "AWS::StackName" }))
    }
}

impl<T> Clone for Expr<T> {
    fn clone(&self) -> Self {
        Self::from_json(self.json.clone())
    }
}

impl<T> fmt::Debug for Expr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json)
    }
}

impl<T> Serialize for Expr<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl From<&str> for Expr<String> {
    fn from(text: &str) -> Self {
        Self::from_json(text.into())
    }
}

impl From<String> for Expr<String> {
    fn from(text: String) -> Self {
        Self::from_json(text.into())
    }
}

/// The ARN of a resource of this account in this region: the service, and the parts that name the resource in it. For a
/// resource whose `Fn::GetAtt` would make a cycle, or that the stack does not have.
///
/// ```
/// use cfn_kit::own_arn;
///
/// let queue = own_arn("sqs", &["orders".into()]);
/// assert_eq!(queue.json()["Fn::Sub"], "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:orders");
/// ```
pub fn own_arn(service: &str, resource: &[Expr<String>]) -> Expr<String> {
    let begin = [
        "arn:".into(),
        Expr::partition(),
        format!(":{service}:").into(),
        Expr::region(),
        ":".into(),
        Expr::account_id(),
        ":".into(),
    ];
    join(&[&begin, resource].concat())
}

/// The concatenation of `parts`.
///
/// ```
/// use cfn_kit::{Expr, join};
///
/// let address = join(&["https://".into(), Expr::region(), ".shop.example".into()]);
/// assert_eq!(address.json()["Fn::Sub"], "https://${AWS::Region}.shop.example");
/// ```
pub fn join(parts: &[Expr<String>]) -> Expr<String> {
    let mut text = String::new();
    let mut variables = serde_json::Map::new();
    for part in parts {
        match placeholder(&part.json) {
            Piece::Literal(literal) => text.push_str(&literal.replace("${", "${!")),
            Piece::Named(name) => text.push_str(&format!("${{{name}}}")),
            Piece::Computed => {
                let name = format!("Part{}", variables.len());
                text.push_str(&format!("${{{name}}}"));
                variables.insert(name, part.json.clone());
            }
        }
    }
    if parts.iter().all(|part| part.json.is_string()) {
        return parts.iter().filter_map(|part| part.json.as_str()).collect::<String>().into();
    }
    Expr::from_json(if variables.is_empty() {
        json!({ "Fn::Sub": text })
    } else {
        json!({ "Fn::Sub": [text, variables] })
    })
}

/// The form of a value in `Fn::Sub`.
enum Piece<'a> {
    /// Literally.
    Literal(&'a str),
    /// By its name in the template.
    Named(String),
    /// Through a variable.
    Computed,
}

fn placeholder(value: &Value) -> Piece<'_> {
    if let Some(literal) = value.as_str() {
        return Piece::Literal(literal);
    }
    if let Some(id) = value.get("Ref").and_then(Value::as_str) {
        return Piece::Named(id.to_owned());
    }
    match value.get("Fn::GetAtt").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(id), Value::String(attribute)]) => Piece::Named(format!("{id}.{attribute}")),
        _ => Piece::Computed,
    }
}

/// Text in which `${AWS::…}` pseudo parameters are replaced at deployment.
///
/// ```
/// assert_eq!(cfn_kit::sub("${AWS::StackName}-log").json()["Fn::Sub"], "${AWS::StackName}-log");
/// ```
pub fn sub(text: &str) -> Expr<String> {
    Expr::from_json(json!({ "Fn::Sub": text }))
}

/// A reference to a resource of type `R` in the same stack. [`Stack::add`](crate::Stack::add) returns it, and the type
/// of the resource decides what can be read from it.
///
/// ```
/// use cfn_kit::resources::sns::Topic;
/// use cfn_kit::{Ref, Stack};
///
/// let mut stack = Stack::new("A stack");
/// let topic: Ref<Topic> = stack.add("Alerts", Topic { kms_master_key_id: None, subscription: vec![], tags: vec![] });
/// assert_eq!(topic.logical_id(), "Alerts");
/// stack.output("AlertsArn", "Where alarms go", &topic.arn());
/// ```
pub struct Ref<R> {
    logical_id: String,
    kind: PhantomData<fn() -> R>,
}

impl<R> Ref<R> {
    pub(super) fn new(logical_id: &str) -> Self {
        Self { logical_id: logical_id.to_owned(), kind: PhantomData }
    }

    /// The resource's logical id in the template.
    pub fn logical_id(&self) -> &str {
        &self.logical_id
    }

    /// `Ref`. Its value depends on the resource type, so the module of each type has a function with a name (`id`,
    /// `arn`, …).
    pub(crate) fn reference<T>(&self) -> Expr<T> {
        Expr::from_json(json!({ "Ref": self.logical_id }))
    }
}

impl Ref<super::Untyped> {
    /// `Ref`. The caller guarantees the type.
    pub fn value<T>(&self) -> Expr<T> {
        self.reference()
    }

    /// `Fn::GetAtt`. The caller guarantees the type.
    pub fn get<T>(&self, attribute: &str) -> Expr<T> {
        Expr::from_json(json!({ "Fn::GetAtt": [self.logical_id, attribute] }))
    }
}

/// The value of `Ref` for resources of a type that you declare: their id, name, or ARN. See "Return values" on the page
/// of the type in the CloudFormation reference. The types of the kit have a named function for it.
///
/// ```
/// use cfn_kit::{Expr, RefValue, Resource, Stack};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Queue {}
///
/// impl Resource for Queue {
///     const TYPE: &'static str = "AWS::SQS::Queue";
/// }
///
/// /// The URL of a queue.
/// struct QueueUrl;
///
/// impl RefValue for Queue {
///     type Value = QueueUrl;
/// }
///
/// let url: Expr<QueueUrl> = Stack::new("A stack").add("Orders", Queue {}).ref_value();
/// ```
pub trait RefValue: Resource {
    /// The type of the value: [`Id`], [`Name`], [`Arn`], or another marker type.
    type Value;
}

impl<R: RefValue> Ref<R> {
    /// `Ref`.
    pub fn ref_value(&self) -> Expr<R::Value> {
        self.reference()
    }
}

/// An attribute of resources of type `R` that you declare, with the type of its value. The types of the kit have a
/// function for each attribute.
///
/// ```
/// use cfn_kit::{Arn, Attribute, Expr, Resource, Stack};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Queue {}
///
/// impl Resource for Queue {
///     const TYPE: &'static str = "AWS::SQS::Queue";
/// }
///
/// struct QueueArn;
///
/// impl Attribute<Queue> for QueueArn {
///     type Value = Arn<Queue>;
///     const NAME: &'static str = "Arn";
/// }
///
/// let arn: Expr<Arn<Queue>> = Stack::new("A stack").add("Orders", Queue {}).get_attribute(QueueArn);
/// ```
pub trait Attribute<R: Resource> {
    /// The type of its value, such as `Arn<R>`.
    type Value;
    /// Its name in the schema of the type.
    const NAME: &'static str;
}

impl<R: Resource> Ref<R> {
    /// `Fn::GetAtt` of an attribute that is declared for this type.
    pub fn get_attribute<A: Attribute<R>>(&self, _: A) -> Expr<A::Value> {
        self.attribute(A::NAME)
    }

    /// `Fn::GetAtt`. The module of the type has a function with a name and a type for each attribute.
    pub(crate) fn attribute<T>(&self, name: &str) -> Expr<T> {
        Expr::from_json(json!({ "Fn::GetAtt": [self.logical_id, name] }))
    }
}

impl<R> Clone for Ref<R> {
    fn clone(&self) -> Self {
        Self::new(&self.logical_id)
    }
}

impl<R> fmt::Debug for Ref<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.logical_id)
    }
}

/// A condition declared in the stack. It exists so that a resource or a value can depend on it only after it was
/// declared.
#[derive(Clone, Debug, Serialize)]
pub struct Condition(pub(super) String);

/// The test of a condition.
///
/// ```
/// use cfn_kit::resources::s3::Bucket;
/// use cfn_kit::{Condition, Parameter, Stack, Test};
///
/// let mut stack = Stack::new("A stack");
/// let none = Parameter { description: "Address of the log", default: "", allowed: &[], pattern: None };
/// let address = stack.parameter("LogAddress", &none);
/// let given: Condition = stack.condition("HasLog", Test::is_given(&address));
/// let bucket = stack.add("Log", Bucket::private(vec![]));
/// stack.when(&bucket, &given);
/// let template = serde_json::to_value(stack.finish().unwrap()).unwrap();
/// assert_eq!(template["Resources"]["Log"]["Condition"], "HasLog");
/// ```
#[derive(Clone, Debug, Serialize)]
pub enum Test {
    /// Both values are the same text.
    #[serde(rename = "Fn::Equals")]
    Equals(Expr<String>, Expr<String>),
    /// The test inside does not hold.
    #[serde(rename = "Fn::Not")]
    Not([Box<Test>; 1]),
    /// All of 2 to 10 tests hold.
    #[serde(rename = "Fn::And")]
    And(Vec<Test>),
    /// At least one of 2 to 10 tests holds.
    #[serde(rename = "Fn::Or")]
    Or(Vec<Test>),
    /// A condition of the stack holds.
    #[serde(rename = "Condition")]
    Holds(Condition),
}

impl Test {
    /// Holds if `value` is not empty.
    pub fn is_given<T>(value: &Expr<T>) -> Self {
        Self::Not([Box::new(Self::Equals(value.text(), "".into()))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_parts_become_one_substitution() {
        let parts = [Expr::stack_name(), "-${x}-".into(), Expr::from_json(json!({ "Fn::GetAtt": ["A", "Arn"] }))];
        assert_eq!(join(&parts).json, json!({ "Fn::Sub": "${AWS::StackName}-${!x}-${A.Arn}" }));
    }

    #[test]
    fn a_computed_part_goes_through_a_variable() {
        let zone = Expr::<String>::from_json(json!({ "Fn::ImportValue": "zone" }));
        let expected = json!({ "Fn::Sub": ["zone ${Part0}", { "Part0": zone.json }] });
        assert_eq!(join(&["zone ".into(), zone]).json, expected);
    }
}
