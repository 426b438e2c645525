//! `bluegreen status`: who is prod, who is dev, what runs there and how well, and the last runs.

use cutover_lambda::Record;
use cutover_lambda::color::Color;
use cutover_lambda::ledger::{LeaseInfo, S3Ledger};
use serde::Serialize;

use super::{Context, history};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{Expected, observe};
use crate::error::{Error, Result};
use crate::requests::{Meter, Requests};
use crate::stack::outputs::Outputs;
use crate::stack::parameter;

/// Runs shown.
const RUNS: usize = 5;

/// What to do where both listeners do what a cutover made them do.
pub const SWAPPED: &str = "nothing: a cutover does that, and the next deployment tells the stack";

/// Everything that status shows. Stable: fields are added, never changed.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The stack's name.
    pub stack: String,
    /// The region.
    pub region: String,
    /// The stack's status in CloudFormation's words.
    pub state: String,
    /// What users see, as it can be opened from here.
    pub prod_url: String,
    /// Where the next version is tried, as it can be opened from here.
    pub dev_url: String,
    /// The environments, blue first.
    pub environments: Vec<Environment>,
    /// Where the listeners do something else than the stack's parameters say.
    pub drift: Vec<Drift>,
    /// Why the requests are not known; null where they are.
    pub requests_unknown: Option<String>,
    /// What is not as it should be.
    pub warnings: Vec<String>,
    /// Who changes the stack or its traffic at the moment.
    pub lock: Option<LeaseInfo>,
    /// The last runs, the newest first.
    pub runs: Vec<Record>,
}

/// One environment.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Which.
    pub color: Color,
    /// `prod`, `dev`, `prod+dev` or `no traffic`.
    pub role: &'static str,
    /// The version label; empty where nothing is deployed.
    pub version: String,
    /// The image by digest; empty where nothing is deployed.
    pub image: String,
    /// Tasks that run.
    pub running: i32,
    /// Tasks that should.
    pub desired: i32,
    /// Targets that the load balancer finds healthy.
    pub healthy: usize,
    /// Whether its tasks were ended because nobody needs them: a deployment, a cutover or a rollback starts them again.
    pub asleep: bool,
    /// What is not as the stack says, in words.
    pub fault: Option<String>,
    /// Its requests in the last minutes; null where they are not known.
    pub requests: Option<Requests>,
}

/// A listener that does something else than the stack's parameters say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `prod` or `dev`.
    pub listener: &'static str,
    /// The environment it forwards to; null where it is not one of the stack's, or both.
    pub forwards_to: Option<Color>,
    /// The environment that the parameter `ProdColor` means.
    pub stack_says: Color,
    /// What to do about it.
    pub todo: &'static str,
}

impl Drift {
    /// Whether it is what a cutover leaves behind by design.
    pub fn is_of_a_cutover(&self) -> bool {
        self.todo == SWAPPED
    }
}

/// Reads the status. Who reads it again and again keeps the meter.
pub async fn run(context: &Context, meter: &mut Meter) -> Result<Status> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    let outputs = stack.outputs()?;
    let traffic = cloud.traffic(&outputs).await?;
    let (mut blue, mut green, runs, lock, reading) = tokio::try_join!(
        environment(context, &cloud, &stack, &outputs, traffic, Color::Blue),
        environment(context, &cloud, &stack, &outputs, traffic, Color::Green),
        history::read(&cloud, &outputs, RUNS),
        lock(&cloud, &outputs),
        async { Ok(meter.read(&cloud, &outputs).await) },
    )?;
    let requests_unknown = match reading {
        Ok(requests) => {
            (blue.requests, green.requests) = (Some(requests.blue), Some(requests.green));
            None
        }
        Err(why) => Some(why),
    };
    Ok(Status {
        prod_url: cloud.connect_to.display_url(&outputs.prod_url),
        dev_url: cloud.connect_to.display_url(&outputs.dev_url),
        region: cloud.region().to_owned(),
        state: stack.status.clone(),
        drift: drift(stack.parameter(parameter::PROD_COLOR), traffic),
        warnings: warnings(&stack, traffic, &runs, lock.as_ref()),
        environments: vec![blue, green],
        requests_unknown,
        lock,
        runs,
        stack: stack.name,
    })
}

