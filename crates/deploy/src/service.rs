//! What ECS, the load balancer and the log say of one environment's service. Reads, and judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ecs::types::{Container, DeploymentRolloutState, DesiredStatus, Service, Task, TaskStopCode};
use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};
use model::color::Color;

use crate::cloud::Cloud;
use crate::error::Result;
use aws::Calling as _;
use stack::outputs::Outputs;

/// Lines of a failed task's output that are shown.
const OUTPUT_LINES: i32 = 10;

/// What an environment runs at a moment.
#[derive(Clone, Debug)]
pub(super) struct Reality {
    /// The image of the version that ECS rolls out.
    pub(super) image: Option<String>,
    /// Its tasks that run.
    pub(super) running: i32,
    /// Tasks of the version before that have not ended yet: until they have, either version may answer.
    pub(super) leaving: i32,
    pub(super) desired: i32,
    /// Healthy targets, of whichever version.
    pub(super) healthy: usize,
    pub(super) complete: bool,
    /// Why ECS gave the rollout up.
    pub(super) failure: Option<String>,
    /// Targets that are not healthy: address, state, reason.
    pub(super) unfit: Vec<(String, String, String)>,
    /// What ECS said of the service, the newest first: id and message.
    pub(super) messages: Vec<(String, String)>,
}

/// Looks at one service again and again.
pub(super) struct Watch<'a> {
    cloud: &'a Cloud,
    outputs: &'a Outputs,
    pub(super) color: Color,
    service: String,
    images: BTreeMap<String, Option<String>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(cloud: &'a Cloud, outputs: &'a Outputs, color: Color, service: &str) -> Self {
        Self { cloud, outputs, color, service: service.to_owned(), images: BTreeMap::new() }
    }

    /// What runs now; `None` if the service is gone.
    pub(super) async fn look(&mut self) -> Result<Option<Reality>> {
        let target_group = self.outputs.target_group(self.color);
        let (service, targets) =
            tokio::try_join!(describe(self.cloud, self.outputs, &self.service), targets(self.cloud, target_group))?;
        let Some(service) = service else { return Ok(None) };
        let image = self.image(service.task_definition().unwrap_or_default()).await?;
        let primary = service.deployments().iter().find(|deployment| deployment.status() == Some("PRIMARY"));
        let state = primary.and_then(|deployment| deployment.rollout_state());
        let failure = primary.filter(|_| state == Some(&DeploymentRolloutState::Failed));
        let running = primary.map_or(0, |deployment| deployment.running_count());
        let messages = service.events().iter().filter_map(|it| Some((it.id()?.to_owned(), it.message()?.to_owned())));
        Ok(Some(Reality {
            image,
            running,
            leaving: service.running_count().saturating_sub(running),
            desired: service.desired_count(),
            healthy: count_healthy(&targets),
            complete: state == Some(&DeploymentRolloutState::Completed),
            failure: failure
                .map(|deployment| deployment.rollout_state_reason().unwrap_or("ECS gave up the deployment").to_owned()),
            unfit: targets.iter().filter_map(unfit).collect(),
            messages: messages.collect(),
        }))
    }

    /// The image of a task definition. A revision never changes, so each is read once.
    async fn image(&mut self, task_definition: &str) -> Result<Option<String>> {
        if let Some(image) = self.images.get(task_definition) {
            return Ok(image.clone());
        }
        let image = image_of(self.cloud, task_definition).await?;
        self.images.insert(task_definition.to_owned(), image.clone());
        Ok(image)
    }

    /// Tasks of this image that failed within the last `window`.
    pub(super) async fn failed_tasks(&mut self, image: &str, window: Duration) -> Result<Vec<FailedTask>> {
        let tasks = stopped_tasks(self.cloud, self.outputs, &self.service).await?;
        let mut failed = Vec::new();
        for task in tasks.iter().filter(|task| has_failed(task) && is_recent(task, window)) {
            if self.image(task.task_definition_arn().unwrap_or_default()).await?.as_deref() == Some(image) {
                failed
                    .push(FailedTask { arn: task.task_arn().unwrap_or_default().to_owned(), reason: reason_of(task) });
            }
        }
        Ok(failed)
    }

    /// The last lines that a task wrote. Evidence, not a condition: empty if the log cannot be read.
    pub(super) async fn last_output(&self, task: &FailedTask) -> Vec<String> {
        let answer = self
            .cloud
            .logs
            .get_log_events()
            .log_group_name(self.outputs.log_group(self.color))
            .log_stream_name(format!("app/app/{}", task.id()))
            .limit(OUTPUT_LINES)
            .start_from_head(false)
            .send()
            .await;
        answer.map_or_else(
            |_| Vec::new(),
            |answer| answer.events().iter().filter_map(|event| event.message().map(str::to_owned)).collect(),
        )
    }
}

