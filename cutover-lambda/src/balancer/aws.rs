//! The load balancer and ECS on AWS. Must not decide anything: it reads, writes, and tells errors apart.

use super::{Balancer, BalancerError, Health, Listeners, Pointing, Service, WRITE_TIMEOUT};
use crate::Color;
use crate::config::Config;
use crate::machine::Listener;
use aws_config::SdkConfig;
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, TargetDescription, TargetHealthStateEnum};
use aws_smithy_types::timeout::TimeoutConfig;
use std::time::Duration;

/// The load balancer and ECS on AWS.
#[derive(Debug, Clone)]
pub struct AwsBalancer {
    elb: aws_sdk_elasticloadbalancingv2::Client,
    ecs: aws_sdk_ecs::Client,
    config: Config,
}

/// Errors of a write that leave no doubt that nothing was changed, and that will not go away by themselves.
const REJECTIONS: [&str; 8] = [
    "ListenerNotFound",
    "TargetGroupNotFound",
    "TargetGroupAssociationLimit",
    "InvalidConfigurationRequest",
    "InvalidLoadBalancerAction",
    "AccessDenied",
    "AccessDeniedException",
    "ValidationError",
];

impl AwsBalancer {
    /// The load balancer and services that the function's configuration names.
    pub fn new(sdk: &SdkConfig, config: Config) -> Self {
        Self { elb: aws_sdk_elasticloadbalancingv2::Client::new(sdk), ecs: aws_sdk_ecs::Client::new(sdk), config }
    }

    fn pointing(&self, actions: &[Action]) -> Pointing {
        match sole_target_group(actions) {
            Ok(arn) => {
                Color::ALL.into_iter().find(|color| self.config.environment(*color).target_group == arn).map_or_else(
                    || Pointing::NotUnderstood(format!("it forwards to {arn}, which is not one of this stack's")),
                    Pointing::At,
                )
            }
            Err(problem) => Pointing::NotUnderstood(problem),
        }
    }

    const fn listener_arn(&self, listener: Listener) -> &String {
        match listener {
            Listener::Prod => &self.config.prod_listener,
            Listener::Dev => &self.config.dev_listener,
        }
    }
}

/// The one target group that these actions forward everything to.
fn sole_target_group(actions: &[Action]) -> Result<String, String> {
    let [action] = actions else {
        return Err(format!("its default action has {} parts instead of one", actions.len()));
    };
    if action.r#type() != Some(&ActionTypeEnum::Forward) {
        let kind = action.r#type().map_or("unknown", ActionTypeEnum::as_str);
        return Err(format!("its default action is {kind:?}, not a forward"));
    }
    let Some(forward) = action.forward_config() else {
        let arn = action.target_group_arn().map(str::to_owned);
        return arn.ok_or_else(|| "it forwards to no target group".to_owned());
    };
    let sticky = forward.target_group_stickiness_config();
    if sticky.is_some_and(|config| config.enabled() == Some(true)) {
        return Err("its forward has stickiness between target groups".to_owned());
    }
    let weighted: Vec<_> = forward
        .target_groups()
        .iter()
        .filter(|group| group.weight() != Some(0))
        .filter_map(|group| group.target_group_arn())
        .collect();
    match (weighted.as_slice(), action.target_group_arn()) {
        ([arn], _) => Ok((*arn).to_owned()),
        ([], Some(arn)) if forward.target_groups().is_empty() => Ok(arn.to_owned()),
        (groups, _) => Err(format!("it forwards to {} target groups by weight", groups.len())),
    }
}

impl Balancer for AwsBalancer {
    async fn listeners(&self) -> Result<Listeners, BalancerError> {
        let arns = [Listener::Prod, Listener::Dev].map(|listener| self.listener_arn(listener).clone());
        let request = self.elb.describe_listeners().set_listener_arns(Some(arns.to_vec()));
        let answer = request.send().await.map_err(|error| failed("read the listeners", error))?;
        let find = |listener| {
            let arn = self.listener_arn(listener);
            let found = answer.listeners().iter().find(|found| found.listener_arn() == Some(arn));
            found.map_or_else(
                || Pointing::NotUnderstood(format!("there is no listener {arn}")),
                |found| self.pointing(found.default_actions()),
            )
        };
        Ok(Listeners { prod: find(Listener::Prod), dev: find(Listener::Dev) })
    }

    async fn write(&self, listener: Listener, color: Color) -> Result<(), BalancerError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(WRITE_TIMEOUT)
            .build();
        let config = aws_sdk_elasticloadbalancingv2::config::Config::builder().timeout_config(timeouts);
        let action = Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .target_group_arn(&self.config.environment(color).target_group)
            .build();
        let request = self
            .elb
            .modify_listener()
            .listener_arn(self.listener_arn(listener))
            .default_actions(action)
            .customize()
            .config_override(config);
        let doing = format!("point {} at {color}", listener.as_str());
        request.send().await.map(drop).map_err(|error| failed(&doing, error))
    }

    async fn health(&self, color: Color) -> Result<Health, BalancerError> {
        let group = &self.config.environment(color).target_group;
        let request = self.elb.describe_target_health().target_group_arn(group);
        let doing = format!("read the health of {color}'s targets");
        let answer = request.send().await.map_err(|error| failed(&doing, error))?;
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
        let doing = format!("read {color}'s service");
        let answer = request.send().await.map_err(|error| failed(&doing, error))?;
        let active = answer.services().iter().find(|service| service.status() == Some("ACTIVE"));
        Ok(active.map_or_else(Service::default, |service| Service {
            deployed: true,
            desired: u32::try_from(service.desired_count()).unwrap_or(0),
            running: u32::try_from(service.running_count()).unwrap_or(0),
            unsteady: unsteady(service),
        }))
    }

    async fn is_sticky(&self, color: Color) -> Result<bool, BalancerError> {
        let group = &self.config.environment(color).target_group;
        let request = self.elb.describe_target_group_attributes().target_group_arn(group);
        let doing = format!("read the attributes of {color}'s target group");
        let answer = request.send().await.map_err(|error| failed(&doing, error))?;
        let sticky =
            |key: Option<&str>, value: Option<&str>| key == Some("stickiness.enabled") && value == Some("true");
        Ok(answer.attributes().iter().any(|one| sticky(one.key(), one.value())))
    }
}

