//! What AWS keeps of a deleted stack, or creates for it outside the stack: deletes what can be deleted, and names the
//! rest. Must not fail: the stack is gone by then.

use super::leftovers;
use super::leftovers::Resource;
use crate::context::Context;
use crate::error::Result;
use aws::Calling as _;
use deploy::Cloud;

/// The log group that ECS creates for the metrics of a cluster, outside any stack:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-reference-performance-logs-ECS.html>.
fn insights_group(cluster: &str) -> String {
    format!("/aws/ecs/containerinsights/{cluster}/performance")
}

/// Deletes what AWS created outside the stack for these deleted resources. Returns descriptions of what remains.
pub(super) async fn clean(context: &Context, cloud: &Cloud, gone: &[Resource]) -> Vec<String> {
    let mut stays = Vec::new();
    for resource in gone {
        match resource.kind.as_str() {
            "AWS::ECS::Cluster" => {
                let group = insights_group(&resource.name);
                match delete_log_group(cloud, &group).await {
                    Ok(true) => {
                        context.listener.note(format!("deleted log group {group}, which Container Insights created"));
                    }
                    Ok(false) => {}
                    Err(error) => {
                        let removal = leftovers::removal("AWS::Logs::LogGroup", &group);
                        context
                            .listener
                            .warn(format!("{error}; to delete the log group of Container Insights, run {removal}"));
                        stays.push(format!("log group {group}"));
                    }
                }
            }
            // A key is never deleted immediately: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
            "AWS::KMS::Key" => stays.push(format!("key {} (AWS deletes it after 7 days)", resource.name)),
            _ => {}
        }
    }
    stays
}

/// Deletes the log group of exactly this name; whether there was one.
async fn delete_log_group(cloud: &Cloud, name: &str) -> Result<bool> {
    let found = cloud.logs.describe_log_groups().log_group_name_prefix(name).send().await;
    let found = found.calling(|| format!("find log group {name}"))?;
    if !found.log_groups().iter().any(|group| group.log_group_name() == Some(name)) {
        return Ok(false);
    }
    let deletion = cloud.logs.delete_log_group().log_group_name(name).send().await;
    deletion.calling(|| format!("delete log group {name}"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_insights_writes_to_a_group_that_is_named_after_the_cluster() {
        assert_eq!(insights_group("shop-Cluster-1"), "/aws/ecs/containerinsights/shop-Cluster-1/performance");
    }
}
