//! `bluegreen doctor`: checks the prerequisites of a deployment or cutover, and suggests fixes.

mod quotas;
mod text;

use std::process::Stdio;

use aws_credential_types::provider::ProvideCredentials as _;
use ledger::Holder;
use model::color::Color;
use model::listener::ListenerState;
use model::stack_state::StackState;
use serde::Serialize;

use crate::build::{FunctionSource, Workspace};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::status::unresolved;
use crate::synthesis;
use aws::Calling as _;
use cfn_kit::limits::{BUCKET_LIMIT, CALL_LIMIT};
use deploy::template::{Given, fits_into_a_call};
use deploy::{Cloud, DeployedStack, Traffic};
use deploy::{Expected, observe};
use stack::outputs::Outputs;
use stack::parameter;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Good,
    /// A warning; nothing fails because of it.
    Warning,
    /// A deployment or cutover would fail because of it.
    Bad,
    /// It could not be checked, which is not an error.
    Unknown,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// How it came out.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Check {
    fn new(what: &'static str, health: Health, found: impl Into<String>) -> Self {
        Self { what, health, found: found.into(), todo: None }
    }

    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Health::Good, found)
    }

    fn bad(what: &'static str, error: &Error) -> Self {
        let because = error.causes().first().map_or_else(String::new, |cause| format!(": {cause}"));
        let todo = error.hints().first().cloned();
        Self { todo, ..Self::new(what, Health::Bad, format!("{}{because}", error.message())) }
    }

    fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}

/// The arguments of `doctor`: none.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Runs all checks and prints their results; an error if a deployment or cutover would fail.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let checks = Box::pin(check(&session.context)).await;
        session.show(&checks, |checks, style| text::render(checks, style))?;
        verdict(&checks).map_or(Ok(()), Err)
    }
}

/// Looks at everything.
async fn check(context: &Context) -> Vec<Check> {
    let mut checks = tools(context).await;
    let cloud = match Cloud::connect(&context.settings).await {
        Ok(cloud) => cloud,
        Err(error) => {
            checks.push(Check::bad("AWS", &error.into()));
            return checks;
        }
    };
    checks.push(Check::good("region", cloud.region()));
    checks.push(credentials(&cloud).await);
    let stack = match DeployedStack::find(&cloud, &context.stack).await {
        Ok(stack) => stack.filter(|stack| !stack.state.is_deleted()),
        Err(error) => {
            checks.push(Check::bad("CloudFormation", &error.into()));
            return checks;
        }
    };
    checks.push(template(context, &cloud, stack.as_ref()).await);
    checks.extend(quotas::run(&context.settings, &cloud, stack.is_none()).await);
    match stack {
        None => checks.push(
            Check::new("stack", Health::Unknown, format!("{} does not exist", context.stack)).todo("bluegreen deploy"),
        ),
        Some(stack) => {
            checks.push(state(&stack));
            match stack.outputs() {
                Ok(outputs) => checks.extend(Box::pin(running(&cloud, &stack, &outputs)).await),
                Err(error) => checks.push(Check::bad("outputs", &error.into())),
            }
        }
    }
    checks
}

/// An error with the failed checks, if any.
fn verdict(checks: &[Check]) -> Option<Error> {
    let bad: Vec<&str> = checks.iter().filter(|check| check.health == Health::Bad).map(|check| check.what).collect();
    (!bad.is_empty()).then(|| Error::failed(format!("checks failed: {}", bad.join(", "))))
}

async fn tools(context: &Context) -> Vec<Check> {
    const FUNCTION: &str = "cutover function";
    let workspace = match Workspace::find(&context.settings.app) {
        Ok(workspace) => workspace,
        Err(error) => return vec![Check::bad("project", &error)],
    };
    let check = |what, found: Option<String>, todo: &str| match found {
        Some(found) => Check::good(what, found),
        None => Check::new(what, Health::Bad, "cannot be started").todo(todo),
    };
    let source = workspace.function_source();
    let builds_function = matches!(source, FunctionSource::Project(_));
    let mut checks = Vec::new();
    if builds_function || workspace.builds_service() {
        checks.push(check("cargo", version(&workspace, &["--version"]).await, "install Rust from rustup.rs"));
    }
    checks.push(match source {
        FunctionSource::Project(_) => {
            let lambda = version(&workspace, &["lambda", "--version"]).await;
            check("cargo-lambda", lambda, "install it into .venv with make setup")
        }
        FunctionSource::Ready { from, .. } => {
            match source.zip(crate::build::image_architecture(context.settings.app.architecture)).await {
                Ok(_) => Check::good(FUNCTION, from),
                Err(error) => Check::bad(FUNCTION, &error),
            }
        }
    });
    checks
}

