//! `bluegreen destroy`: empties the bucket and the registry, deletes the stack, and looks whether anything is left.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::Context;
use crate::cloud::{Cloud, DeployedStack, Traffic};
use crate::deploy::{follow_deletion, settle};
use crate::error::{Calling, Error, Result};
use crate::stack::outputs::Outputs;

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
        Some(outputs) => cloud.traffic(outputs).await.ok(),
        None => None,
    };
    Ok(Some(Target { stack, prod_url, traffic }))
}

/// Destroys the stack and everything in it.
pub async fn run(context: &Context) -> Result<()> {
    let cloud = Cloud::connect(&context.settings).await?;
    let Some(stack) = DeployedStack::find(&cloud, &context.stack).await? else { return Ok(()) };
    let Some(stack) = settle(&cloud, stack, &*context.listener).await? else { return Ok(()) };
    if let Ok(outputs) = stack.outputs()
        && bucket_exists(&cloud, &outputs.bucket).await?
    {
        // A cutover that is under way is not pulled the floor from under. The lock goes with the bucket.
        context.lock(&cloud, &outputs).await?;
    }
    delete(context, &cloud, &stack).await
}

/// Empties the stack's bucket and deletes the stack.
pub(super) async fn delete(context: &Context, cloud: &Cloud, stack: &DeployedStack) -> Result<()> {
    let timer = context.listener.start(format!("delete stack {}", stack.name));
    let outputs = stack.outputs().ok();
    let mut attempt = 1;
    loop {
        if let Some(outputs) = &outputs {
            empty_bucket(context, cloud, outputs).await?;
        }
        match delete_stack(context, cloud, stack).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS || outputs.is_none() => return Err(error),
            Err(error) => context.listener.warn(format!("{error}; trying again")),
        }
        attempt += 1;
    }
    // The lock's object is gone with the bucket: there is nothing to give back.
    context.lease.lock().await.take();
    if let Some(left) = DeployedStack::find(cloud, &stack.name).await?.filter(|left| left.status != "DELETE_COMPLETE") {
        return Err(Error::failed(format!("stack {} is still there, in {}", left.name, left.status))
            .hint("run make destroy again"));
    }
    timer.finish(&*context.listener, "nothing is left");
    Ok(())
}

/// Deletes the stack, once.
async fn delete_stack(context: &Context, cloud: &Cloud, stack: &DeployedStack) -> Result<()> {
    let begin = async {
        cloud
            .cloudformation
            .delete_stack()
            .stack_name(&stack.id)
            .send()
            .await
            .calling(|| format!("delete stack {}", stack.name))?;
        Ok(())
    };
    follow_deletion(cloud, stack, &*context.listener, begin).await
}

async fn bucket_exists(cloud: &Cloud, bucket: &str) -> Result<bool> {
    match cloud.s3.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
        Err(error) => Err(error).calling(|| format!("look at bucket {bucket}")),
    }
}

/// Deletes every version of every object: S3 deletes only empty buckets.
async fn empty_bucket(context: &Context, cloud: &Cloud, outputs: &Outputs) -> Result<()> {
    let bucket = &outputs.bucket;
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
