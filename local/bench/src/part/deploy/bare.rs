//! The minimum time of a first deployment: the two calls that it needs, and the time of the endpoint for them.

use std::time::{Duration, Instant};

use aws::Calling as _;
use aws_sdk_cloudformation::types::{Capability, Parameter};
use deploy::{Cloud, DeployedStack};
use infra::error::{Error, Result};
use model::Color;
use model::stack_state::StackState;
use stack::parameter;
use stack::storage::code_key;

use super::contender::Content;

/// The name of the stack.
pub(super) const STACK: &str = "bench-bare";
/// The number of tasks of each environment.
const TASKS: usize = 2;
const PATIENCE: Duration = Duration::from_mins(1);
/// The interval between two checks.
const PAUSE: Duration = Duration::from_millis(5);

/// Creates the stack without images, uploads the code, updates the stack with both, and waits until all tasks are
/// healthy. Returns the seconds.
pub(super) async fn deploy(clients: &Cloud, content: &Content<'_>, template: &str) -> Result<f64> {
    let began = Instant::now();
    let create = clients.cloudformation.create_stack().stack_name(STACK).template_body(template);
    let create = create.capabilities(Capability::CapabilityIam);
    create.send().await.calling(|| format!("create stack {STACK}"))?;
    let stack = until(clients, &StackState::CreateComplete, began).await?;
    let outputs = stack.outputs()?;
    let put = clients.s3.put_object().bucket(&outputs.bucket).key(code_key(&content.hash));
    put.body(content.zip.to_vec().into()).send().await.calling(|| "upload the code".to_owned())?;
    let mut update = clients.cloudformation.update_stack().stack_name(STACK).use_previous_template(true);
    for (name, value) in [
        (parameter::CUTOVER_CODE, content.hash.as_str()),
        (parameter::image(Color::Blue), &content.image),
        (parameter::image(Color::Green), &content.image),
        (parameter::version(Color::Blue), "1"),
        (parameter::version(Color::Green), "1"),
    ] {
        update = update.parameters(Parameter::builder().parameter_key(name).parameter_value(value).build());
    }
    let update = update.capabilities(Capability::CapabilityIam);
    update.send().await.calling(|| format!("update stack {STACK}"))?;
    until(clients, &StackState::UpdateComplete, began).await?;
    for color in Color::ALL {
        while healthy(clients, outputs.target_group(color)).await? < TASKS {
            patience(began, "its tasks are not healthy")?;
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn until(clients: &Cloud, state: &StackState, began: Instant) -> Result<DeployedStack> {
    loop {
        let stack = DeployedStack::require(clients, STACK).await?;
        if stack.state == *state {
            return Ok(stack);
        }
        if !stack.in_progress() {
            return Err(Error::failed(format!("stack {STACK} is in {}", stack.state)));
        }
        patience(began, stack.state.as_str())?;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn healthy(clients: &Cloud, group: &str) -> Result<usize> {
    let answer = clients.elbv2.describe_target_health().target_group_arn(group).send().await;
    let answer = answer.calling(|| "read the health of targets".to_owned())?;
    let states = answer.target_health_descriptions().iter().filter_map(|target| target.target_health()?.state());
    Ok(states.filter(|state| state.as_str() == "healthy").count())
}

fn patience(began: Instant, why: &str) -> Result<()> {
    if began.elapsed() < PATIENCE {
        return Ok(());
    }
    Err(Error::failed(format!("stack {STACK} is not ready within {} s", PATIENCE.as_secs())).because(why))
}
