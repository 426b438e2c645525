//! What "deployed" means: the expected image runs, as often as wanted, steadily, and the load balancer finds it healthy.
//!
//! CloudFormation's COMPLETE is not enough: ECS's circuit breaker may have gone back to the version before.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{DeploymentRolloutState, DesiredStatus, Service, Task, TaskStopCode};
use aws_sdk_elasticloadbalancingv2::types::TargetHealthStateEnum;
use cutover_lambda::color::Color;

use super::event::{Event, Listener};
use super::poll::Poll;
use crate::cloud::Cloud;
use crate::error::{Calling, Error, Kind, Result};
use crate::stack::outputs::Outputs;

/// Failed tasks of one deployment after which nobody believes in it any more, where nothing of it is healthy. The same
/// number as the circuit breaker's smallest threshold.
const FAILURES_BELIEVED: usize = 3;

/// Lines of a failed task's output that are shown.
const OUTPUT_LINES: i32 = 10;

/// What an environment should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which environment.
    pub color: Color,
    /// The image by digest.
    pub image: String,
}

/// What an environment runs at a moment.
struct Reality {
    image: Option<String>,
    running: i32,
    /// Tasks of the version before that have not ended yet: until they have, either version may answer.
    leaving: i32,
    desired: i32,
    healthy: usize,
    complete: bool,
    failure: Option<String>,
}

impl Reality {
    fn is_as(&self, expected: &Expected) -> bool {
        self.image.as_deref() == Some(expected.image.as_str())
            && self.complete
            && self.desired > 0
            && self.running >= self.desired
            && self.leaving == 0
            && usize::try_from(self.desired).is_ok_and(|desired| self.healthy >= desired)
    }
}

/// Waits until an environment runs what is expected.
///
/// The error says why it will not, with the reasons and last lines of the tasks that failed.
pub async fn wait_until_steady(
    cloud: &Cloud,
    outputs: &Outputs,
    expected: &Expected,
    limit: Duration,
    listener: &dyn Listener,
) -> Result<()> {
    let color = expected.color;
    let Some(service) = outputs.service(color) else {
        return Err(Error::failed(format!("the {color} environment has no service")));
    };
    let mut watch = Watch::new(cloud, outputs, color, service);
    let began = Instant::now();
    let mut poll = Poll::default();
    let mut told = None;
    loop {
        let Some(reality) = watch.look().await? else {
            return Err(Error::failed(format!("the service of the {color} environment is gone")));
        };
        if reality.is_as(expected) {
            return Ok(());
        }
        let failed = watch.failed_tasks(expected, listener).await?;
        let now = (reality.running, reality.desired, reality.healthy);
        if told != Some(now) {
            let (running, desired, healthy) = now;
            listener.on(Event::Rollout { color, running, desired, healthy });
            told = Some(now);
            poll.progress();
        }
        if let Some(reason) = verdict(&reality, expected, failed, began.elapsed() > limit) {
            let error =
                Error::new(Kind::Failed, format!("the {color} environment does not run what was deployed to it"))
                    .because(reason);
            return Err(match &watch.last_failure {
                Some(failure) => error.because(format!("{failed} tasks failed; the last one: {failure}")),
                None => error,
            });
        }
        poll.wait().await;
    }
}

/// Why waiting longer is pointless, if it is.
fn verdict(reality: &Reality, expected: &Expected, failed_tasks: usize, too_late: bool) -> Option<String> {
    if let Some(failure) = &reality.failure {
        return Some(failure.clone());
    }
    if reality.complete && reality.image.as_ref().is_some_and(|image| *image != expected.image) {
        return Some("ECS went back to the version before, because the new tasks kept failing".to_owned());
    }
    if failed_tasks >= FAILURES_BELIEVED && reality.healthy == 0 {
        return Some(format!("{failed_tasks} tasks failed one after the other and none is healthy"));
    }
    too_late.then(|| {
        format!(
            "time is up with {} of {} tasks running and {} healthy",
            reality.running, reality.desired, reality.healthy
        )
    })
}

/// Looks at one service again and again.
struct Watch<'a> {
    cloud: &'a Cloud,
    outputs: &'a Outputs,
    color: Color,
    service: &'a str,
    began: Instant,
    images: BTreeMap<String, Option<String>>,
    told: HashSet<String>,
    last_failure: Option<String>,
}

impl<'a> Watch<'a> {
    fn new(cloud: &'a Cloud, outputs: &'a Outputs, color: Color, service: &'a str) -> Self {
        Self {
            cloud,
            outputs,
            color,
            service,
            began: Instant::now(),
            images: BTreeMap::new(),
            told: HashSet::new(),
            last_failure: None,
        }
    }

