//! The deletion of a stack: empties the bucket, deletes the stack, and checks that nothing remains.

mod bucket;
mod leftovers;
mod outside;

use std::collections::BTreeMap;

use aws::Calling as _;
use deploy::{Cloud, DeployedStack, Traffic, follow_deletion, ownership, settle};
use model::color::Color;
use model::stack_state::{ResourceState, StackState};
use stack::parameter;
use stack::storage::BUCKET;

use crate::context::Context;
use crate::error::{Error, Result};
use leftovers::Resource;

/// Something may write to the bucket between its emptying and its deletion; then both are tried again.
const ATTEMPTS: u32 = 3;

/// What is about to be destroyed, for the question before.
#[derive(Clone, Debug)]
pub struct Target {
    /// The stack.
    pub stack: DeployedStack,
    /// What users of prod would lose, if the stack got that far.
    pub prod_url: Option<String>,
    /// Which environment is live.
    pub traffic: Option<Traffic>,
    /// How many resources of which type there are.
    pub contents: BTreeMap<String, usize>,
    /// Whether it serves users of prod.
    pub serves: bool,
}

/// The confirmation of the deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Confirmed without the name.
    Yes,
    /// The name of the stack: what a stack needs that serves users or is protected.
    Named,
}

impl Target {
    /// Whether its name has to be given before it is deleted: it serves users, or is protected.
    pub const fn needs_name(&self) -> bool {
        self.serves || self.stack.protected
    }

    /// What will be lost, in lines.
    pub fn question(&self) -> String {
        let mut text = format!("This deletes stack {} ({}) with everything in it", self.stack.name, self.stack.state);
        let reported = [
            ("AWS::ElasticLoadBalancingV2::LoadBalancer", "its load balancer"),
            ("AWS::ECS::Service", "its services"),
            ("AWS::ECR::Repository", "every image in its registry"),
            ("AWS::S3::Bucket", "its bucket with the ledger"),
            ("AWS::Logs::LogGroup", "its logs"),
        ];
        let there: Vec<&str> =
            reported.iter().filter(|(kind, _)| self.contents.contains_key(*kind)).map(|(_, words)| *words).collect();
        let count: usize = self.contents.values().sum();
        if !there.is_empty() {
            text.push_str(&format!(": {} ({count} resources)", there.join(", ")));
        }
        text.push('.');
        let live = self.traffic.as_ref().and_then(|traffic| traffic.prod.route());
        if let (Some(url), Some(live), true) = (&self.prod_url, live, self.serves) {
            text.push_str(&format!("\n{live} serves users of {url}. They will get no response."));
        }
        if self.stack.protected {
            text.push_str("\nIts termination protection will be switched off.");
        }
        text
    }
}

/// Reads what there is to destroy; `None` if there is nothing.
pub async fn target(context: &Context) -> Result<Option<Target>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let Some(stack) = DeployedStack::find(&cloud, &context.stack).await? else { return Ok(None) };
    if stack.state.is_deleted() {
        return Ok(None);
    }
    let outputs = stack.outputs().ok();
    let prod_url = outputs.as_ref().map(|outputs| cloud.connect_to.display_url(&outputs.prod_url));
    let traffic = traffic(&cloud, &stack).await;
    let serves = serves(&stack, traffic.as_ref());
    let mut contents = BTreeMap::new();
    for resource in resources(&cloud, &stack).await? {
        *contents.entry(resource.kind).or_default() += 1;
    }
    Ok(Some(Target { stack, prod_url, traffic, contents, serves }))
}

/// Which environment is live, if that can be seen. A partly deleted stack has outputs but no listeners.
async fn traffic(cloud: &Cloud, stack: &DeployedStack) -> Option<Traffic> {
    cloud.traffic(&stack.name, &stack.outputs().ok()?).await.ok()
}

