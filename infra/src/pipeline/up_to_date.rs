//! Whether a deployment has anything to do: everything that it needs is read concurrently, without the lease. If the
//! least thing is not as wanted, the deployment takes its usual way.

use deploy::{Cloud, DeployedStack, Expected, Sites, observe};
use model::color::Color;
use stack::outputs::Outputs;
use stack::parameter;

use super::observe::Observed;
use super::spec::{Spec, waiting};
use super::{Deployed, Job, verify};
use crate::artifacts::{is_pushed, is_uploaded};
use crate::error::{Error, Result};

/// The stack as it was at a moment.
pub(super) struct Found {
    pub(super) observed: Observed,
    /// Nobody held the lease.
    free: bool,
    /// Every environment ran what the stack defines.
    well: bool,
}

/// Looks; nothing if something has to be done about the stack first.
pub(super) async fn look(job: Job<'_>) -> Result<Option<Found>> {
    let Job { context, cloud, request } = job;
    let stack = DeployedStack::find(cloud, &context.stack).await?;
    let Some(stack) = stack.filter(|stack| stack.state.is_settled() && request.skip.is_empty()) else {
        return Ok(None);
    };
    let Ok(outputs) = stack.outputs() else { return Ok(None) };
    let free = async {
        let free = cloud.ledger(&outputs.bucket).is_free().await;
        free.map_err(|error| Error::failed("cannot read the lease").because(error))
    };
    let (observed, free, blue, green) = tokio::try_join!(
        Observed::look(cloud, stack.clone()),
        free,
        is_well(cloud, &stack, &outputs, Color::Blue),
        is_well(cloud, &stack, &outputs, Color::Green),
    )?;
    Ok(Some(Found { observed, free, well: blue && green }))
}

async fn is_well(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs, color: Color) -> Result<bool> {
    let image = stack.parameter(parameter::image(color)).to_owned();
    Ok(image.is_empty() || observe(cloud, outputs, &Expected { color, image }).await?.fault.is_none())
}

impl Found {
    /// What is deployed, if that is the desired state; `None` if there is something to do.
    pub(super) async fn unchanged(&self, job: Job<'_>, spec: &Spec) -> Result<Option<Deployed>> {
        let Job { context, cloud, request } = job;
        let Self { observed, free, well } = self;
        let live = observed.traffic.prod_color();
        if live.is_none() || !(*free && *well && observed.traffic.by_rules) {
            return Ok(None);
        }
        let outputs = &observed.outputs;
        let outcome = spec.expected_outcome(&context.settings, observed)?;
        if !outcome.is_there(observed) {
            return Ok(None);
        }
        let releases = &outcome.releases;
        let uploaded = async {
            match &spec.function {
                Some(function) => is_uploaded(cloud, outputs, function).await,
                None => Ok(true),
            }
        };
        let pushed = async {
            match &spec.app {
                Some(app) => is_pushed(cloud, outputs, app).await,
                None => Ok(true),
            }
        };
        let answers = async {
            let sites = Sites::of(cloud, outputs, &context.settings).await;
            let answer = |color| verify::answer(context, &sites, live, color, releases.after.of(color).as_ref());
            tokio::try_join!(answer(Color::Blue), answer(Color::Green))
        };
        let (there, answers) = tokio::join!(async { tokio::try_join!(uploaded, pushed) }, answers);
        if there? != (true, true) {
            return Ok(None);
        }
        let (blue, green) = answers.map_err(verify::nothing_to_roll_back)?;
        let listener = &*context.listener;
        listener.start(format!("update stack {}", context.stack)).finish(listener, "nothing to change");
        for (color, detail) in Color::ALL.into_iter().zip([blue, green]) {
            if let Some(detail) = detail {
                listener.start(format!("wait for {color}")).finish(listener, detail);
            }
        }
        if request.version.is_none() {
            verify::protect(job, observed).await?;
        }
        if let Some(waiting) = waiting(context, observed, spec) {
            listener.note(waiting.to_string());
        }
        Ok(Some(Deployed::of(cloud, outputs, observed.traffic.clone(), releases)))
    }
}
