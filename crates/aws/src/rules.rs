//! The rules of prod and dev: one on each listener, which matches every request that no rule before it matches. They
//! are created, found, and changed only here. Must not decide where traffic goes.
//!
//! A rule takes precedence over the default action of its listener, and CloudFormation knows only the default action:
//! so no update of a stack moves traffic. A rule is identified by its tags, not by its position. Its conditions are
//! never changed after its creation.
//!
//! Facts: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html> (priorities are 1
//! to 50,000, each used once; the default action has the lowest),
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html> (100 rules).

use crate::config::error_text;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::http::HttpResponse;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, PathPatternConditionConfig, Rule, RuleCondition, Tag, TagDescription,
    TargetGroupTuple,
};
use aws_smithy_types::timeout::TimeoutConfig;
use model::Color;
use model::listener::{ListenerState, Listeners};
use model::names::{STACK_TAG, TRAFFIC_TAG};
use model::route::{Listener, Route};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Priority of both rules at creation: the lowest possible.
pub const PRIORITY: i32 = 50_000;
/// The path pattern that matches every request.
pub const CONDITION: &str = "*";

/// Timeout of one write with all its attempts. The control plane usually answers within a second.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum resources whose tags one call reads
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html>).
const TAGS_AT_ONCE: usize = 20;
/// Timeout of one attempt of a write.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Errors of a write after which certainly nothing was changed, and for which a retry cannot succeed.
const REJECTIONS: [&str; 9] = [
    "ListenerNotFound",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "TargetGroupAssociationLimit",
    "InvalidConfigurationRequest",
    "InvalidLoadBalancerAction",
    "AccessDenied",
    "AccessDeniedException",
    "ValidationError",
];

/// A call on the load balancer or on ECS failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}: {cause}")]
pub struct BalancerError {
    /// What was tried.
    pub doing: String,
    /// Why it failed.
    pub cause: String,
    /// Whether certainly nothing was changed, and a retry cannot succeed.
    pub rejected: bool,
}

/// The listeners of the rules, and the target groups that they may forward to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Name of the stack, in the tags of the rules.
    pub stack: String,
    /// ARN of the prod listener.
    pub prod_listener: String,
    /// ARN of the dev listener.
    pub dev_listener: String,
    /// ARN of blue's target group.
    pub blue_target_group: String,
    /// ARN of green's target group.
    pub green_target_group: String,
}

impl Places {
    /// ARN of a listener.
    pub const fn listener(&self, listener: Listener) -> &String {
        match listener {
            Listener::Prod => &self.prod_listener,
            Listener::Dev => &self.dev_listener,
        }
    }

    /// ARN of an environment's target group.
    pub const fn target_group(&self, color: Color) -> &String {
        match color {
            Color::Blue => &self.blue_target_group,
            Color::Green => &self.green_target_group,
        }
    }

    fn color_of(&self, target_group: &str) -> Option<Color> {
        Color::ALL.into_iter().find(|color| self.target_group(*color) == target_group)
    }
}

/// The state of both listeners, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The targets of their requests.
    pub listeners: Listeners,
    /// Whether a rule of the stack determines this for both listeners. Otherwise, a stack of an older version may still
    /// forward by the default actions of its listeners.
    pub by_rules: bool,
}

/// Reads and writes the rules of one stack.
#[derive(Clone, Debug)]
pub struct Rules {
    elb: Client,
    places: Places,
    /// ARNs of the rules, when they are found. An ARN is never reused for another rule.
    known: Arc<Mutex<BTreeMap<Listener, String>>>,
}

impl Rules {
    /// The rules of these listeners.
    pub fn new(elb: Client, places: Places) -> Self {
        Self { elb, places, known: Arc::default() }
    }

    /// Reads the targets of both listeners.
    pub async fn read(&self) -> Result<Listeners, BalancerError> {
        Ok(self.find().await?.listeners)
    }

    /// The same, and whether rules determine it.
    pub async fn find(&self) -> Result<Found, BalancerError> {
        if let Some(found) = self.read_known().await? {
            return Ok(found);
        }
        let (prod, dev) = tokio::try_join!(self.rules_of(Listener::Prod), self.rules_of(Listener::Dev))?;
        let tags = self.tags(prod.iter().chain(&dev)).await?;
        let (prod, prod_ruled) = self.state_of(Listener::Prod, &prod, &tags);
        let (dev, dev_ruled) = self.state_of(Listener::Dev, &dev, &tags);
        Ok(Found { listeners: Listeners { prod, dev }, by_rules: prod_ruled && dev_ruled })
    }

