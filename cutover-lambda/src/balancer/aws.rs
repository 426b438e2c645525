//! The load balancer and ECS on AWS. Must not decide anything: it reads, writes, and tells errors apart.

use super::{Balancer, BalancerError, Health, Listeners, Pointing, Service, WRITE_TIMEOUT};
use crate::Color;
use crate::calls::OnlyListed;
use crate::config::Config;
use crate::route::{Listener, Route};
use aws_config::SdkConfig;
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, TargetDescription, TargetGroupTuple, TargetHealthStateEnum,
};
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
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
        let elb = aws_sdk_elasticloadbalancingv2::config::Builder::from(sdk).interceptor(OnlyListed).build();
        let ecs = aws_sdk_ecs::config::Builder::from(sdk).interceptor(OnlyListed).build();
        Self {
            elb: aws_sdk_elasticloadbalancingv2::Client::from_conf(elb),
            ecs: aws_sdk_ecs::Client::from_conf(ecs),
            config,
        }
    }

    fn pointing(&self, actions: &[Action]) -> Pointing {
        let color_of = |arn: &str| {
            let own = |color: &Color| self.config.environment(*color).target_group == arn;
            Color::ALL.into_iter().find(own)
        };
        match target_groups(actions).and_then(|groups| route(&groups, color_of)) {
            Ok(route) => Pointing::At(route),
            Err(problem) => Pointing::NotUnderstood(problem),
        }
    }

    /// The action that sends requests there.
    fn forward(&self, to: Route) -> Action {
        let group = |color| &self.config.environment(color).target_group;
        let action = Action::builder().r#type(ActionTypeEnum::Forward);
        let action = match to {
            Route::All(color) => action.target_group_arn(group(color)),
            Route::Split { .. } => {
                let weighted = |color: Color| {
                    let weight = i32::from(to.percent(color));
                    TargetGroupTuple::builder().target_group_arn(group(color)).weight(weight).build()
                };
                let groups = Color::ALL.map(weighted).to_vec();
                action.forward_config(ForwardActionConfig::builder().set_target_groups(Some(groups)).build())
            }
        };
        action.build()
    }

    const fn listener_arn(&self, listener: Listener) -> &String {
        match listener {
            Listener::Prod => &self.config.prod_listener,
            Listener::Dev => &self.config.dev_listener,
        }
    }
}

/// The target groups that these actions forward to, each with its weight; not those of weight 0.
fn target_groups(actions: &[Action]) -> Result<Vec<(String, u32)>, String> {
    let [action] = actions else {
        return Err(format!("its default action has {} parts instead of one", actions.len()));
    };
    if action.r#type() != Some(&ActionTypeEnum::Forward) {
        let kind = action.r#type().map_or("unknown", ActionTypeEnum::as_str);
        return Err(format!("its default action is {kind:?}, not a forward"));
    }
    let Some(forward) = action.forward_config() else {
        let arn = action.target_group_arn().map(|arn| vec![(arn.to_owned(), 1)]);
        return arn.ok_or_else(|| "it forwards to no target group".to_owned());
    };
    let sticky = forward.target_group_stickiness_config();
    if sticky.is_some_and(|config| config.enabled() == Some(true)) {
        return Err("its forward has stickiness between target groups".to_owned());
    }
    // A group without a weight has the weight 1.
    let weighted = forward.target_groups().iter().filter_map(|group| {
        let weight = u32::try_from(group.weight().unwrap_or(1)).unwrap_or(0);
        group.target_group_arn().filter(|_| weight > 0).map(|arn| (arn.to_owned(), weight))
    });
    let mut weighted: Vec<_> = weighted.collect();
    if forward.target_groups().is_empty() {
        weighted.extend(action.target_group_arn().map(|arn| (arn.to_owned(), 1)));
    }
    if weighted.is_empty() { Err("it forwards to no target group".to_owned()) } else { Ok(weighted) }
}

