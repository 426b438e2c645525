//! Refuses changes that would move or interrupt users: traffic is moved by a cutover, never by a deployment.

use aws_sdk_cloudformation::types::{ChangeAction, ResourceAttribute, ResourceChange};
use cutover_lambda::color::Color;

use super::plan::is_replaced;
use crate::error::{Error, Result};

/// Refuses a change set that touches what users of prod go through.
///
/// That is: any change of a listener's default action, and removing or replacing the load balancer, a listener, the
/// live target group or the live service.
pub fn refuse_live_changes(changes: &[ResourceChange], live: Color) -> Result<()> {
    let reasons: Vec<String> = changes.iter().filter_map(|change| danger(change, changes, live)).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let error = reasons.into_iter().fold(
        Error::refused(format!("this deployment would touch what users of prod ({live}) go through")),
        Error::because,
    );
    Err(error
        .hint("traffic is moved by a cutover: bluegreen cutover")
        .hint("where the change is meant and an interruption acceptable: bluegreen deploy --allow-live-changes"))
}

fn danger(change: &ResourceChange, all: &[ResourceChange], live: Color) -> Option<String> {
    let id = change.logical_resource_id()?;
    // What does not exist yet carries nobody.
    change.physical_resource_id()?;
    let color = match live {
        Color::Blue => "Blue",
        Color::Green => "Green",
    };
    let is_listener = matches!(id, "ProdListener" | "DevListener");
    let is_live = ["TargetGroup", "Service"].iter().any(|part| id.strip_prefix(color) == Some(part));
    if !(is_listener || is_live || id == "LoadBalancer") {
        return None;
    }
    match change.action() {
        Some(ChangeAction::Remove) => Some(format!("{id} would be removed")),
        Some(ChangeAction::Modify) if is_replaced(change, all) => Some(format!("{id} would be replaced")),
        Some(ChangeAction::Modify) if is_listener && touches_default_action(change) => {
            Some(format!("{id} would get another default action"))
        }
        _ => None,
    }
}

fn touches_default_action(change: &ResourceChange) -> bool {
    let named = change.details().iter().filter_map(|detail| detail.target()).any(|target| {
        target.attribute() == Some(&ResourceAttribute::Properties) && target.name() == Some("DefaultActions")
    });
    // Where the change set does not say what differs, the worst is assumed.
    named || change.details().is_empty()
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::builders::ResourceChangeBuilder;
    use aws_sdk_cloudformation::types::{Replacement, ResourceChangeDetail, ResourceTargetDefinition};

    use super::*;

    fn existing(id: &str) -> ResourceChangeBuilder {
        ResourceChange::builder().logical_resource_id(id).physical_resource_id("there")
    }

    fn modify(id: &str, property: &str) -> ResourceChange {
        let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(property);
        existing(id)
            .action(ChangeAction::Modify)
            .replacement(Replacement::False)
            .details(ResourceChangeDetail::builder().target(target.build()).build())
            .build()
    }

    fn replace(id: &str) -> ResourceChange {
        existing(id).action(ChangeAction::Modify).replacement(Replacement::True).build()
    }

    #[test]
    fn an_update_of_the_idle_environment_is_fine() {
        let changes = [replace("BlueTaskDefinition"), modify("BlueService", "TaskDefinition"), replace("BlueService")];
        assert!(refuse_live_changes(&changes, Color::Green).is_ok());
    }

    #[test]
    fn a_new_version_of_the_live_service_is_fine_but_its_replacement_is_refused() {
        assert!(refuse_live_changes(&[modify("GreenService", "TaskDefinition")], Color::Green).is_ok());
        let error = refuse_live_changes(&[replace("GreenService")], Color::Green).unwrap_err();
        assert_eq!(error.causes(), ["GreenService would be replaced"]);
    }

    #[test]
    fn another_default_action_of_a_listener_is_refused_and_another_attribute_is_not() {
        assert!(refuse_live_changes(&[modify("ProdListener", "DefaultActions")], Color::Blue).is_err());
        assert!(refuse_live_changes(&[modify("DevListener", "DefaultActions")], Color::Blue).is_err());
        assert!(refuse_live_changes(&[modify("ProdListener", "Tags")], Color::Blue).is_ok());
    }

    #[test]
    fn a_listener_change_without_details_is_refused() {
        let change = existing("ProdListener").action(ChangeAction::Modify).build();
        assert!(refuse_live_changes(&[change], Color::Blue).is_err());
    }

    #[test]
    fn removing_the_load_balancer_is_refused() {
        let change = existing("LoadBalancer").action(ChangeAction::Remove).build();
        assert!(refuse_live_changes(&[change], Color::Blue).is_err());
    }

    #[test]
    fn what_does_not_exist_yet_carries_nobody() {
        let change = ResourceChange::builder()
            .action(ChangeAction::Modify)
            .replacement(Replacement::True)
            .logical_resource_id("GreenService")
            .build();
        assert!(refuse_live_changes(&[change], Color::Green).is_ok());
    }

    #[test]
    fn the_resource_model_decides_where_the_change_set_says_conditional() {
        let conditional = |property: &str| {
            let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(property);
            existing("GreenService")
                .resource_type("AWS::ECS::Service")
                .action(ChangeAction::Modify)
                .replacement(Replacement::Conditional)
                .details(ResourceChangeDetail::builder().target(target.build()).build())
                .build()
        };
        assert!(refuse_live_changes(&[conditional("TaskDefinition")], Color::Green).is_ok());
        assert!(refuse_live_changes(&[conditional("Cluster")], Color::Green).is_err());
    }

    #[test]
    fn a_conditional_replacement_without_details_is_refused() {
        let change =
            existing("GreenService").action(ChangeAction::Modify).replacement(Replacement::Conditional).build();
        assert!(refuse_live_changes(&[change], Color::Green).is_err());
    }
}
