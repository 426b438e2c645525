//! Refuses changes that would move or interrupt users: traffic is moved by a cutover, never by a deployment.

use aws_sdk_cloudformation::types::{ChangeAction, Replacement, ResourceAttribute, ResourceChange};
use cutover_lambda::color::Color;

use crate::error::{Error, Result};

/// Refuses a change set that touches what users of prod go through.
///
/// That is: any change of a listener's default action, and removing or replacing the load balancer, a listener, the
/// live target group or the live service.
pub fn refuse_live_changes(changes: &[ResourceChange], live: Color) -> Result<()> {
    let reasons: Vec<String> = changes.iter().filter_map(|change| danger(change, live)).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let error = reasons.into_iter().fold(
        Error::refused(format!("this deployment would touch what users of prod ({live}) go through")),
        Error::because,
    );
    Err(error
        .hint("traffic is moved by a cutover: make cutover")
        .hint("where the change is meant and an interruption acceptable: bluegreen deploy --allow-live-changes"))
}

fn danger(change: &ResourceChange, live: Color) -> Option<String> {
    let id = change.logical_resource_id()?;
    let live_prefix = match live {
        Color::Blue => "Blue",
        Color::Green => "Green",
    };
    let is_listener = matches!(id, "ProdListener" | "DevListener");
    let carries_users =
        is_listener || id == "LoadBalancer" || ["TargetGroup", "Service"].iter().any(|part| id == format!("{live_prefix}{part}"));
    if !carries_users {
        return None;
    }
    match change.action() {
        Some(ChangeAction::Remove) => Some(format!("{id} would be removed")),
        Some(ChangeAction::Modify) => match change.replacement() {
            Some(Replacement::True) => Some(format!("{id} would be replaced")),
            Some(Replacement::Conditional) => Some(format!("{id} may be replaced")),
            _ if is_listener && touches_default_action(change) => {
                Some(format!("{id} would get another default action"))
            }
            _ => None,
        },
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
    use aws_sdk_cloudformation::types::{ResourceChangeDetail, ResourceTargetDefinition};

    use super::*;

    fn modify(id: &str, property: &str) -> ResourceChange {
        let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(property);
        ResourceChange::builder()
            .action(ChangeAction::Modify)
            .logical_resource_id(id)
            .replacement(Replacement::False)
            .details(ResourceChangeDetail::builder().target(target.build()).build())
            .build()
    }

    fn replace(id: &str) -> ResourceChange {
        ResourceChange::builder()
            .action(ChangeAction::Modify)
            .logical_resource_id(id)
            .replacement(Replacement::True)
            .build()
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
        let change =
            ResourceChange::builder().action(ChangeAction::Modify).logical_resource_id("ProdListener").build();
        assert!(refuse_live_changes(&[change], Color::Blue).is_err());
    }

    #[test]
    fn removing_the_load_balancer_is_refused() {
        let change =
            ResourceChange::builder().action(ChangeAction::Remove).logical_resource_id("LoadBalancer").build();
        assert!(refuse_live_changes(&[change], Color::Blue).is_err());
    }
}
