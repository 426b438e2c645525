//! The properties whose change replaces the resource (create-only properties), from AWS's resource schemas.
//!
//! The table is generated from the schemas; a test compares the two.
//!
//! ```
//! use cfn_kit::resources::schema::{Replaces, replaces, types};
//!
//! // A service in another cluster is another service.
//! assert_eq!(replaces("AWS::ECS::Service", "Cluster"), Some(Replaces::Always));
//! assert_eq!(replaces("AWS::ECS::Service", "TaskDefinition"), Some(Replaces::Never));
//! assert!(types().any(|name| name == "AWS::S3::Bucket"));
//! ```

mod replacing;

/// The effect of a change of a property on its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// The resource stays.
    Never,
    /// It depends on the values, or on which part of the property changes.
    Sometimes,
    /// The resource is replaced.
    Always,
}

/// The effect of a change of `property` on a resource of this type; `None` if the type is not in the table.
///
/// `property` is a top-level property, as change sets name them.
pub fn replaces(resource_type: &str, property: &str) -> Option<Replaces> {
    let index = replacing::TYPES.binary_search_by(|entry| entry.name.cmp(resource_type)).ok()?;
    let entry = &replacing::TYPES[index];
    Some(if entry.always.contains(&property) {
        Replaces::Always
    } else if entry.sometimes.contains(&property) {
        Replaces::Sometimes
    } else {
        Replaces::Never
    })
}

/// The resource types in the table.
pub fn types() -> impl Iterator<Item = &'static str> {
    replacing::TYPES.iter().map(|entry| entry.name)
}

/// The create-only properties of one resource type.
struct Type {
    name: &'static str,
    always: &'static [&'static str],
    sometimes: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_replaced_with_its_cluster_and_not_with_its_task_definition() {
        assert_eq!(replaces("AWS::ECS::Service", "Cluster"), Some(Replaces::Always));
        assert_eq!(replaces("AWS::ECS::Service", "LaunchType"), Some(Replaces::Sometimes));
        assert_eq!(replaces("AWS::ECS::Service", "TaskDefinition"), Some(Replaces::Never));
        assert_eq!(replaces("Custom::Thing", "Anything"), None);
    }
}