/// A task that ended though it should not have.
#[derive(Clone, Debug)]
pub(super) struct FailedTask {
    pub(super) arn: String,
    pub(super) reason: String,
}

impl FailedTask {
    pub(super) fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or(&self.arn)
    }
}

/// How many targets of the group are healthy.
pub(super) async fn healthy_targets(cloud: &Cloud, target_group: &str) -> Result<usize> {
    Ok(count_healthy(&targets(cloud, target_group).await?))
}

fn count_healthy(targets: &[TargetHealthDescription]) -> usize {
    let healthy = |target: &&TargetHealthDescription| {
        target.target_health().and_then(|health| health.state()) == Some(&TargetHealthStateEnum::Healthy)
    };
    targets.iter().filter(healthy).count()
}

/// A target that fails its health checks. One that is new or on its way out is neither fit nor unfit.
fn unfit(target: &TargetHealthDescription) -> Option<(String, String, String)> {
    let health = target.target_health()?;
    let state = health.state()?;
    if !state.as_str().starts_with("unhealthy") {
        return None;
    }
    let address = target.target().and_then(|it| it.id()).unwrap_or_default().to_owned();
    let reason = health.description().or(health.reason().map(|reason| reason.as_str())).unwrap_or("no reason given");
    Some((address, state.as_str().to_owned(), reason.to_owned()))
}

/// The service as ECS describes it.
pub(super) async fn describe(cloud: &Cloud, outputs: &Outputs, service: &str) -> Result<Option<Service>> {
    let answer = cloud
        .ecs
        .describe_services()
        .cluster(&outputs.cluster)
        .services(service)
        .send()
        .await
        .calling(|| format!("read service {service}"))?;
    Ok(answer.services().first().filter(|service| service.status() == Some("ACTIVE")).cloned())
}

async fn image_of(cloud: &Cloud, task_definition: &str) -> Result<Option<String>> {
    let answer = cloud
        .ecs
        .describe_task_definition()
        .task_definition(task_definition)
        .send()
        .await
        .calling(|| format!("read task definition {task_definition}"))?;
    let containers = answer.task_definition().map_or(&[][..], |definition| definition.container_definitions());
    Ok(containers.first().and_then(|container| container.image()).map(str::to_owned))
}

async fn targets(cloud: &Cloud, target_group: &str) -> Result<Vec<TargetHealthDescription>> {
    let answer = cloud
        .elbv2
        .describe_target_health()
        .target_group_arn(target_group)
        .send()
        .await
        .calling(|| "read target health".to_owned())?;
    Ok(answer.target_health_descriptions.unwrap_or_default())
}

async fn stopped_tasks(cloud: &Cloud, outputs: &Outputs, service: &str) -> Result<Vec<Task>> {
    let listed = cloud
        .ecs
        .list_tasks()
        .cluster(&outputs.cluster)
        // It takes a name where other calls take the ARN as well.
        .service_name(service.rsplit('/').next().unwrap_or(service))
        .desired_status(DesiredStatus::Stopped)
        .send()
        .await
        .calling(|| format!("list the stopped tasks of {service}"))?;
    if listed.task_arns().is_empty() {
        return Ok(Vec::new());
    }
    let described = cloud
        .ecs
        .describe_tasks()
        .cluster(&outputs.cluster)
        .set_tasks(listed.task_arns)
        .send()
        .await
        .calling(|| format!("read the stopped tasks of {service}"))?;
    Ok(described.tasks.unwrap_or_default())
}