/// Whether it serves users: prod points at an environment that has an image. If the rules cannot be read, one with an
/// image counts, unless the deletion of the stack has started.
fn serves(stack: &DeployedStack, traffic: Option<&Traffic>) -> bool {
    let deployed = |color| !stack.parameter(parameter::image(color)).is_empty();
    match traffic {
        Some(traffic) => Color::ALL.into_iter().any(|color| traffic.role(color).serves_prod() && deployed(color)),
        None => !stack.state.is_being_deleted() && Color::ALL.into_iter().any(deployed),
    }
}

/// Destroys the stack and everything in it.
///
/// Of a stack whose deletion failed before, the resources named by `retain` are left behind.
pub async fn destroy(context: &Context, retain: &[String], consent: Consent) -> Result<()> {
    let cloud = Cloud::connect(&context.settings).await?;
    let Some(stack) = DeployedStack::find(&cloud, &context.stack).await? else { return Ok(()) };
    let Some(stack) = settle(&cloud, stack, &*context.listener).await? else { return Ok(()) };
    if !retain.is_empty() && stack.state != StackState::DeleteFailed {
        return Err(Error::usage(format!("cannot retain resources: stack {} is in {}", stack.name, stack.state))
            .hint("remove --retain, which is for a stack in DELETE_FAILED"));
    }
    if let Ok(bucket) = stack.bucket()
        && bucket::exists(&cloud, bucket).await?
    {
        // Not during a cutover.
        context.take_lease(&cloud, bucket).await?;
    }
    let result = delete_as_agreed(context, &cloud, &stack, retain, consent).await;
    // If it failed, it can be run again immediately. The first error is the one that matters.
    let unlocked = context.release_lease().await;
    result?;
    unlocked
}

/// Deletes the stack, if what it is under the lease is what was agreed to.
async fn delete_as_agreed(
    context: &Context,
    cloud: &Cloud,
    stack: &DeployedStack,
    retain: &[String],
    consent: Consent,
) -> Result<()> {
    if consent == Consent::Yes {
        let serves = serves(stack, traffic(cloud, stack).await.as_ref());
        let why = if stack.protected { "it has termination protection" } else { "it serves users" };
        if stack.protected || serves {
            return Err(Error::refused(format!("deleting stack {} needs its name as confirmation", stack.name))
                .because(why)
                .hint(format!("if this is intended, run bluegreen destroy --confirm {}", stack.name)));
        }
    }
    stack.unprotect(cloud).await?;
    delete(context, cloud, stack, retain).await
}

/// Empties the stack's bucket and deletes the stack.
pub(crate) async fn delete(context: &Context, cloud: &Cloud, stack: &DeployedStack, retain: &[String]) -> Result<()> {
    let timer = context.listener.start(format!("delete stack {}", stack.name));
    let before = resources(cloud, stack).await?;
    let kept = kept(cloud, stack, &before, retain).await?;
    let bucket = before.iter().find(|resource| resource.id == BUCKET && !kept.contains(resource));
    let mut attempt = 1;
    loop {
        if let Some(bucket) = bucket {
            ownership::check_bucket(cloud, stack, &bucket.name).await?;
            bucket::empty(context, cloud, &bucket.name).await?;
        }
        match delete_stack(context, cloud, stack, retain).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS || bucket.is_none() => return Err(error),
            Err(error) => context.listener.warn(format!("{error}; trying again")),
        }
        attempt += 1;
    }
    if let Some(left) = DeployedStack::find(cloud, &stack.name).await?.filter(|left| !left.state.is_deleted()) {
        return Err(Error::failed(format!("stack {} was not deleted: it is in {}", left.name, left.state))
            .hint("run bluegreen destroy again"));
    }
    let gone: Vec<Resource> = before.iter().filter(|resource| !kept.contains(resource)).cloned().collect();
    require_gone(context, cloud, stack, &gone).await?;
    let mut stays: Vec<String> = kept.iter().map(Resource::to_string).collect();
    stays.extend(outside::clean(context, cloud, &gone).await);
    let detail = if stays.is_empty() { "nothing is left".to_owned() } else { format!("kept: {}", stays.join(", ")) };
    timer.finish(&*context.listener, detail);
    Ok(())
}