    /// Reads both rules in one call if they are known; `None` if one is unknown or gone.
    async fn read_known(&self) -> Result<Option<Found>, BalancerError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(prod), Some(dev)) = (known.get(&Listener::Prod), known.get(&Listener::Dev)) else {
            return Ok(None);
        };
        let answer = self.elb.describe_rules().rule_arns(prod).rule_arns(dev).send().await;
        let answer = match answer {
            Err(error) if error.code() == Some("RuleNotFound") || error.code() == Some("RuleNotFoundException") => {
                self.forget();
                return Ok(None);
            }
            other => other.map_err(|error| failed("read the listeners' rules", &error))?,
        };
        let of = |arn: &String| answer.rules().iter().find(|rule| rule.rule_arn() == Some(arn));
        let (Some(prod), Some(dev)) = (of(prod), of(dev)) else {
            self.forget();
            return Ok(None);
        };
        let listeners = Listeners { prod: self.meaning(prod), dev: self.meaning(dev) };
        Ok(Some(Found { listeners, by_rules: true }))
    }

    fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Every rule of a listener, including its default action.
    async fn rules_of(&self, listener: Listener) -> Result<Vec<Rule>, BalancerError> {
        let doing = format!("read the rules of the {} listener", listener.as_str());
        let (mut rules, mut marker) = (Vec::new(), None);
        loop {
            let request = self.elb.describe_rules().listener_arn(self.places.listener(listener)).set_marker(marker);
            let page = request.send().await.map_err(|error| failed(&doing, &error))?;
            rules.extend(page.rules.unwrap_or_default());
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(rules);
            }
        }
    }

    /// The tags of these rules, by ARN.
    async fn tags(&self, rules: impl Iterator<Item = &Rule>) -> Result<Vec<TagDescription>, BalancerError> {
        let is_default = |rule: &&Rule| rule.is_default() == Some(true);
        let arns: Vec<String> =
            rules.filter(|rule| !is_default(rule)).filter_map(|rule| rule.rule_arn().map(str::to_owned)).collect();
        let mut tags = Vec::new();
        for some in arns.chunks(TAGS_AT_ONCE) {
            let request = self.elb.describe_tags().set_resource_arns(Some(some.to_vec()));
            let answer =
                request.send().await.map_err(|error| failed("read the tags of the listeners' rules", &error))?;
            tags.extend(answer.tag_descriptions.unwrap_or_default());
        }
        Ok(tags)
    }

    /// The target of a listener with these rules, and whether a rule of the stack determines it.
    fn state_of(&self, listener: Listener, rules: &[Rule], tags: &[TagDescription]) -> (ListenerState, bool) {
        let own: Vec<&Rule> = rules.iter().filter(|rule| self.is_own(listener, rule, tags)).collect();
        match own.as_slice() {
            [only] => {
                if let Some(arn) = only.rule_arn() {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(listener, arn.to_owned());
                }
                (self.meaning(only), true)
            }
            [] => (self.without_rule(rules), false),
            more => {
                (ListenerState::NotUnderstood(format!("it has {} rules with this stack's tags", more.len())), false)
            }
        }
    }

    fn is_own(&self, listener: Listener, rule: &Rule, tags: &[TagDescription]) -> bool {
        let Some(found) = tags.iter().find(|tags| tags.resource_arn() == rule.rule_arn()) else { return false };
        let has = |key: &str, value: &str| {
            found.tags().iter().any(|tag| tag.key() == Some(key) && tag.value() == Some(value))
        };
        has(STACK_TAG, &self.places.stack) && has(TRAFFIC_TAG, listener.as_str())
    }

    /// The state of a listener without a rule of the stack. Stacks of an older version forward by the default action.
    fn without_rule(&self, rules: &[Rule]) -> ListenerState {
        let priority = PRIORITY.to_string();
        if rules.iter().any(|rule| rule.priority() == Some(&priority)) {
            return ListenerState::NotUnderstood(format!("its rule with priority {priority} is not this stack's"));
        }
        let default = rules.iter().find(|rule| rule.is_default() == Some(true));
        match default.map(Rule::actions) {
            Some([action]) if action.r#type() == Some(&ActionTypeEnum::Forward) => {
                self.of_actions(std::slice::from_ref(action))
            }
            _ => ListenerState::Absent,
        }
    }

    /// The target of a rule of the stack.
    fn meaning(&self, rule: &Rule) -> ListenerState {
        if matches_everything(rule.conditions()) {
            self.of_actions(rule.actions())
        } else {
            ListenerState::NotUnderstood(
                "the conditions of its rule were changed: it does not match every request".to_owned(),
            )
        }
    }

    fn of_actions(&self, actions: &[Action]) -> ListenerState {
        match target_groups(actions).and_then(|groups| route(&groups, |arn| self.places.color_of(arn))) {
            Ok(route) => ListenerState::At(route),
            Err(problem) => ListenerState::NotUnderstood(problem),
        }
    }

    /// Points a listener at this target: changes its rule, or creates one if there is none. After an error that is not
    /// [`BalancerError::rejected`], the write may have taken effect, or may still do so.
    pub async fn write(&self, listener: Listener, route: Route) -> Result<(), BalancerError> {
        let doing = format!("point {} at {route}", listener.as_str());
        timeout(WRITE_TIMEOUT, self.change_or_make(listener, route, &doing)).await.unwrap_or_else(|_| {
            let cause = format!("no answer within {} s", WRITE_TIMEOUT.as_secs());
            Err(BalancerError { doing: doing.clone(), cause, rejected: false })
        })
    }

    async fn change_or_make(&self, listener: Listener, route: Route, doing: &str) -> Result<(), BalancerError> {
        let arn = || self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&listener).cloned();
        if arn().is_none() {
            self.find().await?;
        }
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(WRITE_TIMEOUT).build();
        let config = aws_sdk_elasticloadbalancingv2::config::Config::builder().timeout_config(timeouts);
        if let Some(arn) = arn() {
            let request = self.elb.modify_rule().rule_arn(arn).actions(self.forward(route));
            return request.customize().config_override(config).send().await.map(drop).map_err(|error| {
                // The next read searches for it again.
                if error.code().is_some_and(|code| code.starts_with("RuleNotFound")) {
                    self.forget();
                }
                failed(doing, &error)
            });
        }
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let every = PathPatternConditionConfig::builder().values(CONDITION).build();
        let condition = RuleCondition::builder().field("path-pattern").path_pattern_config(every).build();
        let request = self.elb.create_rule().listener_arn(self.places.listener(listener)).priority(PRIORITY);
        let request = request
            .conditions(condition)
            .actions(self.forward(route))
            .tags(tag(STACK_TAG, &self.places.stack))
            .tags(tag(TRAFFIC_TAG, listener.as_str()));
        request.customize().config_override(config).send().await.map(drop).map_err(|error| failed(doing, &error))
    }

    /// The action that sends requests to this target.
    fn forward(&self, to: Route) -> Action {
        let group = |color| self.places.target_group(color);
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
}