async fn environment(
    context: &Context,
    cloud: &Cloud,
    stack: &DeployedStack,
    outputs: &Outputs,
    traffic: Traffic,
    color: Color,
) -> Result<Environment> {
    let image = stack.parameter(parameter::image(color)).to_owned();
    let observed = observe(cloud, outputs, &Expected { color, image: image.clone() }).await?;
    let may_sleep = context.settings.idle_sleeps() && traffic.prod != Some(color);
    let asleep = may_sleep && observed.asleep;
    Ok(Environment {
        color,
        asleep,
        role: traffic.role(color),
        version: stack.parameter(parameter::version(color)).to_owned(),
        image,
        running: observed.running,
        desired: observed.desired,
        healthy: observed.healthy,
        fault: observed.fault.filter(|_| !asleep),
        requests: None,
    })
}

async fn lock(cloud: &Cloud, outputs: &Outputs) -> Result<Option<LeaseInfo>> {
    S3Ledger::in_bucket(&cloud.config, &outputs.bucket)
        .holder()
        .await
        .map_err(|error| Error::failed("cannot read the lock").because(error))
}

/// After a cutover both listeners have drifted by design; anything else was somebody's hand, or is half a cutover.
fn drift(prod_color: &str, traffic: Traffic) -> Vec<Drift> {
    let Ok(told) = prod_color.parse::<Color>() else { return Vec::new() };
    let swapped = (traffic.prod, traffic.dev) == (Some(told.other()), Some(told));
    let drifted = |listener, forwards_to: Option<Color>, stack_says: Color| {
        let todo = match forwards_to {
            _ if swapped => SWAPPED,
            Some(_) => "bluegreen reconcile puts prod and dev in order",
            None => "set its default action to the blue or the green target group; a split bluegreen reconcile ends",
        };
        (forwards_to != Some(stack_says)).then_some(Drift { listener, forwards_to, stack_says, todo })
    };
    let both = [drifted("prod", traffic.prod, told), drifted("dev", traffic.dev, told.other())];
    both.into_iter().flatten().collect()
}

fn warnings(stack: &DeployedStack, traffic: Traffic, runs: &[Record], lock: Option<&LeaseInfo>) -> Vec<String> {
    let mut warnings = Vec::new();
    match (traffic.prod, traffic.dev) {
        (None, _) => warnings.push("prod does not forward to one of this stack's environments".to_owned()),
        (_, None) => warnings.push("dev does not forward to one of this stack's environments".to_owned()),
        (Some(prod), Some(dev)) if prod == dev => {
            warnings.push(format!("prod and dev both forward to {prod}: bluegreen reconcile puts them in order"));
        }
        _ => {}
    }
    if !stack.status.ends_with("_COMPLETE") {
        let reason = stack.reason.as_deref().unwrap_or("no reason given");
        warnings.push(format!("stack {} is in {}: {reason}", stack.name, stack.status));
    }
    if lock.is_none() && runs.first().is_some_and(|run| !run.is_final()) {
        warnings.push("the last run was interrupted: bluegreen reconcile puts the listeners in order".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prod: Option<Color>, dev: Option<Color>) -> Vec<(&'static str, &'static str)> {
        drift("green", Traffic { prod, dev }).into_iter().map(|it| (it.listener, it.todo)).collect()
    }

    #[test]
    fn listeners_that_do_what_the_stack_says_have_not_drifted() {
        assert_eq!(found(Some(Color::Green), Some(Color::Blue)), []);
        assert_eq!(drift("", Traffic { prod: None, dev: None }), [], "a stack of somebody else's");
    }

    #[test]
    fn after_a_cutover_there_is_nothing_to_do() {
        let swapped = found(Some(Color::Blue), Some(Color::Green));
        assert_eq!(swapped.len(), 2);
        assert!(swapped.iter().all(|(_, todo)| todo.starts_with("nothing")), "{swapped:?}");
    }

    #[test]
    fn half_a_swap_and_a_strange_target_are_put_in_order() {
        let half = found(Some(Color::Green), Some(Color::Green));
        assert!(matches!(half[..], [("dev", todo)] if todo.contains("reconcile")), "{half:?}");
        let strange = found(None, Some(Color::Blue));
        assert!(matches!(strange[..], [("prod", todo)] if todo.contains("default action")), "{strange:?}");
    }
}
