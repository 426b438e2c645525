//! The first step of a stack: everything that needs neither an image nor a zip.
//!
//! A template that fits into no call goes through the stack's bucket, so then the bucket comes before everything else: the
//! stack is made of its beginning alone, and the rest is an update. Whatever ends the command in between, the next one
//! finds a stack that is begun, and goes on with the rest.

use std::future::ready;

use deploy::template::fits_into_a_call;
use deploy::{ChangeSet, Cloud, DeployedStack, Parameters, Source, follow_operation, zones};
use futures_util::future::Either;
use model::color::Color;
use stack::parameter;

use super::apply::execute;
use super::confirm::{Agreed, Confirmed};
use super::project::Project;
use super::spec::Spec;
use super::{Job, lock, require_first_version};
use crate::artifacts;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::synthesis;

/// Creates a stack that does not exist yet or is incomplete, and builds what it will run meanwhile.
pub(super) async fn create(job: Job<'_>, project: Project, begun: Option<DeployedStack>) -> Result<Confirmed> {
    let Job { context, cloud, request } = job;
    require_first_version(job)?;
    if request.expect_no_changes {
        let lacks = if begun.is_some() { "is incomplete" } else { "does not exist yet" };
        return Err(Error::refused(format!("the deployment would make changes: stack {} {lacks}", context.stack))
            .hint("create it by running the command without --expect-no-changes"));
    }
    let Project { workspace, cached } = &project;
    let first_version = &context.settings.app.first_version;
    let zones =
        if context.settings.zones_are_chosen() { Some(zones::choose(cloud, &context.settings).await?) } else { None };
    let template = synthesis::compact(&context.settings)?;
    // Whether an image exists is known at once, so a stack is begun only if it does. A build takes a while, and goes on
    // beside the creation.
    let app = artifacts::app(context, workspace, first_version, cached);
    let app = if workspace.builds_service() {
        Either::Left(app)
    } else {
        Either::Right(ready(Ok(app.await.map_err(|error| no_first(context, error))?)))
    };
    let built = async {
        tokio::try_join!(app, artifacts::function(context, workspace.function_source(), cached))
            .map_err(|error| error.hint(begun_hint(context)))
    };
    let ((app, function), ()) = tokio::try_join!(built, first_step(job, &template, zones.as_ref(), begun))?;
    let environments = Color::ALL.to_vec();
    let spec = Spec { function: Some(function), app: Some(app), environments, zones };
    Ok(Confirmed { spec, agreed: Agreed::ToEverything })
}

/// An image that cannot be used, of a stack that was not begun.
fn no_first(context: &Context, error: Error) -> Error {
    let app = &context.settings.app;
    let has_version = app.image.as_ref().is_some_and(|image| image.as_str().contains("{version}"));
    let error = if has_version {
        error.hint(format!(
            "the first release is version {}; if the image has no such version, set app.first_version in bluegreen.toml",
            app.first_version
        ))
    } else {
        error
    };
    error.hint("nothing was created")
}

/// What to do about a stack whose creation went on while a build failed.
fn begun_hint(context: &Context) -> String {
    format!(
        "the creation of stack {0} has begun: run the same command again to complete it, or bluegreen destroy to delete it",
        context.stack
    )
}

/// Creates the stack without the resources that need an image or a zip; of an incomplete stack, the rest.
async fn first_step(
    job: Job<'_>,
    template: &str,
    zones: Option<&[String; 2]>,
    begun: Option<DeployedStack>,
) -> Result<()> {
    let Job { context, cloud, .. } = job;
    let parameters = &nothing_runs(zones);
    let begun = match begun {
        Some(begun) => begun,
        None if fits_into_a_call(template) => return begin(context, cloud, template, parameters).await,
        None => {
            begin(context, cloud, &synthesis::beginning(&context.settings)?, &nothing_runs(None)).await?;
            DeployedStack::require(cloud, &context.stack).await?
        }
    };
    lock::take(job, begun.bucket()?).await?;
    let result = complete(context, cloud, template, parameters).await;
    // The first error is the one that matters.
    let unlocked = context.release_lease().await;
    result?;
    unlocked
}

/// Adds the rest to an incomplete stack. Nobody uses it yet, so no confirmation is needed.
async fn complete(context: &Context, cloud: &Cloud, template: &str, parameters: &Parameters) -> Result<()> {
    // Read again under the lease: another command may have completed it.
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    let Some(bucket) = stack.begun() else { return Ok(()) };
    let timer = context.listener.start(format!("complete stack {}", context.stack));
    let source = Source::Text { text: template, bucket };
    let change = ChangeSet::prepare(cloud, &stack.name, false, source, parameters).await?;
    let Some(change) = change else {
        return Err(Error::failed("CloudFormation found nothing to add in the template"));
    };
    execute(context, cloud, &stack, &change, &[]).await?;
    timer.finish(&*context.listener, format!("{} resources", change.changes.len()));
    Ok(())
}

/// The parameters under which nothing exists that needs an image or a zip.
fn nothing_runs(zones: Option<&[String; 2]>) -> Parameters {
    let mut parameters: Parameters =
        parameter::ALL.iter().map(|name| ((*name).to_owned(), Some(String::new()))).collect();
    for (name, zone) in parameter::ZONES.iter().zip(zones.into_iter().flatten()) {
        parameters.insert((*name).to_owned(), Some(zone.clone()));
    }
    parameters
}

/// Makes a stack of a template that fits into a call.
async fn begin(context: &Context, cloud: &Cloud, template: &str, parameters: &Parameters) -> Result<()> {
    let timer = context.listener.start(format!("create stack {}", context.stack));
    let (change, stack) = match prepare_creation(context, cloud, template, parameters).await {
        Ok(prepared) => prepared,
        Err(error) => return Err(explain_creation(context, cloud, error).await),
    };
    let begin = async {
        match change.execute(cloud, &stack.name).await {
            Err(error) => Err(explain_creation(context, cloud, error.into()).await),
            Ok(()) => Ok(()),
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
        return Err(Error::failed("CloudFormation found nothing to create in the template"));
    };
    let stack = DeployedStack::require(cloud, &context.stack).await?;
    if !stack.state.is_in_review() {
        return Err(Error::failed(format!("stack {} is in {}", stack.name, stack.state)));
    }
    Ok((change, stack))
}

/// A creation that could not start because another command is creating the stack.
async fn explain_creation(context: &Context, cloud: &Cloud, error: Error) -> Error {
    match DeployedStack::find(cloud, &context.stack).await {
        Ok(Some(stack)) if !stack.state.is_in_review() => {
            let explained = Error::refused(format!("another command is creating stack {}", context.stack));
            let explained = explained.because(format!("it is in {}", stack.state)).because(&error);
            explained.hint("run the command again to follow the creation and complete the deployment")
        }
        _ => error,
    }
}
