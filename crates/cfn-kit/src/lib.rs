//! The construct kit: typed CloudFormation templates as Rust values.
//!
//! A [`Stack`] collects parameters, conditions, resources and outputs and is finished into a [`Template`], whose
//! JSON is the same bytes for the same input. References are typed: [`Ref<R>`] names a resource of type `R`, and an
//! [`Expr<T>`] is a value known only at deployment, so a subnet id cannot be used as the ARN of a target group.
//! The kit does not depend on the stack of this product.

pub mod assertions;
mod checked;
mod expr;
pub mod limits;
mod policy;
mod references;
pub mod resources;
mod scope;
mod stack;
mod template;

pub use checked::InvalidValue;
pub use expr::{Arn, Attribute, Condition, Expr, Id, Name, Ref, RefValue, Test, join, own_arn, sub};
pub use policy::{Effect, PolicyDocument, Principal, Statement};
pub use references::{references, references_of};
pub use scope::Scope;
pub use stack::{Matched, Parameter, Resource, Stack, SynthError, Untyped};
pub use template::{Output, Template};

/// A tag in CloudFormation's format.
///
/// ```
/// use cfn_kit::{Expr, Stack, Tag};
///
/// let mut stack = Stack::new("A stack");
/// stack.tag(Tag::new("stack", Expr::stack_name()));
/// ```
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// The key, at most 128 characters.
    pub key: String,
    /// The value, at most 256 characters.
    pub value: Expr<String>,
}

impl Tag {
    /// A tag with this key and value.
    pub fn new(key: impl Into<String>, value: impl Into<Expr<String>>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// The `Name` tag, which the console shows as the resource's name.
    pub fn name(value: impl Into<Expr<String>>) -> Self {
        Self::new("Name", value)
    }
}

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