async fn version(workspace: &Workspace, arguments: &[&str]) -> Option<String> {
    let mut command = workspace.cargo();
    let output = command.args(arguments).stdin(Stdio::null()).output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

async fn credentials(cloud: &Cloud) -> Check {
    const WHAT: &str = "credentials";
    let Some(provider) = cloud.config.credentials_provider() else {
        return Check::new(WHAT, Health::Bad, "none are configured")
            .todo("set AWS_PROFILE or log in with aws sso login");
    };
    match provider.provide_credentials().await {
        Ok(credentials) => {
            let left = credentials.expiry().and_then(|expiry| expiry.duration_since(std::time::SystemTime::now()).ok());
            match left {
                Some(left) if left.as_secs() < 15 * 60 => {
                    Check::new(WHAT, Health::Warning, format!("expire in {} min", left.as_secs() / 60))
                        .todo("log in again before a long deployment (for example aws sso login)")
                }
                Some(left) => Check::good(WHAT, format!("valid for {} min", left.as_secs() / 60)),
                None => Check::good(WHAT, "found"),
            }
        }
        Err(error) => Check::new(WHAT, Health::Bad, error.to_string())
            .todo("set AWS_PROFILE, log in with aws sso login, or use the local cloud (local-cloud exec; with make, CLOUD=local)"),
    }
}

async fn template(context: &Context, cloud: &Cloud, stack: Option<&DeployedStack>) -> Check {
    const WHAT: &str = "template";
    let bucket = stack.and_then(|stack| stack.bucket().ok());
    validate(context, cloud, bucket).await.map_or_else(|error| Check::bad(WHAT, &error), |it| Check::good(WHAT, it))
}

/// Validates the template with CloudFormation, and describes the result.
async fn validate(context: &Context, cloud: &Cloud, bucket: Option<&str>) -> Result<String> {
    let text = synthesis::compact(&context.settings)?;
    let size = text.len();
    let fits = fits_into_a_call(&text);
    let (given, said) = match bucket {
        _ if fits => (Given::Body(text), format!("valid, {size} bytes of {CALL_LIMIT}")),
        Some(bucket) => {
            let given = Given::of(cloud, bucket, &text).await?;
            (given, format!("valid, {size} bytes of {BUCKET_LIMIT}, uploaded to the bucket of the stack"))
        }
        None => {
            let beginning = Given::Body(synthesis::beginning(&context.settings)?);
            (beginning, format!("{size} bytes of {BUCKET_LIMIT}; validated only the part that creates the bucket"))
        }
    };
    let call = cloud.cloudformation.validate_template();
    let call = match given {
        Given::Body(body) => call.template_body(body),
        Given::Url(url) => call.template_url(url),
    };
    call.send().await.calling(|| "validate the template".to_owned())?;
    Ok(said)
}

/// The stack's state, and the way on from it.
fn state(stack: &DeployedStack) -> Check {
    let found = match &stack.reason {
        Some(reason) if !reason.is_empty() => format!("{}: {reason}", stack.state),
        _ => stack.state.to_string(),
    };
    let check = |health| Check::new("stack", health, found.clone());
    match &stack.state {
        StackState::CreateComplete | StackState::UpdateComplete => check(Health::Good),
        StackState::UpdateRollbackComplete => {
            check(Health::Warning).todo("fix the cause of the rolled-back update, and run bluegreen deploy again")
        }
        StackState::ReviewInProgress => {
            check(Health::Warning).todo("create it, because only a change set exists: bluegreen deploy")
        }
        state if state.has_failed_creation() => {
            check(Health::Bad).todo("delete it and create it again: bluegreen deploy")
        }
        StackState::UpdateRollbackFailed => check(Health::Bad)
            .todo("continue the rollback with bluegreen deploy; skip a resource with bluegreen deploy --skip ID"),
        StackState::DeleteFailed => check(Health::Bad)
            .todo("run bluegreen destroy again to see the cause; keep a resource with bluegreen destroy --retain ID"),
        state if state.is_in_progress() => {
            check(Health::Warning).todo("wait for the operation in progress: bluegreen deploy follows it")
        }
        _ => check(Health::Bad),
    }
}

/// Lease, listeners and environments.
async fn running(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs) -> Vec<Check> {
    let ledger = cloud.ledger(&outputs.bucket);
    let (holder, traffic, last_run, blue, green) = tokio::join!(
        ledger.holder(),
        cloud.traffic(&stack.name, outputs),
        last_run(cloud, stack, outputs),
        environment(cloud, stack, outputs, Color::Blue),
        environment(cloud, stack, outputs, Color::Green)
    );
    let under_way = matches!(&holder, Ok(Some(_)));
    let listeners = match traffic {
        Ok(traffic) => listeners(&traffic, under_way),
        Err(error) => Check::bad(LISTENERS, &error.into()),
    };
    vec![
        lease(holder.map_err(|error| Error::failed("cannot read the lease").because(error))),
        listeners,
        last_run,
        blue,
        green,
    ]
}

fn lease(holder: Result<Option<Holder>>) -> Check {
    const WHAT: &str = "lease";
    match holder {
        Ok(None) => Check::good(WHAT, "free"),
        Ok(Some(holder)) => {
            Check::new(WHAT, Health::Warning, format!("held by a {} since {}", holder.info.purpose, holder.info.since))
                .todo("wait for it to end, or pass --wait to bluegreen deploy")
        }
        Err(error) => Check::bad(WHAT, &error),
    }
}

/// The last failed run that no later run has resolved.
async fn last_run(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs) -> Check {
    const WHAT: &str = "last run";
    match Box::pin(unresolved(cloud, stack, outputs)).await {
        Ok(None) => Check::good(WHAT, "no unresolved failure"),
        Ok(Some(it)) => Check::new(WHAT, Health::Bad, format!("{} {}", it.message, it.now)).todo(it.todo),
        Err(error) => Check::bad(WHAT, &error),
    }
}

const LISTENERS: &str = "listeners";

/// The targets of the listeners. A run in progress may split prod.
fn listeners(traffic: &Traffic, under_way: bool) -> Check {
    const WHAT: &str = LISTENERS;
    let bad = |found: String, todo: &'static str| Check::new(WHAT, Health::Bad, found).todo(todo);
    for (name, state) in [("prod", &traffic.prod), ("dev", &traffic.dev)] {
        match state {
            ListenerState::Absent => {
                return bad(
                    format!("{name} has no rule: nothing was released yet, or the rule was deleted"),
                    "finish the first deployment (bluegreen deploy), or create the rule again (bluegreen reconcile)",
                );
            }
            ListenerState::NotUnderstood(problem) => {
                return bad(format!("{name}: {problem}"), "delete the unexpected rule, and run bluegreen reconcile");
            }
            ListenerState::At(_) => {}
        }
    }
    let (Some(prod), Some(dev)) = (traffic.prod_color(), traffic.dev_color()) else {
        let shares = traffic.prod.route().map_or_else(String::new, |route| route.to_string());
        if under_way {
            return Check::good(WHAT, format!("prod is split into {shares} by a cutover in progress"));
        }
        return Check::new(WHAT, Health::Warning, format!("prod is split, and no cutover is in progress: {shares}"))
            .todo("point prod at one side: bluegreen reconcile");
    };
    if prod == dev && under_way {
        return Check::good(WHAT, format!("prod and dev forward to {prod} during a cutover"));
    }
    if prod == dev {
        return bad(format!("prod and dev both forward to {prod}"), "bluegreen reconcile");
    }
    if !traffic.by_rules {
        return Check::new(WHAT, Health::Warning, "the stack was created by an older version of bluegreen")
            .todo("update the stack, which moves no traffic: bluegreen deploy");
    }
    Check::good(WHAT, format!("prod forwards to {prod}, dev to {dev}"))
}

async fn environment(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs, color: Color) -> Check {
    let what = color.as_str();
    let image = stack.parameter(parameter::image(color)).to_owned();
    if image.is_empty() {
        return Check::new(what, Health::Warning, "nothing is deployed to it").todo("bluegreen deploy");
    }
    let version = stack.parameter(parameter::version(color)).to_owned();
    match observe(cloud, outputs, &Expected { color, image }).await {
        Ok(observed) => match observed.fault {
            None => {
                Check::good(what, format!("v{version}, {} of {} tasks healthy", observed.healthy, observed.desired))
            }
            Some(fault) => Check::new(what, Health::Bad, fault)
                .todo(format!("check bluegreen logs {color}, and deploy a working version")),
        },
        Err(error) => Check::bad(what, &error.into()),
    }
}

#[cfg(test)]
mod tests {
    use model::route::Route;

    use super::*;

    #[test]
    fn every_state_of_a_stack_but_the_good_ones_has_a_way_on() {
        // This command imports no resources, and does not disable rollback.
        let others = |state: &StackState| state.as_str().starts_with("IMPORT") || *state == StackState::UpdateFailed;
        for known in StackState::KNOWN.iter().filter(|state| !others(state) && !state.is_deleted()) {
            let check = state(&DeployedStack::in_state("s", known.clone()));
            let good = matches!(known, StackState::CreateComplete | StackState::UpdateComplete);
            assert_eq!((check.health == Health::Good, check.todo.is_none()), (good, good), "{known}");
        }
    }

    #[test]
    fn a_split_is_what_a_cutover_under_way_does_and_something_to_put_right_without_one() {
        let split = Traffic {
            prod: ListenerState::At(Route::Split { blue: 10 }),
            dev: ListenerState::At(Route::All(Color::Green)),
            by_rules: true,
        };
        let shift = listeners(&split, true);
        assert_eq!((shift.health, shift.todo), (Health::Good, None));
        assert!(shift.found.contains("10 % blue and 90 % green"), "{}", shift.found);
        let left = listeners(&split, false);
        assert_eq!(left.health, Health::Warning);
        assert!(left.todo.is_some_and(|todo| todo.contains("bluegreen reconcile")));
    }

    #[test]
    fn only_what_is_bad_fails() {
        let checks = [Check::new("a", Health::Warning, ""), Check::new("b", Health::Unknown, "")];
        assert!(verdict(&checks).is_none());
        let bad = [Check::new("c", Health::Bad, "")];
        assert!(verdict(&bad).is_some_and(|error| error.message().contains('c')));
    }
}
