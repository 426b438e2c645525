//! The way on from every state that a stack can be in.

use aws_sdk_cloudformation::types::ResourceStatus;

use aws::Calling as _;
use deploy::{Cloud, DeployedStack, follow_operation, settle, why_it_failed};
use model::stack_state::StackState;

use super::Job;
use crate::context::Context;
use crate::deletion;
use crate::error::{Error, Result};

/// The stack in a state in which it can be updated, or `None` if it must be created.
pub(super) async fn usable_stack(job: Job<'_>) -> Result<Option<DeployedStack>> {
    let Job { context, cloud, request } = job;
    let Some(stack) = DeployedStack::find(cloud, &context.stack).await? else { return Ok(None) };
    let Some(stack) = settle(cloud, stack, &*context.listener).await? else { return Ok(None) };
    match &stack.state {
        // A stack in review consists only of a change set, which another command may be about to execute:
        // it can be created like one that does not exist.
        StackState::DeleteComplete | StackState::ReviewInProgress => Ok(None),
        // Nothing of these stacks runs, and CloudFormation lets them only be deleted.
        state if state.has_failed_creation() => {
            // Before anything is deleted: the request needs a stack that runs.
            super::require_first_version(job)?;
            context.listener.note(format!("stack {} is in {state}: deleting it before creating it again", stack.name));
            for cause in why_it_failed(cloud, &stack).await? {
                context.listener.warn(format!("its creation failed: {cause}"));
            }
            deletion::delete(context, cloud, &stack, &[]).await?;
            Ok(None)
        }
        StackState::DeleteFailed => {
            let error =
                Error::refused(format!("stack {} is in DELETE_FAILED: some resources were not deleted", stack.name));
            let error = why_it_failed(cloud, &stack).await?.into_iter().fold(error, Error::because);
            Err(error.hint("finish the deletion first: bluegreen destroy"))
        }
        StackState::UpdateRollbackFailed => continue_rollback(context, cloud, &stack, &request.skip).await.map(Some),
        _ if request.skip.is_empty() => Ok(Some(stack)),
        state => Err(Error::usage(format!("nothing to skip: stack {} is in {state}", stack.name))
            .hint("remove --skip, which is for a stack in UPDATE_ROLLBACK_FAILED")),
    }
}

/// Continues the rollback of an update after it failed.
async fn continue_rollback(
    context: &Context,
    cloud: &Cloud,
    stack: &DeployedStack,
    skip: &[String],
) -> Result<DeployedStack> {
    let held_up = held_up_resources(cloud, stack).await?;
    for (id, reason) in &held_up {
        context.listener.warn(format!("{id} was not rolled back: {reason}"));
    }
    if let Some(unknown) = skip.iter().find(|id| !held_up.iter().any(|(held_up, _)| held_up == *id)) {
        let ids: Vec<&str> = held_up.iter().map(|(id, _)| id.as_str()).collect();
        return Err(Error::usage(format!("{unknown} cannot be skipped"))
            .because(format!("resources that were not rolled back: {}", ids.join(", "))));
    }
    let timer = context.listener.start(format!("continue the rollback of stack {}", stack.name));
    context.take_lease(cloud, stack.bucket()?).await?;
    let begin = async {
        let call = cloud.cloudformation.continue_update_rollback().stack_name(&stack.id);
        let call = skip.iter().fold(call, |call, id| call.resources_to_skip(id));
        call.send().await.calling(|| format!("continue the rollback of stack {}", stack.name))?;
        Ok(())
    };
    let resources = held_up.into_iter().map(|(id, _)| (id, String::new())).collect();
    let operation = context.operation(cloud, stack, &resources);
    let result = context.covered(cloud, Box::pin(follow_operation(operation, begin))).await;
    let unlocked = context.release_lease().await;
    let now = match DeployedStack::require(cloud, &stack.name).await {
        Ok(now) => now,
        // The first error is the one that matters.
        Err(second) => return Err(result.err().unwrap_or_else(|| second.into())),
    };
    match (&now.state, result) {
        // The last update is rolled back, so a new update is possible.
        (StackState::UpdateRollbackComplete, _) => {
            unlocked?;
            timer.finish(&*context.listener, "done");
            Ok(now)
        }
        (_, Err(error)) => Err(error),
        (state, Ok(())) => Err(Error::failed(format!("stack {} is in {state}", now.name))),
    }
}

/// The resources that were not rolled back, and why.
async fn held_up_resources(cloud: &Cloud, stack: &DeployedStack) -> Result<Vec<(String, String)>> {
    let all = stack.resources(cloud).await?;
    let held_up = all.iter().filter(|it| it.resource_status() == Some(&ResourceStatus::UpdateFailed));
    Ok(held_up
        .map(|it| {
            let reason = it.resource_status_reason().unwrap_or("no reason given");
            (it.logical_resource_id().unwrap_or_default().to_owned(), reason.to_owned())
        })
        .collect())
}