    /// What runs now; `None` where the service is gone.
    async fn look(&mut self) -> Result<Option<Reality>> {
        let Some(service) = describe(self.cloud, self.outputs, self.service).await? else { return Ok(None) };
        let image = self.image(service.task_definition().unwrap_or_default()).await?;
        let primary = service.deployments().iter().find(|deployment| deployment.status() == Some("PRIMARY"));
        let failed = service.deployments().iter().find(|deployment| {
            deployment.rollout_state() == Some(&DeploymentRolloutState::Failed)
                && deployment.status() == Some("PRIMARY")
        });
        let running = primary.map_or(0, |deployment| deployment.running_count());
        Ok(Some(Reality {
            image,
            running,
            leaving: service.running_count().saturating_sub(running),
            desired: service.desired_count(),
            healthy: healthy_targets(self.cloud, self.outputs.target_group(self.color)).await?,
            complete: primary.and_then(|deployment| deployment.rollout_state())
                == Some(&DeploymentRolloutState::Completed),
            failure: failed
                .map(|deployment| deployment.rollout_state_reason().unwrap_or("ECS gave the deployment up").to_owned()),
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

    /// Tells of tasks of the expected image that failed since the watch began, each once, and counts them.
    async fn failed_tasks(&mut self, expected: &Expected, listener: &dyn Listener) -> Result<usize> {
        let tasks = stopped_tasks(self.cloud, self.outputs, self.service).await?;
        let began = self.began.elapsed();
        for task in tasks.iter().filter(|task| has_failed(task) && is_recent(task, began)) {
            let arn = task.task_arn().unwrap_or_default();
            let image = self.image(task.task_definition_arn().unwrap_or_default()).await?;
            if image.as_deref() != Some(expected.image.as_str()) || !self.told.insert(arn.to_owned()) {
                continue;
            }
            let id = arn.rsplit('/').next().unwrap_or(arn);
            let reason = reason_of(task);
            let output = last_output(self.cloud, self.outputs.log_group(self.color), id).await;
            self.last_failure = Some(match output.last() {
                Some(line) if !reason.contains(line) => format!("{reason}; its last line: {line}"),
                _ => reason.clone(),
            });
            let task = id.chars().take(8).collect();
            listener.on(Event::TaskFailed { color: self.color, task, reason, output });
        }
        Ok(self.told.len())
    }
}

/// An environment at a moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Tasks that run, of whatever version.
    pub running: i32,
    /// Tasks that should.
    pub desired: i32,
    /// Targets that the load balancer finds healthy.
    pub healthy: usize,
    /// What is not as expected, in words.
    pub fault: Option<String>,
}

/// Looks once at an environment, and holds it against what is expected.
pub async fn observe(cloud: &Cloud, outputs: &Outputs, expected: &Expected) -> Result<Observed> {
    let fault = |text: &str| Some(text.to_owned());
    let Some(service) = outputs.service(expected.color) else {
        let healthy = healthy_targets(cloud, outputs.target_group(expected.color)).await?;
        return Ok(Observed { healthy, ..Observed::default() });
    };
    let Some(reality) = Watch::new(cloud, outputs, expected.color, service).look().await? else {
        let healthy = healthy_targets(cloud, outputs.target_group(expected.color)).await?;
        return Ok(Observed { healthy, fault: fault("the service is gone"), ..Observed::default() });
    };
    let fault = if reality.is_as(expected) {
        None
    } else if let Some(failure) = &reality.failure {
        fault(failure)
    } else if reality.image.as_deref() != Some(expected.image.as_str()) {
        fault("runs another image than the stack says")
    } else {
        Some(format!("{} of {} running, {} healthy", reality.running, reality.desired, reality.healthy))
    };
    let running = reality.running + reality.leaving;
    Ok(Observed { running, desired: reality.desired, healthy: reality.healthy, fault })
}

/// The service as ECS describes it.
async fn describe(cloud: &Cloud, outputs: &Outputs, service: &str) -> Result<Option<Service>> {
    let answer = cloud
        .ecs
        .describe_services()
        .cluster(&outputs.cluster)
        .services(service)
        .send()
        .await
        .calling(|| format!("look at service {service}"))?;
    Ok(answer.services().first().filter(|service| service.status() == Some("ACTIVE")).cloned())
}

async fn image_of(cloud: &Cloud, task_definition: &str) -> Result<Option<String>> {
    let answer = cloud
        .ecs
        .describe_task_definition()
        .task_definition(task_definition)
        .send()
        .await
        .calling(|| format!("look at task definition {task_definition}"))?;
    let containers = answer.task_definition().map_or(&[][..], |definition| definition.container_definitions());
    Ok(containers.first().and_then(|container| container.image()).map(str::to_owned))
}

/// How many targets of the group are healthy.
async fn healthy_targets(cloud: &Cloud, target_group: &str) -> Result<usize> {
    let answer = cloud
        .elbv2
        .describe_target_health()
        .target_group_arn(target_group)
        .send()
        .await
        .calling(|| "read target health".to_owned())?;
    let healthy = answer.target_health_descriptions().iter().filter(|description| {
        description.target_health().and_then(|health| health.state()) == Some(&TargetHealthStateEnum::Healthy)
    });
    Ok(healthy.count())
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
        .calling(|| format!("look at the stopped tasks of {service}"))?;
    Ok(described.tasks.unwrap_or_default())
}

/// A task that ended by itself or never began; one that was stopped to make room for another has not failed.
fn has_failed(task: &Task) -> bool {
    matches!(task.stop_code(), Some(TaskStopCode::EssentialContainerExited | TaskStopCode::TaskFailedToStart))
}

/// Whether the task stopped in the last `window`, with a margin for clocks that differ.
fn is_recent(task: &Task, window: Duration) -> bool {
    const MARGIN: Duration = Duration::from_secs(5);
    let Some(stopped) = task.stopped_at() else { return true };
    let now = jiff::Timestamp::now().as_second();
    let window = i64::try_from((window + MARGIN).as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(stopped.secs()) <= window
}

fn reason_of(task: &Task) -> String {
    let mut reason = task.stopped_reason().unwrap_or("stopped without a reason").to_owned();
    for container in task.containers() {
        if let Some(code) = container.exit_code() {
            reason.push_str(&format!(" (exit code {code})"));
        }
        if let Some(why) = container.reason() {
            reason.push_str(&format!(": {why}"));
        }
    }
    reason
}

/// The last lines that a task wrote. Evidence, not a condition: where the log cannot be read there are none.
async fn last_output(cloud: &Cloud, log_group: &str, task: &str) -> Vec<String> {
    let answer = cloud
        .logs
        .get_log_events()
        .log_group_name(log_group)
        .log_stream_name(format!("app/app/{task}"))
        .limit(OUTPUT_LINES)
        .start_from_head(false)
        .send()
        .await;
    answer.map_or_else(
        |_| Vec::new(),
        |answer| answer.events().iter().filter_map(|event| event.message().map(str::to_owned)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        Expected { color: Color::Blue, image: "app@sha256:2".to_owned() }
    }

    fn reality() -> Reality {
        Reality {
            image: Some("app@sha256:2".to_owned()),
            running: 2,
            leaving: 0,
            desired: 2,
            healthy: 2,
            complete: true,
            failure: None,
        }
    }

    #[test]
    fn everything_in_place_is_deployed() {
        assert!(reality().is_as(&expected()));
    }

    #[test]
    fn each_thing_that_lacks_is_not_deployed() {
        assert!(!Reality { image: Some("app@sha256:1".to_owned()), ..reality() }.is_as(&expected()));
        assert!(!Reality { running: 1, ..reality() }.is_as(&expected()));
        assert!(!Reality { healthy: 1, ..reality() }.is_as(&expected()));
        assert!(!Reality { leaving: 2, healthy: 4, ..reality() }.is_as(&expected()));
        assert!(!Reality { complete: false, ..reality() }.is_as(&expected()));
        assert!(!Reality { desired: 0, running: 0, healthy: 0, ..reality() }.is_as(&expected()));
    }

    #[test]
    fn a_service_that_went_back_is_not_waited_for() {
        let back = Reality { image: Some("app@sha256:1".to_owned()), ..reality() };
        assert!(verdict(&back, &expected(), 0, false).is_some_and(|reason| reason.contains("went back")));
    }

    #[test]
    fn three_failed_tasks_without_a_healthy_one_end_the_wait() {
        let starting = Reality { running: 0, healthy: 0, complete: false, ..reality() };
        assert!(verdict(&starting, &expected(), 2, false).is_none());
        assert!(verdict(&starting, &expected(), 3, false).is_some());
    }

    #[test]
    fn time_runs_out() {
        let slow = Reality { healthy: 0, complete: false, ..reality() };
        assert!(verdict(&slow, &expected(), 0, true).is_some_and(|reason| reason.contains("time is up")));
    }
}
