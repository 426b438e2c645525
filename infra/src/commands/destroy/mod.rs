//! `bluegreen destroy`: empties the bucket and the registry, deletes the stack, and looks whether anything is left.

mod left;

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::Context;
use super::deploy::deployed_template;
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{follow_deletion, settle};
use crate::error::{Calling, Error, Result};
use crate::stack::storage::BUCKET;
use left::Resource;

/// Something may write to the bucket between its emptying and its deletion; then both are tried again.
const ATTEMPTS: u32 = 3;

/// What is about to be destroyed, for the question before.
#[derive(Clone, Debug)]
pub struct Target {
    /// The stack.
    pub stack: DeployedStack,
    /// What users of prod would lose, where the stack got that far.
    pub prod_url: Option<String>,
    /// Which environment is live.
    pub traffic: Option<Traffic>,
    /// How many resources of which type there are.
    pub contents: BTreeMap<String, usize>,
}

impl Target {
    /// What will be lost, in lines.
    pub fn question(&self) -> String {
        let mut text = format!("This deletes stack {} ({}) with everything in it", self.stack.name, self.stack.status);
        let told = [
            ("AWS::ElasticLoadBalancingV2::LoadBalancer", "its load balancer"),
            ("AWS::ECS::Service", "its services"),
            ("AWS::ECR::Repository", "every image in its registry"),
            ("AWS::S3::Bucket", "its bucket with the record of its cutovers"),
            ("AWS::Logs::LogGroup", "its logs"),
        ];
        let there: Vec<&str> =
            told.iter().filter(|(kind, _)| self.contents.contains_key(*kind)).map(|(_, words)| *words).collect();
        let count: usize = self.contents.values().sum();
        if !there.is_empty() {
            text.push_str(&format!(": {} ({count} resources)", there.join(", ")));
        }
        text.push('.');
        let live = self.traffic.as_ref().and_then(Traffic::prod_color);
        if let (Some(url), Some(live)) = (&self.prod_url, live) {
            text.push_str(&format!("\nUsers of {url} are served by {live} now and will get no answer any more."));
        }
        text
    }
}

/// Looks what there is to destroy; `None` where there is nothing.
pub async fn target(context: &Context) -> Result<Option<Target>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let Some(stack) = DeployedStack::find(&cloud, &context.stack).await? else { return Ok(None) };
    if stack.status == "DELETE_COMPLETE" {
        return Ok(None);
    }
    let outputs = stack.outputs().ok();
    let prod_url = outputs.as_ref().map(|outputs| cloud.connect_to.display_url(&outputs.prod_url));
    let traffic = match &outputs {
        // A stack that is half deleted has outputs and no listeners any more.
        Some(outputs) => cloud.traffic(&stack.name, outputs).await.ok(),
        None => None,
    };
    let mut contents = BTreeMap::new();
    for resource in resources(&cloud, &stack).await? {
        *contents.entry(resource.kind).or_default() += 1;
    }
    Ok(Some(Target { stack, prod_url, traffic, contents }))
}

/// Destroys the stack and everything in it.
///
/// Of a stack whose deletion failed before, the resources named by `retain` are left behind.
pub async fn run(context: &Context, retain: &[String]) -> Result<()> {
    let cloud = Cloud::connect(&context.settings).await?;
    let Some(stack) = DeployedStack::find(&cloud, &context.stack).await? else { return Ok(()) };
    let Some(stack) = settle(&cloud, stack, &*context.listener).await? else { return Ok(()) };
    if stack.protected {
        return Err(Error::refused(format!("stack {} is protected against deletion", stack.name))
            .because("somebody has switched termination protection on")
            .hint(format!(
                "where it is to go all the same: aws cloudformation update-termination-protection \
                 --no-enable-termination-protection --stack-name {}",
                stack.name
            )));
    }
    if !retain.is_empty() && stack.status != "DELETE_FAILED" {
        return Err(Error::usage(format!("nothing can be left behind: stack {} is in {}", stack.name, stack.status))
            .hint("--retain is for a stack whose deletion has failed (DELETE_FAILED)"));
    }
    if let Ok(bucket) = stack.bucket()
        && bucket_exists(&cloud, bucket).await?
    {
        // A cutover that is under way is not pulled the floor from under. The lock goes with the bucket.
        context.lock(&cloud, bucket).await?;
    }
    delete(context, &cloud, &stack, retain).await
}