/// Whether a rule with these conditions matches every request.
fn matches_everything(conditions: &[RuleCondition]) -> bool {
    let every = |values: &[String]| values.iter().any(|value| value == CONDITION || value == "/*");
    conditions.iter().all(|condition| {
        condition.field() == Some("path-pattern")
            && (every(condition.values())
                || condition.path_pattern_config().is_some_and(|config| every(config.values())))
    })
}

/// The target groups that these actions forward to, each with its weight, without those of weight 0.
fn target_groups(actions: &[Action]) -> Result<Vec<(String, u32)>, String> {
    let [action] = actions else {
        return Err(format!("its rule has {} actions instead of one", actions.len()));
    };
    if action.r#type() != Some(&ActionTypeEnum::Forward) {
        let kind = action.r#type().map_or("unknown", ActionTypeEnum::as_str);
        return Err(format!("its action is {kind:?}, not a forward"));
    }
    let Some(forward) = action.forward_config() else {
        let arn = action.target_group_arn().map(|arn| vec![(arn.to_owned(), 1)]);
        return arn.ok_or_else(|| "it forwards to no target group".to_owned());
    };
    let sticky = forward.target_group_stickiness_config();
    if sticky.is_some_and(|config| config.enabled() == Some(true)) {
        return Err("its forward has stickiness between target groups".to_owned());
    }
    // A group without a weight is treated as weight 1.
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

/// The route of these weighted target groups.
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
    // A small share must not be rounded to zero.
    let percent = if blue == 0 || blue == all { rounded } else { rounded.clamp(1, 99) };
    Ok(Route::share(Color::Blue, u8::try_from(percent).unwrap_or(100)))
}

