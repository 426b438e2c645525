//! The function's configuration from its environment variables, which the stack's template sets. The names are a
//! contract with that template. Must not know about a single request.

use crate::idle::Idle;
use aws::connect_to::ConnectTo;
use model::Color;
use model::request::StatusSet;
use model::variables::{self, Variables};
use reqwest::Url;
use std::time::Duration;

/// One environment's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// ARN of its target group.
    pub target_group: String,
    /// ARN of its ECS service; `None` if nothing was deployed to it yet.
    pub service: Option<String>,
}

/// The function's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of the stack: in metrics and events.
    pub stack: String,
    /// ARN of the prod listener.
    pub prod_listener: String,
    /// ARN of the dev listener.
    pub dev_listener: String,
    /// The blue environment.
    pub blue: Environment,
    /// The green environment.
    pub green: Environment,
    /// Name or ARN of the ECS cluster.
    pub cluster: String,
    /// Bucket of the ledger.
    pub bucket: String,
    /// URL of the prod listener. It is http or https with a host.
    pub prod_url: String,
    /// URL of the dev listener.
    pub dev_url: String,
    /// Response header with the version, if there is one.
    pub version_header: Option<String>,
    /// Path to probe, if the event names none.
    pub probe_path: String,
    /// Status codes that are a success, if the event names none.
    pub success_codes: StatusSet,
    /// Name of the event bus that gets the outcome of every cutover.
    pub event_bus: Option<String>,
    /// Where to reach a host and port.
    pub connect_to: ConnectTo,
    /// How the idle environment sleeps, if it may.
    pub idle: Option<Idle>,
}

/// The environment variables are not a valid configuration. Lists all problems at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's environment variables are not complete: {}", .problems.join("; "))]
pub struct ConfigError {
    /// One sentence for each variable that is missing or wrong.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the process's environment variables.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `lookup`. An empty value counts as absent.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (given, missing) = Variables::read(lookup);
        let mut problems = Problems(missing.into_iter().map(|name| format!("{name} is missing")).collect());
        problems.check_url(variables::PROD_URL, &given.prod_url);
        problems.check_url(variables::DEV_URL, &given.dev_url);
        let config = Self {
            stack: given.stack,
            prod_listener: given.prod_listener,
            dev_listener: given.dev_listener,
            blue: Environment { target_group: given.blue_target_group, service: given.blue_service },
            green: Environment { target_group: given.green_target_group, service: given.green_service },
            cluster: given.cluster,
            bucket: given.bucket,
            prod_url: given.prod_url,
            dev_url: given.dev_url,
            version_header: given.version_header,
            probe_path: given.probe_path.unwrap_or_else(|| "/".to_owned()),
            success_codes: given.success_codes.map_or_else(StatusSet::default, |codes| problems.statuses(&codes)),
            event_bus: given.event_bus,
            connect_to: problems.connect_to(&given.connect_to.unwrap_or_default()),
            idle: given.idle_sleeps_after.and_then(|minutes| problems.idle(&minutes)),
        };
        if problems.0.is_empty() { Ok(config) } else { Err(ConfigError { problems: problems.0 }) }
    }

    /// The resources of one environment.
    pub const fn environment(&self, color: Color) -> &Environment {
        match color {
            Color::Blue => &self.blue,
            Color::Green => &self.green,
        }
    }
}

/// One sentence for each variable that is missing or wrong.
struct Problems(Vec<String>);

impl Problems {
    fn check_url(&mut self, name: &str, value: &str) {
        let good = Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !good && !value.is_empty() {
            self.0.push(format!("{name} is not an http or https URL: {value:?}"));
        }
    }

    fn idle(&mut self, minutes: &str) -> Option<Idle> {
        let number = minutes.parse::<u32>().ok().filter(|number| *number > 0);
        if number.is_none() {
            self.0.push(format!("{} is not a number above 0: {minutes:?}", variables::IDLE_SLEEPS_AFTER));
        }
        number.map(|minutes| Idle { after: Duration::from_secs(60 * u64::from(minutes)) })
    }

    fn statuses(&mut self, text: &str) -> StatusSet {
        text.parse().unwrap_or_else(|error| {
            self.0.push(format!("{}: {error}", variables::SUCCESS_CODES));
            StatusSet::default()
        })
    }

    fn connect_to(&mut self, text: &str) -> ConnectTo {
        text.parse().unwrap_or_else(|error| {
            self.0.push(format!("{}: {error}", variables::CONNECT_TO));
            ConnectTo::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        Some(match name {
            variables::PROD_URL => "http://alb.example".to_owned(),
            variables::DEV_URL => "http://alb.example:81".to_owned(),
            variables::GREEN_SERVICE => "  ".to_owned(),
            variables::VERSION_HEADER
            | variables::PROBE_PATH
            | variables::SUCCESS_CODES
            | variables::CONNECT_TO
            | variables::EVENT_BUS
            | variables::IDLE_SLEEPS_AFTER => return None,
            other => other.to_lowercase(),
        })
    }

    #[test]
    fn a_complete_environment_is_read_with_defaults() {
        let config = Config::from_lookup(complete).unwrap();
        assert_eq!(config.version_header, None);
        assert_eq!(config.probe_path, "/");
        assert_eq!(config.event_bus, None);
        assert_eq!(config.environment(Color::Green).service, None);
        assert_eq!(config.environment(Color::Blue).service.as_deref(), Some("bluegreen_blue_service"));
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let text = Config::from_lookup(|_| None).unwrap_err().to_string();
        for name in [
            variables::STACK,
            variables::PROD_LISTENER,
            variables::DEV_LISTENER,
            variables::BLUE_TARGET_GROUP,
            variables::GREEN_TARGET_GROUP,
            variables::CLUSTER,
            variables::BUCKET,
            variables::PROD_URL,
            variables::DEV_URL,
        ] {
            assert!(text.contains(&format!("{name} is missing")), "{text}");
        }
        assert!(!text.contains("SERVICE"), "{text}");
    }

    #[test]
    fn the_idle_environment_sleeps_if_minutes_are_given() {
        let given = |minutes: &str| {
            Config::from_lookup(|name| match name {
                variables::IDLE_SLEEPS_AFTER => Some(minutes.to_owned()),
                _ => complete(name),
            })
        };
        assert_eq!(given("90").unwrap().idle, Some(Idle { after: Duration::from_mins(90) }));
        let said = given("0").unwrap_err().to_string();
        assert!(said.contains("BLUEGREEN_IDLE_SLEEPS_AFTER is not a number above 0"), "{said}");
        assert_eq!(Config::from_lookup(complete).unwrap().idle, None);
    }

    #[test]
    fn wrong_values_are_named_too() {
        let error = Config::from_lookup(|name| match name {
            variables::PROD_URL => Some("ftp://x".to_owned()),
            variables::CONNECT_TO => Some("nonsense".to_owned()),
            _ => complete(name),
        })
        .unwrap_err();
        assert_eq!(error.problems.len(), 2, "{error}");
    }
}
