//! The load balancer and ECS on AWS. Must not decide anything: it reads, writes, and classifies errors.

use super::{Balancer, BalancerError, Health, Service};
use crate::config::Config;
use aws::OnlyPermitted;
use aws::rules::{Places, Rules, failed};
use aws_config::SdkConfig;
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, ServiceField};
use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealthStateEnum};
use jiff::Timestamp;
use model::Color;
use model::listener::Listeners;
use model::names::{RELEASE_TAG, TASKS_TAG};
use model::route::{Listener, Route};

/// The load balancer and ECS on AWS.
#[derive(Debug, Clone)]
pub struct AwsBalancer {
    elb: aws_sdk_elasticloadbalancingv2::Client,
    ecs: aws_sdk_ecs::Client,
    rules: Rules,
    config: Config,
}

impl AwsBalancer {
    /// The load balancer and services that the function's configuration names.
    pub fn new(sdk: &SdkConfig, config: Config) -> Self {
        let elb = aws_sdk_elasticloadbalancingv2::config::Builder::from(sdk).interceptor(OnlyPermitted).build();
        let ecs = aws_sdk_ecs::config::Builder::from(sdk).interceptor(OnlyPermitted).build();
        let elb = aws_sdk_elasticloadbalancingv2::Client::from_conf(elb);
        let places = Places {
            stack: config.stack.clone(),
            prod_listener: config.prod_listener.clone(),
            dev_listener: config.dev_listener.clone(),
            blue_target_group: config.blue.target_group.clone(),
            green_target_group: config.green.target_group.clone(),
        };
        let rules = Rules::new(elb.clone(), places);
        Self { elb, ecs: aws_sdk_ecs::Client::from_conf(ecs), rules, config }
    }
}

impl Balancer for AwsBalancer {
    async fn listeners(&self) -> Result<Listeners, BalancerError> {
        self.rules.read().await
    }

    async fn write(&self, listener: Listener, route: Route) -> Result<(), BalancerError> {
        self.rules.write(listener, route).await
    }

    async fn health(&self, color: Color) -> Result<Health, BalancerError> {
        let group = &self.config.environment(color).target_group;
        let request = self.elb.describe_target_health().target_group_arn(group);
        let doing = format!("read the health of {color}'s targets");
        let answer = request.send().await.map_err(|error| not_known(failed(&doing, &error)))?;
        let mut health = Health::default();
        for target in answer.target_health_descriptions() {
            let state = target.target_health().and_then(|health| health.state());
            let state = state.map_or("unknown", TargetHealthStateEnum::as_str);
            if target.target().and_then(TargetDescription::id).is_some() {
                *health.states.entry(state.to_owned()).or_default() += 1;
            }
        }
        Ok(health)
    }

    async fn service(&self, color: Color) -> Result<Service, BalancerError> {
        let Some(arn) = &self.config.environment(color).service else {
            return Ok(Service::default());
        };
        let request = self.ecs.describe_services().cluster(&self.config.cluster).services(arn);
        let request = request.include(ServiceField::Tags);
        let doing = format!("read {color}'s service");
        let answer = request.send().await.map_err(|error| not_known(failed(&doing, &error)))?;
        if answer.services().is_empty() && answer.failures().is_empty() {
            // A deleted service is among the failures:
            // https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
            let cause = "the answer names neither a service nor a failure".to_owned();
            return Err(not_known(BalancerError { doing, cause, rejected: false }));
        }
        let active = answer.services().iter().find(|service| service.status() == Some("ACTIVE"));
        Ok(active.map_or_else(Service::default, |service| Service {
            deployed: true,
            desired: u32::try_from(service.desired_count()).unwrap_or(0),
            running: u32::try_from(service.running_count()).unwrap_or(0),
            not_stable: not_stable(service),
            since: began(service),
            release: number(service, RELEASE_TAG),
            tasks: number(service, TASKS_TAG).and_then(|tasks| u32::try_from(tasks).ok()).filter(|tasks| *tasks > 0),
        }))
    }

    async fn scale(&self, color: Color, tasks: u32) -> Result<(), BalancerError> {
        let doing = format!("scale {color}'s service to {tasks} tasks");
        let Some(arn) = &self.config.environment(color).service else {
            let cause = format!("nothing is deployed to {color}");
            return Err(BalancerError { doing, cause, rejected: true });
        };
        let count = i32::try_from(tasks).unwrap_or(i32::MAX);
        let request = self.ecs.update_service().cluster(&self.config.cluster).service(arn).desired_count(count);
        request.send().await.map(drop).map_err(|error| failed(&doing, &error))
    }