/// A task that ended by itself, never began, or was ended because it failed its health checks; one that was stopped to
/// make room for another has not failed.
fn has_failed(task: &Task) -> bool {
    let unhealthy = || task.stopped_reason().is_some_and(|reason| reason.to_lowercase().contains("health check"));
    match task.stop_code() {
        Some(TaskStopCode::EssentialContainerExited | TaskStopCode::TaskFailedToStart) => true,
        Some(TaskStopCode::ServiceSchedulerInitiated) => unhealthy(),
        _ => false,
    }
}

/// Whether the task stopped in the last `window`, with a margin for clocks that differ.
fn is_recent(task: &Task, window: Duration) -> bool {
    const MARGIN: Duration = Duration::from_secs(5);
    let Some(stopped) = task.stopped_at() else { return true };
    let now = jiff::Timestamp::now().as_second();
    let window = i64::try_from((window + MARGIN).as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(stopped.secs()) <= window
}

/// Why a task ended: what its program did if that ended it, or else what ECS says.
fn reason_of(task: &Task) -> String {
    let with_reason = |text: String, container: &Container| match container.reason() {
        Some(why) if !why.is_empty() => format!("{text}: {why}"),
        _ => text,
    };
    let failed = |container: &&Container| container.exit_code().is_some_and(|code| code != 0);
    let containers = task.containers();
    let ended = containers.iter().find(failed).or(containers.iter().find(|it| it.exit_code().is_some()));
    if let (Some(TaskStopCode::EssentialContainerExited), Some(container)) = (task.stop_code(), ended) {
        let (name, code) = (container.name().unwrap_or("a container"), container.exit_code().unwrap_or_default());
        return with_reason(format!("{name} exited with code {code}"), container);
    }
    let stopped = task.stopped_reason().unwrap_or("stopped without a reason").to_owned();
    containers.iter().fold(stopped, with_reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(code: TaskStopCode, reason: &str) -> Task {
        Task::builder().stop_code(code).stopped_reason(reason).build()
    }

    #[test]
    fn a_task_says_what_its_program_did_or_what_ecs_says() {
        let container = |code: Option<i32>, reason: Option<&str>| {
            Container::builder().name("app").set_exit_code(code).set_reason(reason.map(str::to_owned)).build()
        };
        let task = |code: TaskStopCode, reason: &str, container: Container| {
            reason_of(&Task::builder().stop_code(code).stopped_reason(reason).containers(container).build())
        };
        let exited = "Essential container in task exited";
        let essential = TaskStopCode::EssentialContainerExited;
        assert_eq!(task(essential.clone(), exited, container(Some(3), None)), "app exited with code 3");
        let words = container(Some(1), Some("DATABASE_URL is not set"));
        assert_eq!(task(essential.clone(), exited, words), "app exited with code 1: DATABASE_URL is not set");
        assert_eq!(task(essential, exited, container(None, None)), exited);
        let health = "Task failed ELB health checks in (target-group x)";
        let killed = container(Some(137), None);
        assert_eq!(task(TaskStopCode::ServiceSchedulerInitiated, health, killed), health);
    }

    #[test]
    fn a_task_that_was_ended_for_its_health_has_failed_and_one_that_made_room_has_not() {
        assert!(has_failed(&stopped(TaskStopCode::EssentialContainerExited, "Essential container in task exited")));
        assert!(has_failed(&stopped(TaskStopCode::TaskFailedToStart, "CannotPullContainerError: no such image")));
        let scheduler = TaskStopCode::ServiceSchedulerInitiated;
        assert!(has_failed(&stopped(scheduler.clone(), "Task failed ELB health checks in (target-group x)")));
        assert!(!has_failed(&stopped(scheduler, "Scaling activity initiated by (deployment ecs-svc/1)")));
    }
}
