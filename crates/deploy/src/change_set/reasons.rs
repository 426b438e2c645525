//! Why CloudFormation rejects a change set. Since it validates early, the status reason only says that validation failed,
//! and the reasons are events of the change set.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html>

use aws_sdk_cloudformation::types::{EventFilter, OperationEvent};

use crate::cloud::Cloud;
use crate::error::{Error, Rejection};

/// Events that are read; a template has fewer resources than this.
const PAGES: usize = 5;

/// The error of a change set that failed: the events' reasons if they can be read, else the status reason.
pub(super) async fn refusal(cloud: &Cloud, stack: &str, id: &str, status_reason: &str) -> Error {
    explained(stack, status_reason, &failed_events(cloud, stack, id).await)
}

/// The failed events of a change set; none if they cannot be read. Reading them needs a separate permission.
async fn failed_events(cloud: &Cloud, stack: &str, id: &str) -> Vec<OperationEvent> {
    let mut call = cloud.cloudformation.describe_events().change_set_name(id);
    // A name needs the stack's beside it; an ARN does not go with one.
    if !id.starts_with("arn:") {
        call = call.stack_name(stack);
    }
    let filter = EventFilter::builder().failed_events(true).build();
    let mut pages = call.filters(filter).into_paginator().send();
    let mut events = Vec::new();
    for _ in 0..PAGES {
        match pages.next().await {
            Some(Ok(page)) => events.extend(page.operation_events.unwrap_or_default()),
            Some(Err(_)) | None => break,
        }
    }
    events
}

fn explained(stack: &str, status_reason: &str, events: &[OperationEvent]) -> Error {
    let mut reasons: Vec<String> = events.iter().filter_map(reason).collect();
    reasons.dedup();
    if reasons.is_empty() {
        reasons.push(status_reason.to_owned());
    }
    let kind = if reasons.iter().any(|reason| is_existing_provider(reason)) {
        Rejection::ProviderExists
    } else if reasons.iter().any(|reason| reason.contains("already exists")) {
        Rejection::NameExists
    } else {
        Rejection::Other
    };
    Error::Rejected { stack: stack.to_owned(), reasons, kind }
}

fn reason(event: &OperationEvent) -> Option<String> {
    let reason = event
        .validation_status_reason()
        .or(event.hook_status_reason())
        .or(event.resource_status_reason())
        .filter(|reason| !reason.is_empty())?;
    Some(match (event.logical_resource_id(), event.resource_type()) {
        (Some(id), Some(kind)) => format!("{id} ({kind}): {reason}"),
        (Some(id), None) => format!("{id}: {reason}"),
        _ => reason.to_owned(),
    })
}

fn is_existing_provider(reason: &str) -> bool {
    reason.contains("exists") && ["OIDCProvider", "oidc-provider"].iter().any(|words| reason.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, kind: &str, reason: &str) -> OperationEvent {
        OperationEvent::builder().logical_resource_id(id).resource_type(kind).validation_status_reason(reason).build()
    }

    fn rejected(status_reason: &str, events: &[OperationEvent]) -> (Vec<String>, Rejection) {
        match explained("s", status_reason, events) {
            Error::Rejected { reasons, kind, .. } => (reasons, kind),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_events_say_why_and_an_existing_provider_is_recognized() {
        let kind = "AWS::IAM::OIDCProvider";
        let reason = "Resource of type 'AWS::IAM::OIDCProvider' with identifier 'x' already exists.";
        let expected = (vec![format!("Provider ({kind}): {reason}")], Rejection::ProviderExists);
        assert_eq!(rejected("validation failed", &[event("Provider", kind, reason)]), expected);
    }

    #[test]
    fn another_name_that_is_taken_is_recognized_too() {
        let events = [event("Dashboard", "AWS::CloudWatch::Dashboard", "x already exists.")];
        assert_eq!(rejected("failed", &events).1, Rejection::NameExists);
    }

    #[test]
    fn without_events_the_status_reason_is_the_reason() {
        let expected = (vec!["the template is wrong".to_owned()], Rejection::Other);
        assert_eq!(rejected("the template is wrong", &[]), expected);
    }
}
