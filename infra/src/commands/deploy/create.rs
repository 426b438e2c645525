//! The first step of a stack: everything that needs neither an image nor a zip.

use cutover_lambda::color::Color;

use super::super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::deploy::{ChangeSet, Parameters, Source, follow_operation};
use crate::error::{Error, Result};
use crate::stack::parameter;

/// Makes the stack without what needs an image or a zip.
pub(super) async fn create(context: &Context, cloud: &Cloud, template: &str) -> Result<()> {
    let timer = context.listener.start(format!("create stack {}", context.stack));
    let empty = parameter::ALL.iter().filter(|name| **name != parameter::PROD_COLOR);
    let mut parameters: Parameters = empty.map(|name| (*name, Some(String::new()))).collect();
    parameters.insert(parameter::PROD_COLOR, Some(Color::Green.to_string()));
    let (change, stack) = match prepare_creation(context, cloud, template, &parameters).await {
        Ok(prepared) => prepared,
        Err(error) => return Err(explain_creation(context, cloud, error).await),
    };
    let begin = async {
        match change.execute(cloud, &stack.name).await {
            Err(error) => Err(explain_creation(context, cloud, error).await),
            begun => begun,
        }
    };
    let resources = change.resources();
    let operation = context.operation(cloud, &stack, &resources);
    follow_operation(operation, begin).await?;
    timer.finish(&*context.listener, format!("{} resources", change.changes.len()));
    Ok(())
}

async fn prepare_creation(
    context: &Context,
    cloud: &Cloud,
    template: &str,
    parameters: &Parameters,
) -> Result<(ChangeSet, DeployedStack)> {
    let change = ChangeSet::prepare(cloud, &context.stack, true, Source::Body(template), parameters).await?;
    let Some(change) = change else {
        return Err(Error::failed("CloudFormation sees nothing to create in the template"));
    };
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    if stack.status != "REVIEW_IN_PROGRESS" {
        return Err(Error::failed(format!("stack {} is in {}", stack.name, stack.status)));
    }
    Ok((change, stack))
}

/// A creation that could not begin because another command's had.
async fn explain_creation(context: &Context, cloud: &Cloud, error: Error) -> Error {
    match DeployedStack::find(cloud, &context.stack).await {
        Ok(Some(stack)) if stack.status != "REVIEW_IN_PROGRESS" => {
            let explained = Error::refused(format!("another command is making stack {}", context.stack));
            let explained = explained.because(format!("it is in {}", stack.status)).because(&error);
            explained.hint("run the command again: it follows what goes on and then does the rest")
        }
        _ => error,
    }
}