/// Why a service is not steady. One deployment with all tasks running is not enough: that is also so after the circuit
/// breaker went back, hence the roll-out state.
fn unsteady(service: &aws_sdk_ecs::types::Service) -> Option<String> {
    // A deployment that failed and has no tasks left is history: ECS may go on listing it.
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

fn failed<E, R>(doing: &str, error: SdkError<E, R>) -> BalancerError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    let rejected = match &error {
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(service) => service.err().code().is_some_and(|code| {
            let code = code.strip_suffix("Exception").unwrap_or(code);
            REJECTIONS.iter().any(|known| known.strip_suffix("Exception").unwrap_or(known) == code)
        }),
        _ => false,
    };
    let cause = match error.as_service_error().map(ProvideErrorMetadata::meta) {
        Some(meta) if meta.code().is_some() => {
            format!("{}: {}", meta.code().unwrap_or_default(), meta.message().unwrap_or_default())
        }
        _ => DisplayErrorContext(error).to_string(),
    };
    BalancerError { doing: doing.to_owned(), cause, rejected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ecs::types::Service;
    use aws_sdk_elasticloadbalancingv2::types::{ForwardActionConfig, TargetGroupStickinessConfig, TargetGroupTuple};

    fn forward(groups: &[(&str, Option<i32>)]) -> Action {
        let config = groups.iter().fold(ForwardActionConfig::builder(), |config, (arn, weight)| {
            let tuple = TargetGroupTuple::builder().target_group_arn(*arn).set_weight(*weight);
            config.target_groups(tuple.build())
        });
        Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config.build()).build()
    }

    #[test]
    fn a_plain_forward_is_understood_in_both_notations() {
        let plain = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("a").build();
        assert_eq!(sole_target_group(&[plain]), Ok("a".to_owned()));
        assert_eq!(sole_target_group(&[forward(&[("a", Some(1))])]), Ok("a".to_owned()));
        assert_eq!(sole_target_group(&[forward(&[("a", None)])]), Ok("a".to_owned()));
        assert_eq!(sole_target_group(&[forward(&[("a", Some(5)), ("b", Some(0))])]), Ok("a".to_owned()));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let redirect = Action::builder().r#type(ActionTypeEnum::Redirect).build();
        assert!(sole_target_group(&[redirect]).unwrap_err().contains("redirect"));
        assert!(sole_target_group(&[]).unwrap_err().contains("0 parts"));
        let weighted = forward(&[("a", Some(1)), ("b", Some(1))]);
        assert!(sole_target_group(&[weighted]).unwrap_err().contains("2 target groups by weight"));
        let sticky = ForwardActionConfig::builder()
            .target_groups(TargetGroupTuple::builder().target_group_arn("a").build())
            .target_group_stickiness_config(TargetGroupStickinessConfig::builder().enabled(true).build())
            .build();
        let sticky = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(sticky).build();
        assert!(sole_target_group(&[sticky]).unwrap_err().contains("stickiness"));
    }

    fn deployment(status: &str, state: DeploymentRolloutState, running: i32) -> Deployment {
        Deployment::builder().status(status).rollout_state(state).running_count(running).build()
    }

    fn service(deployments: Vec<Deployment>) -> Service {
        Service::builder().set_deployments(Some(deployments)).desired_count(2).running_count(2).build()
    }

    #[test]
    fn one_completed_deployment_with_all_tasks_is_steady() {
        assert_eq!(unsteady(&service(vec![deployment("PRIMARY", DeploymentRolloutState::Completed, 2)])), None);
    }

    #[test]
    fn a_failed_deployment_without_tasks_is_history() {
        let primary = deployment("PRIMARY", DeploymentRolloutState::Completed, 2);
        let failed = deployment("ACTIVE", DeploymentRolloutState::Failed, 0);
        assert_eq!(unsteady(&service(vec![primary, failed])), None);
    }

    #[test]
    fn a_deployment_that_still_has_tasks_is_under_way() {
        let primary = deployment("PRIMARY", DeploymentRolloutState::Completed, 2);
        let failed = deployment("ACTIVE", DeploymentRolloutState::Failed, 1);
        assert!(unsteady(&service(vec![primary, failed])).is_some());
    }

    #[test]
    fn a_deployment_that_failed_is_not_steady() {
        assert!(unsteady(&service(vec![deployment("PRIMARY", DeploymentRolloutState::Failed, 2)])).is_some());
    }
}