/// What is kept: the named resources, and those that the template retains.
async fn kept(cloud: &Cloud, stack: &DeployedStack, all: &[Resource], named: &[String]) -> Result<Vec<Resource>> {
    let template = stack.template(cloud).await?;
    let stays = |id: &String| named.contains(id) || template["Resources"][id]["DeletionPolicy"] == "Retain";
    Ok(all.iter().filter(|resource| stays(&resource.id)).cloned().collect())
}

/// An error if any resource of a deleted stack remains.
async fn require_gone(context: &Context, cloud: &Cloud, stack: &DeployedStack, gone: &[Resource]) -> Result<()> {
    let found = leftovers::look(cloud, gone).await;
    for unknown in found.unknown {
        context.listener.warn(format!("cannot verify the deletion of {unknown}"));
    }
    if found.left.is_empty() {
        return Ok(());
    }
    let error = Error::failed(format!("stack {} was deleted, but these resources remain", stack.name));
    let error = found.left.iter().fold(error, Error::because);
    Err(found.left.iter().fold(error, |error, it| error.hint(format!("delete it: {}", it.removal()))))
}

/// Deletes the stack, once.
async fn delete_stack(context: &Context, cloud: &Cloud, stack: &DeployedStack, retain: &[String]) -> Result<()> {
    let begin = async {
        let call = cloud.cloudformation.delete_stack().stack_name(&stack.id);
        retain
            .iter()
            .fold(call, |call, id| call.retain_resources(id))
            .send()
            .await
            .calling(|| format!("delete stack {}", stack.name))?;
        Ok(())
    };
    let resources = resources(cloud, stack).await?.into_iter().map(|it| (it.id, it.kind)).collect();
    let operation = context.operation(cloud, stack, &resources);
    follow_deletion(operation, begin).await
}

/// What is there of the stack.
async fn resources(cloud: &Cloud, stack: &DeployedStack) -> Result<Vec<Resource>> {
    let all = stack.resources(cloud).await?;
    let there = all
        .iter()
        .filter(|it| !it.resource_status().is_some_and(|status| ResourceState::new(status.as_str()).is_deleted()));
    let named = there.filter_map(|it| {
        Some(Resource {
            id: it.logical_resource_id()?.to_owned(),
            kind: it.resource_type().unwrap_or_default().to_owned(),
            name: it.physical_resource_id().unwrap_or_default().to_owned(),
        })
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use model::listener::ListenerState;
    use model::route::Route;

    use super::*;

    fn stack(state: StackState, image: &str) -> DeployedStack {
        let mut stack = DeployedStack::in_state("s", state);
        stack.parameters.insert(parameter::image(Color::Green).to_owned(), image.to_owned());
        stack
    }

    #[test]
    fn a_stack_serves_if_prod_goes_to_an_environment_with_an_image() {
        let traffic = |prod| Traffic { prod, dev: ListenerState::Absent, by_rules: true };
        let at = |color| traffic(ListenerState::At(Route::All(color)));
        let deployed = stack(StackState::UpdateComplete, "r@sha256:1");
        assert!(serves(&deployed, Some(&at(Color::Green))));
        assert!(!serves(&deployed, Some(&at(Color::Blue))));
        assert!(!serves(&deployed, Some(&traffic(ListenerState::Absent))));
        assert!(!serves(&stack(StackState::CreateComplete, ""), Some(&at(Color::Green))));
    }

    #[test]
    fn traffic_that_cannot_be_seen_counts_unless_the_deletion_has_begun() {
        assert!(serves(&stack(StackState::UpdateComplete, "r@sha256:1"), None));
        assert!(!serves(&stack(StackState::DeleteFailed, "r@sha256:1"), None));
        assert!(!serves(&stack(StackState::RollbackComplete, ""), None));
    }
}
