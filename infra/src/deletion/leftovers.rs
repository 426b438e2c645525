//! Checks whether the resources of a deleted stack are gone, each by its former id. Must not know how they were
//! deleted.

use std::fmt;
use std::time::{Duration, Instant};

use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::Result;
use aws::Calling as _;
use deploy::Cloud;
use deploy::Poll;

/// How long a thing may still be shown after its deletion: services drain, lists are cached.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A resource of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Its id in the template.
    pub(super) id: String,
    /// Its type.
    pub(super) kind: String,
    /// What it is called outside of the template.
    pub(super) name: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.id, self.kind, self.name)
    }
}

impl Resource {
    /// The command that removes it.
    pub(super) fn removal(&self) -> String {
        removal(&self.kind, &self.name)
    }
}

/// The command that removes something of this type and name.
pub(super) fn removal(kind: &str, name: &str) -> String {
    let (command, option) = match kind {
        "AWS::S3::Bucket" => return format!("aws s3 rb --force s3://{name}"),
        "AWS::ECR::Repository" => ("ecr delete-repository --force", "--repository-name"),
        "AWS::Logs::LogGroup" => ("logs delete-log-group", "--log-group-name"),
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => ("elbv2 delete-load-balancer", "--load-balancer-arn"),
        "AWS::ElasticLoadBalancingV2::TargetGroup" => ("elbv2 delete-target-group", "--target-group-arn"),
        "AWS::ECS::Cluster" => ("ecs delete-cluster", "--cluster"),
        "AWS::ECS::Service" => {
            let cluster = name.rsplit('/').nth(1).unwrap_or("CLUSTER");
            return format!("aws ecs delete-service --force --cluster {cluster} --service {name}");
        }
        _ => ("lambda delete-function", "--function-name"),
    };
    format!("aws {command} {option} {name}")
}

/// What was found after a deletion.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is still there.
    pub(super) left: Vec<Resource>,
    /// What could not be checked, and why.
    pub(super) unknown: Vec<String>,
}

/// Looks for these resources until they are gone, or it is certain that they stay.
pub(super) async fn look(cloud: &Cloud, resources: &[Resource]) -> Found {
    let began = Instant::now();
    let mut poll = Poll::default();
    let mut found = Found::default();
    let mut there: Vec<Resource> = resources.to_vec();
    loop {
        let looks = there.iter().map(|resource| is_there(cloud, resource));
        let looks = futures_util::future::join_all(looks).await;
        let mut left = Vec::new();
        for (resource, look) in there.into_iter().zip(looks) {
            match look {
                Ok(true) => left.push(resource),
                Ok(false) => {}
                Err(error) => found.unknown.push(format!("{resource}: {error}")),
            }
        }
        if left.is_empty() || began.elapsed() > GONE_WITHIN {
            found.left = left;
            return found;
        }
        there = left;
        poll.wait().await;
    }
}

/// Whether it exists. Dependent resources (rules, roles, routes) are deleted with their parents and not checked.
async fn is_there(cloud: &Cloud, Resource { id, kind, name }: &Resource) -> Result<bool> {
    let what = || format!("check whether {id} was deleted");
    match kind.as_str() {
        "AWS::S3::Bucket" => super::bucket::exists(cloud, name).await,
        "AWS::ECR::Repository" => {
            let answer = cloud.ecr.describe_repositories().repository_names(name).send().await;
            unless_missing(answer, "RepositoryNotFoundException", what)
        }
        "AWS::Logs::LogGroup" => {
            let answer = cloud.logs.describe_log_groups().log_group_name_prefix(name).send().await.calling(what)?;
            Ok(answer.log_groups().iter().any(|group| group.log_group_name() == Some(name)))
        }
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
            let answer = cloud.elbv2.describe_load_balancers().load_balancer_arns(name).send().await;
            unless_missing(answer, "LoadBalancerNotFound", what)
        }
        "AWS::ElasticLoadBalancingV2::TargetGroup" => {
            let answer = cloud.elbv2.describe_target_groups().target_group_arns(name).send().await;
            unless_missing(answer, "TargetGroupNotFound", what)
        }
        "AWS::ECS::Cluster" => {
            let answer = cloud.ecs.describe_clusters().clusters(name).send().await.calling(what)?;
            Ok(answer.clusters().iter().any(|cluster| cluster.status() != Some("INACTIVE")))
        }
        "AWS::ECS::Service" => {
            // arn:…:service/CLUSTER/NAME
            let Some(cluster) = name.rsplit('/').nth(1) else { return Ok(false) };
            let answer = cloud.ecs.describe_services().cluster(cluster).services(name).send().await;
            match answer {
                Err(error) if error.code() == Some("ClusterNotFoundException") => Ok(false),
                answer => {
                    let services = answer.calling(what)?.services.unwrap_or_default();
                    Ok(services.iter().any(|service| service.status() != Some("INACTIVE")))
                }
            }
        }
        "AWS::Lambda::Function" => {
            let answer = cloud.lambda.get_function().function_name(name).send().await;
            unless_missing(answer, "ResourceNotFoundException", what)
        }
        _ => Ok(false),
    }
}

/// Whether an object exists, if its absence is an error with this code.
fn unless_missing<T, E>(answer: Result<T, E>, code: &str, what: impl FnOnce() -> String) -> Result<bool>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some_and(|found| found.starts_with(code)) => Ok(false),
        Err(error) => Ok(Err(error).calling(what).map(|_: T| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_says_how_it_is_removed() {
        let removal = |kind: &str, name: &str| {
            Resource { id: "X".to_owned(), kind: kind.to_owned(), name: name.to_owned() }.removal()
        };
        assert_eq!(removal("AWS::S3::Bucket", "b"), "aws s3 rb --force s3://b");
        assert_eq!(removal("AWS::Logs::LogGroup", "g"), "aws logs delete-log-group --log-group-name g");
        let service = removal("AWS::ECS::Service", "arn:aws:ecs:r:1:service/c/s");
        assert!(service.contains("--cluster c --service arn:"), "{service}");
    }
}
