//! The task and the service of a container, and its time limit to become healthy. Pure.

use super::probe::HealthCheck;
use std::collections::BTreeMap;
use std::time::Duration;

/// The labels in which MiniStack stores the task of a container.
const TASK: &str = "com.amazonaws.ecs.task-arn";
const CLUSTER: &str = "com.amazonaws.ecs.cluster";
const CONTAINER: &str = "com.amazonaws.ecs.container-name";
const FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
const REVISION: &str = "com.amazonaws.ecs.task-definition-version";

/// The least time limit of a task, whatever its target group says: a slow first answer must not fail the task.
const LEAST: Duration = Duration::from_secs(10);
/// The failures of a health check count up to this time, so that a deployment does not seem to hang. The grace period
/// counts in full, because the owner of the service has set it.
const MOST_FAILING: Duration = Duration::from_mins(1);

/// The ECS task of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskRef {
    pub(crate) task: String,
    pub(crate) cluster: String,
    pub(crate) container: String,
    /// `family:revision`
    pub(crate) definition: String,
}

impl TaskRef {
    /// Reads the labels of a container; `None` if it is not part of an ECS task.
    pub(crate) fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).cloned();
        Some(Self {
            task: label(TASK)?,
            cluster: label(CLUSTER)?,
            container: label(CONTAINER)?,
            definition: format!("{}:{}", label(FAMILY)?, label(REVISION)?),
        })
    }

    /// The task id: the last part of the ARN.
    pub(crate) fn task_id(&self) -> &str {
        self.task.rsplit('/').next().unwrap_or(&self.task)
    }
}

/// The settings of ECS and the load balancer for a task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// The service that runs it, if any.
    pub(crate) service: Option<String>,
    /// The health checks of its target groups.
    pub(crate) checks: Vec<HealthCheck>,
    /// The health check grace period of the service.
    pub(crate) grace: Duration,
}

/// The time limit for a new task to pass its health checks: as of ECS and the load balancer (the grace period, then
/// the failures that make it unhealthy).
pub(crate) fn startup_budget(grace: Duration, checks: &[HealthCheck]) -> Duration {
    let failing = checks.iter().map(|check| check.interval * check.unhealthy_threshold).max().unwrap_or_default();
    (grace + failing.min(MOST_FAILING)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::super::probe::{Matcher, Protocol};
    use super::*;

    fn check(interval: u64, unhealthy_threshold: u32) -> HealthCheck {
        HealthCheck {
            target_group: "web".into(),
            port: 8080,
            path: None,
            protocol: Protocol::default(),
            matcher: Matcher::parse("200"),
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold,
        }
    }

    #[test]
    fn the_budget_is_the_grace_period_and_the_slowest_target_groups_failures() {
        let budget = startup_budget(Duration::from_secs(5), &[check(5, 2), check(10, 3)]);
        assert_eq!(budget, Duration::from_secs(35));
    }

    #[test]
    fn the_budget_has_bounds() {
        assert_eq!(startup_budget(Duration::ZERO, &[]), LEAST);
        assert_eq!(startup_budget(Duration::ZERO, &[check(1, 2)]), LEAST);
        assert_eq!(startup_budget(Duration::ZERO, &[check(30, 5)]), MOST_FAILING);
        let slow = Duration::from_mins(5);
        assert_eq!(
            startup_budget(slow, &[check(10, 3)]),
            slow + Duration::from_secs(30),
            "a grace period counts in full"
        );
    }

    #[test]
    fn a_task_is_read_from_the_labels_of_its_container() {
        let labels = [
            (TASK, "arn:aws:ecs:us-east-1:000000000000:task/demo/4711"),
            (CLUSTER, "arn:aws:ecs:us-east-1:000000000000:cluster/demo"),
            (CONTAINER, "web"),
            (FAMILY, "blue"),
            (REVISION, "3"),
        ];
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let task = TaskRef::from_labels(&labels).unwrap();
        assert_eq!((task.task_id(), task.definition.as_str()), ("4711", "blue:3"));
        assert_eq!(TaskRef::from_labels(&BTreeMap::new()), None);
    }
}