/// The error of a call that failed while `doing` something.
pub fn failed<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> BalancerError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let rejected = match error {
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(service) => service.err().code().is_some_and(|code| {
            let code = code.strip_suffix("Exception").unwrap_or(code);
            REJECTIONS.iter().any(|known| known.strip_suffix("Exception").unwrap_or(known) == code)
        }),
        _ => false,
    };
    BalancerError { doing: doing.to_owned(), cause: error_text(error), rejected }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert!(read(&[]).unwrap_err().contains("0 actions"));
        assert!(read(&[forward(&[("blue", Some(0))])]).unwrap_err().contains("no target group"));
        let sticky = ForwardActionConfig::builder()
            .target_groups(TargetGroupTuple::builder().target_group_arn("a").build())
            .target_group_stickiness_config(TargetGroupStickinessConfig::builder().enabled(true).build())
            .build();
        let sticky = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(sticky).build();
        assert!(read(&[sticky]).unwrap_err().contains("stickiness"));
    }

    fn rules() -> Rules {
        let config = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_elasticloadbalancingv2::config::Region::new("us-east-1"))
            .build();
        let places = Places {
            stack: "shop".to_owned(),
            prod_listener: "prod".to_owned(),
            dev_listener: "dev".to_owned(),
            blue_target_group: "blue".to_owned(),
            green_target_group: "green".to_owned(),
        };
        Rules::new(Client::from_conf(config), places)
    }

    fn rule(arn: &str, priority: &str, path: Option<&str>, action: Action) -> Rule {
        let condition = path.map(|path| RuleCondition::builder().field("path-pattern").values(path).build());
        Rule::builder()
            .rule_arn(arn)
            .priority(priority)
            .is_default(priority == "default")
            .set_conditions(Some(condition.into_iter().collect()))
            .actions(action)
            .build()
    }

    fn tagged(arn: &str, stack: &str, traffic: &str) -> TagDescription {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        TagDescription::builder().resource_arn(arn).tags(tag(STACK_TAG, stack)).tags(tag(TRAFFIC_TAG, traffic)).build()
    }

    fn to(group: &str) -> Action {
        Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build()
    }

    fn unavailable() -> Action {
        Action::builder().r#type(ActionTypeEnum::FixedResponse).build()
    }

    #[tokio::test]
    async fn a_failed_call_is_reported_and_without_rusts_own() {
        crate::config::install_tls();
        // Port 9 of loopback: nothing listens there.
        let config = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_elasticloadbalancingv2::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_elasticloadbalancingv2::config::Credentials::new(
                "a", "b", None, None, "test",
            ))
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url("http://127.0.0.1:9")
            .build();
        let error = Client::from_conf(config).describe_target_health().send().await.unwrap_err();
        let said = failed("read the health", &error).to_string();
        assert!(said.starts_with("cannot read the health: Connection refused"), "{said}");
        assert!(!said.contains(['{', '(']) || said.contains("(os error 111)"), "{said}");
    }

    #[test]
    fn the_rule_with_the_stacks_tags_counts_wherever_it_is() {
        let all = [
            rule("other", "1", Some("/admin"), to("elsewhere")),
            rule("own", "7", Some("*"), to("blue")),
            rule("default", "default", None, unavailable()),
        ];
        let tags = [tagged("other", "another", "prod"), tagged("own", "shop", "prod")];
        let blue = ListenerState::At(Route::All(Color::Blue));
        assert_eq!(rules().state_of(Listener::Prod, &all, &tags), (blue, true));
        let (dev, ruled) = rules().state_of(Listener::Dev, &all, &tags);
        assert_eq!((dev, ruled), (ListenerState::Absent, false), "prod's rule is not dev's");
    }

    #[test]
    fn without_a_rule_a_fixed_response_is_no_traffic_and_an_old_forward_still_is() {
        let default = |action| [rule("default", "default", None, action)];
        let read = |action| rules().state_of(Listener::Prod, &default(action), &[]);
        assert_eq!(read(unavailable()), (ListenerState::Absent, false));
        assert_eq!(read(to("green")), (ListenerState::At(Route::All(Color::Green)), false));
        assert!(matches!(read(to("elsewhere")), (ListenerState::NotUnderstood(_), false)));
    }

    #[test]
    fn a_rule_that_somebody_narrowed_doubled_or_put_in_its_place_is_not_understood() {
        let tags = [tagged("a", "shop", "prod"), tagged("b", "shop", "prod")];
        let problem = |all: &[Rule]| match rules().state_of(Listener::Prod, all, &tags) {
            (ListenerState::NotUnderstood(problem), _) => problem,
            other => panic!("{other:?}"),
        };
        assert!(problem(&[rule("a", "50000", Some("/x"), to("blue"))]).contains("conditions"));
        let two = [rule("a", "1", Some("*"), to("blue")), rule("b", "2", Some("*"), to("blue"))];
        assert!(problem(&two).contains("2 rules"));
        assert!(problem(&[rule("foreign", "50000", Some("*"), to("blue"))]).contains("not this stack's"));
    }
}
