//! Whose a stack's bucket and registry are: both are tagged with the name of the stack, and one that is not the stack's own
//! is neither read nor written. An image's mark is the registry that it is in: a tag in the image itself would change its
//! digest.

use aws::Calling as _;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use model::names::STACK_TAG;

use crate::cloud::Cloud;
use crate::deployed::DeployedStack;
use crate::error::{Error, ForeignObject, Result};
use stack::storage::{BUCKET, REGISTRY};

/// The error codes of S3 and ECR for objects that do not exist.
const GONE: [&str; 2] = ["NoSuchBucket", "RepositoryNotFoundException"];

/// What S3 says of a bucket without tags: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html>.
const NO_TAGS: &str = "NoSuchTagSet";

/// Whose something is.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// The name of a stack.
    Stack(String),
    /// It says nothing.
    Absent,
    /// It does not exist.
    Gone,
}

/// An error if the stack's bucket or its registry is not its own.
pub async fn check(cloud: &Cloud, stack: &DeployedStack) -> Result<()> {
    let Ok(bucket) = stack.bucket() else { return Ok(()) };
    check_bucket(cloud, stack, bucket).await?;
    let Ok(outputs) = stack.outputs() else { return Ok(()) };
    let of_registry = mark_of_registry(cloud, stack, &outputs.registry_name).await?;
    require(cloud, stack, REGISTRY, &format!("registry {}", outputs.registry_name), of_registry).await
}

/// An error if this bucket is not the stack's own.
pub async fn check_bucket(cloud: &Cloud, stack: &DeployedStack, bucket: &str) -> Result<()> {
    let mark = mark_of_bucket(cloud, bucket).await?;
    require(cloud, stack, BUCKET, &format!("bucket {bucket}"), mark).await
}

async fn mark_of_bucket(cloud: &Cloud, bucket: &str) -> Result<Mark> {
    let call = cloud.s3.get_bucket_tagging().bucket(bucket);
    match call.set_expected_bucket_owner(cloud.account()).send().await {
        Ok(answer) => Ok(mark(answer.tag_set().iter().map(|tag| (tag.key(), tag.value())))),
        Err(error) if error.code() == Some(NO_TAGS) => Ok(Mark::Absent),
        Err(error) if error.code().is_some_and(|code| GONE.contains(&code)) => Ok(Mark::Gone),
        Err(error) => Ok(Err(error).calling(|| format!("read the tags of bucket {bucket}"))?),
    }
}

async fn mark_of_registry(cloud: &Cloud, stack: &DeployedStack, name: &str) -> Result<Mark> {
    let Some(arn) = registry_arn(&stack.id, name) else { return Ok(Mark::Absent) };
    match cloud.ecr.list_tags_for_resource().resource_arn(arn).send().await {
        Ok(answer) => Ok(mark(answer.tags().iter().map(|tag| (tag.key(), tag.value())))),
        Err(error) if error.code().is_some_and(|code| GONE.contains(&code)) => Ok(Mark::Gone),
        Err(error) => Ok(Err(error).calling(|| format!("read the tags of registry {name}"))?),
    }
}

/// The ARN of a registry beside a stack, whose own ARN is `arn:PARTITION:cloudformation:REGION:ACCOUNT:…`
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/security_iam_service-with-iam.html>).
fn registry_arn(stack: &str, name: &str) -> Option<String> {
    let mut parts = stack.split(':');
    let (partition, region, account) = (parts.nth(1)?, parts.nth(1)?, parts.next()?);
    Some(format!("arn:{partition}:ecr:{region}:{account}:repository/{name}"))
}

fn mark<'a>(mut tags: impl Iterator<Item = (&'a str, &'a str)>) -> Mark {
    tags.find(|(key, _)| *key == STACK_TAG).map_or(Mark::Absent, |(_, stack)| Mark::Stack(stack.to_owned()))
}

/// An error if this mark is not the stack's. A stack whose template puts no mark there was made by an older version.
async fn require(cloud: &Cloud, stack: &DeployedStack, id: &str, what: &str, mark: Mark) -> Result<()> {
    let mark = match mark {
        Mark::Stack(name) if name == stack.name => return Ok(()),
        Mark::Stack(name) => ForeignObject::OtherStack(name),
        Mark::Absent if is_marked_by_template(cloud, stack, id).await? => ForeignObject::NoTag,
        Mark::Absent | Mark::Gone => return Ok(()),
    };
    Err(Error::ForeignObject { object: what.to_owned(), stack: stack.name.clone(), mark })
}

/// Whether the template puts the mark there, and that is done.
async fn is_marked_by_template(cloud: &Cloud, stack: &DeployedStack, id: &str) -> Result<bool> {
    if !stack.is_complete() {
        return Ok(false);
    }
    let template = stack.template(cloud).await?;
    let tags = template["Resources"][id]["Properties"]["Tags"].as_array();
    Ok(tags.is_some_and(|tags| tags.iter().any(|tag| tag["Key"] == STACK_TAG)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_in_the_account_of_the_stack() {
        let arn = registry_arn("arn:aws-cn:cloudformation:cn-north-1:123456789012:stack/shop/1", "shop-registry-1");
        assert_eq!(arn.as_deref(), Some("arn:aws-cn:ecr:cn-north-1:123456789012:repository/shop-registry-1"));
        assert_eq!(registry_arn("shop", "r"), None);
    }

    #[test]
    fn the_mark_is_one_tag_of_many() {
        let tags = [("Name", "x"), (STACK_TAG, "shop")];
        assert_eq!(mark(tags.into_iter()), Mark::Stack("shop".to_owned()));
        assert_eq!(mark(tags.into_iter().take(1)), Mark::Absent);
    }
}
