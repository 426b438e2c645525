//! A part of a stack under construction: all resources added in it have the same metadata.

use std::ops::{Deref, DerefMut};

use serde_json::Value;

use super::Stack;

/// A stack within a scope: every added resource has the entry of the scope in its metadata.
///
/// An inner scope with the same key takes precedence. The scope ends when this value is dropped.
///
/// ```
/// use cfn_kit::{Scope, Stack, resources::s3::Bucket};
/// use serde_json::json;
///
/// let mut stack = Stack::new("A stack");
/// let mut blue: Scope<'_> = stack.annotated("environment", json!("blue"));
/// blue.add("Data", Bucket::private(vec![]));
/// drop(blue);
/// let template = serde_json::to_value(stack.finish().unwrap()).unwrap();
/// assert_eq!(template["Resources"]["Data"]["Metadata"]["environment"], "blue");
/// ```
#[derive(Debug)]
pub struct Scope<'a> {
    stack: &'a mut Stack,
}

impl<'a> Scope<'a> {
    pub(super) fn new(stack: &'a mut Stack, key: &'static str, value: Value) -> Self {
        stack.scopes.push((key, value));
        Self { stack }
    }
}

impl Deref for Scope<'_> {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        self.stack
    }
}

impl DerefMut for Scope<'_> {
    fn deref_mut(&mut self) -> &mut Stack {
        self.stack
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.stack.scopes.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_added_in_a_scope_carries_its_metadata_and_an_inner_scope_wins() {
        let mut stack = Stack::new("A stack");
        stack.add_untyped("Before", "A::B::C", json!({}));
        {
            let outer = &mut stack.annotated("part", json!("outer"));
            outer.add_untyped("Outer", "A::B::C", json!({}));
            outer.annotated("part", json!("inner")).add_untyped("Inner", "A::B::C", json!({}));
            outer.add_untyped("Again", "A::B::C", json!({}));
        }
        stack.add_untyped("After", "A::B::C", json!({}));
        let template = serde_json::to_value(stack.finish().unwrap()).unwrap();
        let part = |id: &str| template["Resources"][id]["Metadata"]["part"].clone();
        assert_eq!(
            ["Before", "Outer", "Inner", "Again", "After"].map(part),
            [json!(null), json!("outer"), json!("inner"), json!("outer"), json!(null)]
        );
    }
}