/// Where these weighted target groups make requests go.
fn route(groups: &[(String, u32)], color_of: impl Fn(&str) -> Option<Color>) -> Result<Route, String> {
    let (mut blue, mut all) = (0, 0);
    for (arn, weight) in groups {
        match color_of(arn) {
            Some(Color::Blue) => blue += weight,
            Some(Color::Green) => {}
            None => return Err(format!("it forwards to {arn}, which is not one of this stack's")),
        }
        all += weight;
    }
    let rounded = (blue * 100 + all / 2) / all.max(1);
    // A share that is small is still a share.
    let percent = if blue == 0 || blue == all { rounded } else { rounded.clamp(1, 99) };
    Ok(Route::share(Color::Blue, u8::try_from(percent).unwrap_or(100)))
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

    async fn write(&self, listener: Listener, route: Route) -> Result<(), BalancerError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(WRITE_TIMEOUT)
            .build();
        let config = aws_sdk_elasticloadbalancingv2::config::Config::builder().timeout_config(timeouts);
        let request = self
            .elb
            .modify_listener()
            .listener_arn(self.listener_arn(listener))
            .default_actions(self.forward(route))
            .customize()
            .config_override(config);
        let doing = format!("point {} at {route}", listener.as_str());
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
            since: began(service),
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
        request.send().await.map(drop).map_err(|error| failed(&doing, error))
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

/// When a service's newest deployment began.
fn began(service: &aws_sdk_ecs::types::Service) -> Option<Timestamp> {
    let newest = service.deployments().iter().filter_map(Deployment::created_at).max()?;
    Timestamp::from_second(newest.secs()).ok()
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
    use aws_sdk_elasticloadbalancingv2::types::TargetGroupStickinessConfig;

    fn forward(groups: &[(&str, Option<i32>)]) -> Action {
        let config = groups.iter().fold(ForwardActionConfig::builder(), |config, (arn, weight)| {
            let tuple = TargetGroupTuple::builder().target_group_arn(*arn).set_weight(*weight);
            config.target_groups(tuple.build())
        });
        Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config.build()).build()
    }

    fn read(actions: &[Action]) -> Result<Route, String> {
        let color = |arn: &str| match arn {
            "blue" => Some(Color::Blue),
            "green" => Some(Color::Green),
            _ => None,
        };
        target_groups(actions).and_then(|groups| route(&groups, color))
    }

    #[test]
    fn a_plain_forward_is_understood_in_both_notations() {
        let blue = Ok(Route::All(Color::Blue));
        let plain = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("blue").build();
        assert_eq!(read(&[plain]), blue);
        assert_eq!(read(&[forward(&[("blue", Some(1))])]), blue);
        assert_eq!(read(&[forward(&[("blue", None)])]), blue);
        assert_eq!(read(&[forward(&[("blue", Some(5)), ("green", Some(0))])]), blue);
        assert_eq!(read(&[forward(&[("blue", Some(0)), ("green", Some(999))])]), Ok(Route::All(Color::Green)));
    }

    #[test]
    fn a_split_is_understood_in_percent() {
        let split = |blue, green| read(&[forward(&[("blue", Some(blue)), ("green", Some(green))])]);
        assert_eq!(split(10, 90), Ok(Route::share(Color::Blue, 10)));
        assert_eq!(split(1, 1), Ok(Route::share(Color::Blue, 50)));
        assert_eq!(split(1, 999), Ok(Route::share(Color::Blue, 1)));
        assert_eq!(split(999, 1), Ok(Route::share(Color::Blue, 99)));
        assert!(read(&[forward(&[("blue", Some(1)), ("other", Some(1))])]).unwrap_err().contains("not one of this"));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let redirect = Action::builder().r#type(ActionTypeEnum::Redirect).build();
        assert!(read(&[redirect]).unwrap_err().contains("redirect"));
        assert!(read(&[]).unwrap_err().contains("0 parts"));
        assert!(read(&[forward(&[("blue", Some(0))])]).unwrap_err().contains("no target group"));
        let sticky = ForwardActionConfig::builder()
            .target_groups(TargetGroupTuple::builder().target_group_arn("a").build())
            .target_group_stickiness_config(TargetGroupStickinessConfig::builder().enabled(true).build())
            .build();
        let sticky = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(sticky).build();
        assert!(read(&[sticky]).unwrap_err().contains("stickiness"));
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