    async fn is_sticky(&self, color: Color) -> Result<bool, BalancerError> {
        let group = &self.config.environment(color).target_group;
        let request = self.elb.describe_target_group_attributes().target_group_arn(group);
        let doing = format!("read the attributes of {color}'s target group");
        let answer = request.send().await.map_err(|error| failed(&doing, &error))?;
        let sticky =
            |key: Option<&str>, value: Option<&str>| key == Some("stickiness.enabled") && value == Some("true");
        Ok(answer.attributes().iter().any(|one| sticky(one.key(), one.value())))
    }
}

/// An error of a read says nothing about the state.
fn not_known(error: BalancerError) -> BalancerError {
    BalancerError { cause: format!("{}; so it is not known how it is", error.cause), ..error }
}

fn number(service: &aws_sdk_ecs::types::Service, tag: &str) -> Option<u64> {
    let tag = service.tags().iter().find(|it| it.key() == Some(tag))?;
    tag.value()?.parse().ok()
}

/// When a service's newest deployment began.
fn began(service: &aws_sdk_ecs::types::Service) -> Option<Timestamp> {
    let newest = service.deployments().iter().filter_map(Deployment::created_at).max()?;
    Timestamp::from_second(newest.secs()).ok()
}

/// Why a service is not stable. One deployment with all tasks running is not enough, because that is also the state
/// after the circuit breaker rolled back. The roll-out state shows the difference.
fn not_stable(service: &aws_sdk_ecs::types::Service) -> Option<String> {
    // ECS may list a failed deployment without tasks for some time. It is ignored.
    let is_history = |deployment: &&Deployment| {
        deployment.status() != Some("PRIMARY")
            && deployment.rollout_state() == Some(&DeploymentRolloutState::Failed)
            && deployment.running_count() + deployment.pending_count() == 0
    };
    let deployments: Vec<_> = service.deployments().iter().filter(|deployment| !is_history(deployment)).collect();
    let (desired, running) = (service.desired_count(), service.running_count());
    match deployments.as_slice() {
        [only] if only.rollout_state() == Some(&DeploymentRolloutState::Completed) => {
            (running != desired).then(|| format!("{running} of {desired} tasks run"))
        }
        [only] => {
            let state = only.rollout_state().map_or("unknown", DeploymentRolloutState::as_str);
            let reason = only.rollout_state_reason().unwrap_or("no reason given");
            Some(format!("its deployment is {state}: {reason}"))
        }
        [] => Some("it has no deployment".to_owned()),
        more => Some(format!("it has {} deployments under way", more.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::Service;

    fn deployment(status: &str, state: DeploymentRolloutState, running: i32) -> Deployment {
        Deployment::builder().status(status).rollout_state(state).running_count(running).build()
    }

    fn service(deployments: Vec<Deployment>) -> Service {
        Service::builder().set_deployments(Some(deployments)).desired_count(2).running_count(2).build()
    }

    #[test]
    fn one_completed_deployment_with_all_tasks_is_steady() {
        assert_eq!(not_stable(&service(vec![deployment("PRIMARY", DeploymentRolloutState::Completed, 2)])), None);
    }

    #[test]
    fn a_failed_deployment_without_tasks_is_history() {
        let primary = deployment("PRIMARY", DeploymentRolloutState::Completed, 2);
        let failed = deployment("ACTIVE", DeploymentRolloutState::Failed, 0);
        assert_eq!(not_stable(&service(vec![primary, failed])), None);
    }

    #[test]
    fn a_deployment_that_still_has_tasks_is_under_way() {
        let primary = deployment("PRIMARY", DeploymentRolloutState::Completed, 2);
        let failed = deployment("ACTIVE", DeploymentRolloutState::Failed, 1);
        assert!(not_stable(&service(vec![primary, failed])).is_some());
    }

    #[test]
    fn a_deployment_that_failed_is_not_steady() {
        assert!(not_stable(&service(vec![deployment("PRIMARY", DeploymentRolloutState::Failed, 2)])).is_some());
    }
}
