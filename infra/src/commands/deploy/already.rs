//! Whether a deployment has anything to do: all that it would look at is read at once, and without the lock. Where the
//! least thing is not as wanted, the deployment takes its usual way.

use cutover_lambda::color::Color;
use cutover_lambda::ledger::S3Ledger;

use super::super::Context;
use super::super::publish::{is_pushed, is_uploaded};
use super::preview::{self, Releases};
use super::{Deployed, Request, Wanted, update};
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{Expected, Sites, observe};
use crate::error::{Error, Result};
use crate::stack::outputs::Outputs;
use crate::stack::parameter;

/// The stack as it was at a moment.
pub(super) struct Found {
    pub(super) stack: DeployedStack,
    pub(super) traffic: Traffic,
    outputs: Outputs,
    template: serde_json::Value,
    /// Nobody held the lock.
    free: bool,
    /// Every environment ran what the stack says.
    well: bool,
}

/// Looks; nothing where something has to be done about the stack first.
pub(super) async fn look(context: &Context, cloud: &Cloud, request: &Request) -> Result<Option<Found>> {
    let stack = DeployedStack::find(cloud, &context.stack).await?;
    let Some(stack) = stack.filter(|stack| preview::is_done(stack) && request.skip.is_empty()) else { return Ok(None) };
    let Ok(outputs) = stack.outputs() else { return Ok(None) };
    let free = async {
        let free = S3Ledger::in_bucket(&cloud.config, &outputs.bucket).is_free().await;
        free.map_err(|error| Error::failed("cannot read the lock").because(error))
    };
    let (traffic, template, free, blue, green) = tokio::try_join!(
        cloud.traffic(&stack.name, &outputs),
        preview::deployed_template(cloud, &stack),
        free,
        is_well(cloud, &stack, &outputs, Color::Blue),
        is_well(cloud, &stack, &outputs, Color::Green),
    )?;
    Ok(Some(Found { stack, outputs, template, traffic, free, well: blue && green }))
}

async fn is_well(cloud: &Cloud, stack: &DeployedStack, outputs: &Outputs, color: Color) -> Result<bool> {
    let image = stack.parameter(parameter::image(color)).to_owned();
    Ok(image.is_empty() || observe(cloud, outputs, &Expected { color, image }).await?.fault.is_none())
}

impl Found {
    /// What is deployed, where that is what is wanted; nothing where there is something to do.
    pub(super) async fn unchanged(
        &self,
        context: &Context,
        cloud: &Cloud,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Deployed>> {
        let Some(live) = self.traffic.prod_color().filter(|_| self.free && self.well && self.traffic.by_rules) else {
            return Ok(None);
        };
        let Self { stack, outputs, template, traffic, .. } = self;
        let release = wanted.app.as_ref().map(|app| app.release(&outputs.registry_uri));
        let releases = Releases::new(stack, wanted, release.as_ref());
        let deployed = preview::Deployed { stack, template, live };
        if !deployed.is(wanted.template, &preview::parameters(&wanted.function.hash, &releases.after)) {
            return Ok(None);
        }
        let there = async {
            let pushed = async {
                match &wanted.app {
                    Some(app) => is_pushed(cloud, outputs, app).await,
                    None => Ok(true),
                }
            };
            tokio::try_join!(is_uploaded(cloud, outputs, &wanted.function), pushed)
        };
        let answers = async {
            let sites = Sites::of(cloud, outputs, &context.settings).await;
            let answer = |color| update::answer(context, &sites, live, color, releases.after.of(color).as_ref());
            tokio::try_join!(answer(Color::Blue), answer(Color::Green))
        };
        let (there, answers) = tokio::join!(there, answers);
        if there? != (true, true) {
            return Ok(None);
        }
        let (blue, green) = answers.map_err(update::nothing_to_take_back)?;
        let listener = &*context.listener;
        listener.start(format!("update stack {}", context.stack)).finish(listener, "nothing to change");
        for (color, detail) in Color::ALL.into_iter().zip([blue, green]) {
            if let Some(detail) = detail {
                listener.start(format!("wait for {color}")).finish(listener, detail);
            }
        }
        Ok(Some(Deployed::of(cloud, outputs, traffic.clone(), &releases)))
    }
}
