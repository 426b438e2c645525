//! Reads a stack's events, each once, and tolerates an AWS that does not answer for a while. Must not know what they are
//! read for.

use std::collections::HashSet;

use aws_sdk_cloudformation::types::StackEvent;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use model::stack_state::ResourceState;

use super::event::Listener;
use super::silence::Silence;
use crate::cloud::Cloud;
use crate::error::Result;
use aws::Calling as _;
use model::event::EventKind;

/// Reads a stack's events, each once.
pub(super) struct Reader<'a> {
    cloud: &'a Cloud,
    stack_id: String,
    seen: HashSet<String>,
    silence: Silence,
}

impl<'a> Reader<'a> {
    /// A reader to which everything up to now is old, and the newest of that, the oldest first.
    pub(super) async fn from_now(cloud: &'a Cloud, stack_id: &str) -> Result<(Self, Vec<StackEvent>)> {
        let mut reader =
            Self { cloud, stack_id: stack_id.to_owned(), seen: HashSet::new(), silence: Silence::default() };
        // Beyond the first page everything is older still, so it is never read.
        let old = reader.read(1).await?;
        Ok((reader, old))
    }

    /// What is new, the oldest first. Nothing while AWS does not answer.
    pub(super) async fn new_events(&mut self, listener: &dyn Listener) -> Result<Vec<StackEvent>> {
        match self.read(usize::MAX).await {
            Ok(events) => {
                self.silence.ended(listener);
                Ok(events)
            }
            Err(error) => self.silence.continues(error, listener).map(|()| Vec::new()),
        }
    }

    async fn read(&mut self, pages: usize) -> Result<Vec<StackEvent>> {
        let mut answers =
            self.cloud.cloudformation.describe_stack_events().stack_name(&self.stack_id).into_paginator().send();
        let mut new: Vec<StackEvent> = Vec::new();
        let mut read = 0;
        'pages: while let Some(page) = answers.next().await {
            let page = match page {
                // A stack whose first change set was never executed has no events, nor has one that is gone.
                Err(error) if error.code() == Some("ValidationError") => break,
                other => other.calling(|| format!("read the events of {}", self.stack_id))?,
            };
            for event in page.stack_events() {
                // Pages go back in time: from the first known event on, everything is known.
                if self.seen.contains(event.event_id().unwrap_or_default()) {
                    break 'pages;
                }
                new.push(event.clone());
            }
            read += 1;
            if read == pages {
                break;
            }
        }
        // Only now: if a later page could not be read, all of them are read again.
        self.seen.extend(new.iter().filter_map(|event| event.event_id().map(str::to_owned)));
        new.reverse();
        Ok(new)
    }
}

/// Whether an event is about the stack as a whole.
pub(super) fn is_of_stack(event: &StackEvent) -> bool {
    event.physical_resource_id() == event.stack_id()
}

/// The state that an event reports.
pub(super) fn state(event: &StackEvent) -> ResourceState {
    ResourceState::new(event.resource_status().map_or("", |status| status.as_str()))
}

/// Reports an event.
pub(super) fn report(listener: &dyn Listener, event: &StackEvent) {
    listener.send(EventKind::Resource {
        id: event.logical_resource_id().unwrap_or_default().to_owned(),
        kind: event.resource_type().unwrap_or_default().to_owned(),
        state: state(event),
        reason: event.resource_status_reason().map(str::to_owned),
    });
}
