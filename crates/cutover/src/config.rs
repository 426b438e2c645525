//! The function's configuration from its environment variables, which the stack's template sets. The names are a
//! contract with that template. Must not know about a single request.

use crate::idle::Idle;
use aws::connect_to::ConnectTo;
use model::Color;
use model::variables as names;
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
        let mut reader = Reader { lookup, problems: Vec::new() };
        let config = Self {
            stack: reader.required(names::STACK),
            prod_listener: reader.required(names::PROD_LISTENER),
            dev_listener: reader.required(names::DEV_LISTENER),
            blue: Environment {
                target_group: reader.required(names::BLUE_TARGET_GROUP),
                service: reader.optional(names::BLUE_SERVICE),
            },
            green: Environment {
                target_group: reader.required(names::GREEN_TARGET_GROUP),
                service: reader.optional(names::GREEN_SERVICE),
            },
            cluster: reader.required(names::CLUSTER),
            bucket: reader.required(names::BUCKET),
            prod_url: reader.required(names::PROD_URL),
            dev_url: reader.required(names::DEV_URL),
            version_header: reader.optional(names::VERSION_HEADER),
            probe_path: reader.optional(names::PROBE_PATH).unwrap_or_else(|| "/".to_owned()),
            event_bus: reader.optional(names::EVENT_BUS),
            connect_to: reader.connect_to(),
            idle: reader.idle(),
        };
        reader.check_url(names::PROD_URL, &config.prod_url);
        reader.check_url(names::DEV_URL, &config.dev_url);
        if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError { problems: reader.problems }) }
    }

    /// The resources of one environment.
    pub const fn environment(&self, color: Color) -> &Environment {
        match color {
            Color::Blue => &self.blue,
            Color::Green => &self.green,
        }
    }
}

struct Reader<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is missing"));
            String::new()
        })
    }

    fn check_url(&mut self, name: &str, value: &str) {
        let good = Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !good && !value.is_empty() {
            self.problems.push(format!("{name} is not an http or https URL: {value:?}"));
        }
    }

    fn idle(&mut self) -> Option<Idle> {
        self.optional(names::IDLE_SLEEPS_AFTER)?;
        let minutes = self.number(names::IDLE_SLEEPS_AFTER)?;
        Some(Idle { after: Duration::from_secs(60 * u64::from(minutes)) })
    }

    /// A number that is not 0.
    fn number(&mut self, name: &str) -> Option<u32> {
        let text = self.required(name);
        let number = text.parse().ok().filter(|number| *number > 0);
        if number.is_none() && !text.is_empty() {
            self.problems.push(format!("{name} is not a number above 0: {text:?}"));
        }
        number
    }

    fn connect_to(&mut self) -> ConnectTo {
        let text = self.optional(names::CONNECT_TO).unwrap_or_default();
        text.parse().unwrap_or_else(|error| {
            self.problems.push(format!("{}: {error}", names::CONNECT_TO));
            ConnectTo::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        Some(match name {
            names::PROD_URL => "http://alb.example".to_owned(),
            names::DEV_URL => "http://alb.example:81".to_owned(),
            names::GREEN_SERVICE => "  ".to_owned(),
            names::VERSION_HEADER
            | names::PROBE_PATH
            | names::CONNECT_TO
            | names::EVENT_BUS
            | names::IDLE_SLEEPS_AFTER => return None,
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
            names::STACK,
            names::PROD_LISTENER,
            names::DEV_LISTENER,
            names::BLUE_TARGET_GROUP,
            names::GREEN_TARGET_GROUP,
            names::CLUSTER,
            names::BUCKET,
            names::PROD_URL,
            names::DEV_URL,
        ] {
            assert!(text.contains(&format!("{name} is missing")), "{text}");
        }
        assert!(!text.contains("SERVICE"), "{text}");
    }

    #[test]
    fn the_idle_environment_sleeps_if_minutes_are_given() {
        let given = |minutes: &str| {
            Config::from_lookup(|name| match name {
                names::IDLE_SLEEPS_AFTER => Some(minutes.to_owned()),
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
            names::PROD_URL => Some("ftp://x".to_owned()),
            names::CONNECT_TO => Some("nonsense".to_owned()),
            _ => complete(name),
        })
        .unwrap_err();
        assert_eq!(error.problems.len(), 2, "{error}");
    }
}