/// Empties the stack's bucket and deletes the stack.
pub(super) async fn delete(context: &Context, cloud: &Cloud, stack: &DeployedStack, retain: &[String]) -> Result<()> {
    let timer = context.listener.start(format!("delete stack {}", stack.name));
    let before = resources(cloud, stack).await?;
    let bucket = before.iter().find(|resource| resource.id == BUCKET).map(|resource| resource.name.clone());
    let kept = kept(cloud, stack, &before, retain).await?;
    let mut attempt = 1;
    loop {
        if let Some(bucket) = &bucket {
            empty_bucket(context, cloud, bucket).await?;
        }
        match delete_stack(context, cloud, stack, retain).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS || bucket.is_none() => return Err(error),
            Err(error) => context.listener.warn(format!("{error}; trying again")),
        }
        attempt += 1;
    }
    // The lock's object is gone with the bucket: there is nothing to give back.
    context.lease.lock().await.take();
    if let Some(left) = DeployedStack::find(cloud, &stack.name).await?.filter(|left| left.status != "DELETE_COMPLETE") {
        return Err(Error::failed(format!("stack {} is still there, in {}", left.name, left.status))
            .hint("run bluegreen destroy again"));
    }
    let gone: Vec<Resource> = before.into_iter().filter(|resource| !kept.contains(resource)).collect();
    require_gone(context, cloud, stack, &gone).await?;
    let kept: Vec<String> = kept.iter().map(Resource::to_string).collect();
    let detail = if kept.is_empty() { "nothing is left".to_owned() } else { format!("kept: {}", kept.join(", ")) };
    timer.finish(&*context.listener, detail);
    Ok(())
}

/// What stays: what was named, and what the template says.
async fn kept(cloud: &Cloud, stack: &DeployedStack, all: &[Resource], named: &[String]) -> Result<Vec<Resource>> {
    let template = deployed_template(cloud, stack).await?;
    let stays = |id: &String| named.contains(id) || template["Resources"][id]["DeletionPolicy"] == "Retain";
    Ok(all.iter().filter(|resource| stays(&resource.id)).cloned().collect())
}

/// An error where anything of a deleted stack is left.
async fn require_gone(context: &Context, cloud: &Cloud, stack: &DeployedStack, gone: &[Resource]) -> Result<()> {
    let found = left::look(cloud, gone).await;
    for unknown in found.unknown {
        context.listener.warn(format!("whether this is gone could not be seen: {unknown}"));
    }
    if found.left.is_empty() {
        return Ok(());
    }
    let error = Error::failed(format!("stack {} is deleted, and something of it is left", stack.name));
    let error = found.left.iter().fold(error, Error::because);
    Err(found.left.iter().fold(error, |error, it| error.hint(format!("where nobody needs it: {}", it.removal()))))
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
    let there = all.iter().filter(|it| {
        !it.resource_status().is_some_and(|status| matches!(status.as_str(), "DELETE_COMPLETE" | "DELETE_SKIPPED"))
    });
    let named = there.filter_map(|it| {
        Some(Resource {
            id: it.logical_resource_id()?.to_owned(),
            kind: it.resource_type().unwrap_or_default().to_owned(),
            name: it.physical_resource_id().unwrap_or_default().to_owned(),
        })
    });
    Ok(named.collect())
}

async fn bucket_exists(cloud: &Cloud, bucket: &str) -> Result<bool> {
    match cloud.s3.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
        Err(error) => Err(error).calling(|| format!("look at bucket {bucket}")),
    }
}

/// Deletes every version of every object: S3 deletes only empty buckets.
async fn empty_bucket(context: &Context, cloud: &Cloud, bucket: &str) -> Result<()> {
    if !bucket_exists(cloud, bucket).await? {
        return Ok(());
    }
    let mut deleted = 0;
    loop {
        // The first page again and again: what was on it is gone.
        let page = cloud
            .s3
            .list_object_versions()
            .bucket(bucket)
            .send()
            .await
            .calling(|| format!("list the objects of bucket {bucket}"))?;
        let versions = page.versions().iter().map(|it| (it.key(), it.version_id()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id()));
        let objects: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter_map(|(key, version)| {
                ObjectIdentifier::builder().key(key?).set_version_id(version.map(str::to_owned)).build().ok()
            })
            .collect();
        if objects.is_empty() {
            break;
        }
        deleted += objects.len();
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|error| Error::failed(format!("cannot empty bucket {bucket}")).because(error))?;
        let answer = cloud
            .s3
            .delete_objects()
            .bucket(bucket)
            .delete(delete)
            .send()
            .await
            .calling(|| format!("empty bucket {bucket}"))?;
        if let Some(error) = answer.errors().first() {
            return Err(Error::failed(format!(
                "cannot delete {} from bucket {bucket}",
                error.key().unwrap_or("an object")
            ))
            .because(error.message().unwrap_or("no reason given")));
        }
    }
    if deleted > 0 {
        context.listener.note(format!("emptied bucket {bucket}: {deleted} objects"));
    }
    Ok(())
}
