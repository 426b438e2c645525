//! The way on from every state that a stack can be in.

use aws_sdk_cloudformation::types::ResourceStatus;

use super::super::Context;
use super::Request;
use crate::cloud::{Cloud, DeployedStack};
use crate::deploy::{follow_operation, settle, why_it_failed};
use crate::error::{Calling, Error, Result};

/// The stack in a state in which it can be updated, or `None` if it must be created.
pub(super) async fn usable_stack(context: &Context, cloud: &Cloud, request: &Request) -> Result<Option<DeployedStack>> {
    let Some(stack) = DeployedStack::find(cloud, &context.stack).await? else { return Ok(None) };
    let Some(stack) = settle(cloud, stack, &*context.listener).await? else { return Ok(None) };
    match stack.status.as_str() {
        // A stack in review consists only of a change set, which another command may be about to execute:
        // it can be created like one that does not exist.
        "DELETE_COMPLETE" | "REVIEW_IN_PROGRESS" => Ok(None),
        // Nothing of these stacks runs, and CloudFormation lets them only be deleted.
        status @ ("ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED") => {
            // Before anything is deleted: the request needs a stack that runs.
            super::require_first_version(context, cloud, request)?;
            context.listener.note(format!("stack {} is in {status}: deleting it before creating it again", stack.name));
            for cause in why_it_failed(cloud, &stack).await? {
                context.listener.warn(format!("its creation failed: {cause}"));
            }
            super::super::destroy::delete(context, cloud, &stack, &[]).await?;
            Ok(None)
        }
        "DELETE_FAILED" => {
            let error =
                Error::refused(format!("stack {} is in DELETE_FAILED: some resources were not deleted", stack.name));
            let error = why_it_failed(cloud, &stack).await?.into_iter().fold(error, Error::because);
            Err(error.hint("finish the deletion first: bluegreen destroy"))
        }
        "UPDATE_ROLLBACK_FAILED" => continue_rollback(context, cloud, &stack, &request.skip).await.map(Some),
        _ if request.skip.is_empty() => Ok(Some(stack)),
        status => Err(Error::usage(format!("nothing to skip: stack {} is in {status}", stack.name))
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
    context.lock(cloud, stack.bucket()?).await?;
    let begin = async {
        let call = cloud.cloudformation.continue_update_rollback().stack_name(&stack.id);
        let call = skip.iter().fold(call, |call, id| call.resources_to_skip(id));
        call.send().await.calling(|| format!("continue the rollback of stack {}", stack.name))?;
        Ok(())
    };
    let resources = held_up.into_iter().map(|(id, _)| (id, String::new())).collect();
    let operation = context.operation(cloud, stack, &resources);
    let result = context.covered(cloud, Box::pin(follow_operation(operation, begin))).await;
    let unlocked = context.unlock().await;
    let now = match DeployedStack::require(cloud, &stack.name).await {
        Ok(now) => now,
        // The first error is the one that matters.
        Err(second) => return Err(result.err().unwrap_or(second)),
    };
    match (now.status.as_str(), result) {
        // The last update is rolled back, so a new update is possible.
        ("UPDATE_ROLLBACK_COMPLETE", _) => {
            unlocked?;
            timer.finish(&*context.listener, "done");
            Ok(now)
        }
        (_, Err(error)) => Err(error),
        (status, Ok(())) => Err(Error::failed(format!("stack {} is in {status}", now.name))),
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
