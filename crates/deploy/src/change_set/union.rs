//! One list of changes from the two in which CloudFormation describes a change set. With property values it leaves out
//! whole resources whose values it cannot show, so both are read. <https://github.com/aws/aws-cdk-cli/issues/1780> Pure.

use aws_sdk_cloudformation::types::{ChangeAction, Replacement, ResourceChange, ResourceChangeDetail};

/// Every change that either list has, with the details of both, and the worse of what they say of it.
pub(super) fn union(with_values: Vec<ResourceChange>, without: Vec<ResourceChange>) -> Vec<ResourceChange> {
    let mut all = with_values;
    for change in without {
        match all.iter_mut().find(|known| known.logical_resource_id == change.logical_resource_id) {
            Some(known) => merge(known, change),
            None => all.push(change),
        }
    }
    all
}

fn merge(known: &mut ResourceChange, other: ResourceChange) {
    if removal(other.action.as_ref()) > removal(known.action.as_ref()) {
        known.action = other.action;
    }
    if severity(other.replacement.as_ref()) > severity(known.replacement.as_ref()) {
        known.replacement = other.replacement;
    }
    known.physical_resource_id = known.physical_resource_id.take().or(other.physical_resource_id);
    known.resource_type = known.resource_type.take().or(other.resource_type);
    let details = known.details.get_or_insert_default();
    for detail in other.details.unwrap_or_default() {
        if !details.iter().any(|it| names(it) == names(&detail)) {
            details.push(detail);
        }
    }
}

/// What a detail is about.
fn names(detail: &ResourceChangeDetail) -> (Option<&str>, Option<&str>, Option<&str>) {
    let target = detail.target();
    let attribute = target.and_then(|target| target.attribute()).map(|attribute| attribute.as_str());
    (attribute, target.and_then(|target| target.name()), detail.causing_entity())
}

fn removal(action: Option<&ChangeAction>) -> u8 {
    match action {
        Some(ChangeAction::Remove) => 2,
        Some(ChangeAction::Add | ChangeAction::Import) => 0,
        _ => 1,
    }
}

fn severity(replacement: Option<&Replacement>) -> u8 {
    match replacement {
        Some(Replacement::True) => 2,
        Some(Replacement::Conditional) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::{ResourceAttribute, ResourceTargetDefinition};

    use super::*;

    fn change(id: &str, replacement: Replacement, properties: &[(&str, Option<&str>)]) -> ResourceChange {
        let details = properties.iter().map(|(name, value)| {
            let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(*name);
            let target = target.set_after_value(value.map(str::to_owned)).build();
            ResourceChangeDetail::builder().target(target).build()
        });
        ResourceChange::builder()
            .logical_resource_id(id)
            .action(ChangeAction::Modify)
            .replacement(replacement)
            .set_details(Some(details.collect()))
            .build()
    }

    #[test]
    fn a_resource_that_is_left_out_with_values_is_there() {
        let with = vec![change("A", Replacement::False, &[("P", Some("1"))])];
        let without = vec![change("A", Replacement::False, &[("P", None)]), change("B", Replacement::True, &[])];
        let all = union(with, without);
        assert_eq!(all.iter().filter_map(|it| it.logical_resource_id()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(all[0].details().len(), 1, "the same detail counts once");
        assert_eq!(all[0].details()[0].target().unwrap().after_value(), Some("1"));
    }

    #[test]
    fn the_worse_of_both_counts_and_details_add_up() {
        let with = vec![change("A", Replacement::False, &[("P", Some("1"))])];
        let without = vec![change("A", Replacement::Conditional, &[("Q", None)])];
        let all = union(with, without);
        assert_eq!(all[0].replacement(), Some(&Replacement::Conditional));
        assert_eq!(all[0].details().len(), 2);
        let removed = ResourceChange::builder().logical_resource_id("A").action(ChangeAction::Remove).build();
        assert_eq!(union(all, vec![removed])[0].action(), Some(&ChangeAction::Remove));
    }
}
