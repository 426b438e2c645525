//! The settings of the stack: `bluegreen.toml` in the project. The defaults are the values of the sample.
//!
//! The type of a value checks it when it is read; `rules` checks what concerns several values.

mod documentation;
mod error;
mod rules;
mod scope;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::Extension;

use crate::values::TagKey;
use cfn_kit::resources::values::{Cidr, Port, RegionName, SecretReference, StackName, TagValue, VariableName};

pub use documentation::{Key, Table};
pub use error::SettingsError;
pub(super) use rules::OWN_VARIABLES;
pub use scope::Scope;
pub use tables::{
    Alarms, App, Autoscaling, Ci, Cutover, Dev, HealthCheck, Https, Logs, Network, Prod, Security, TaskNetwork,
};

/// The settings file, in the current folder.
pub const FILE: &str = "bluegreen.toml";

/// The settings that the stack is created from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of the stack, if the command line names none.
    pub name: Option<StackName>,
    /// Region of the stack, if the AWS configuration names none.
    pub region: Option<RegionName>,
    /// The service.
    pub app: App,
    /// Environment variables of the service; not for secrets.
    pub environment: BTreeMap<VariableName, String>,
    /// Environment variables whose values are secrets stored in AWS.
    pub secrets: BTreeMap<VariableName, SecretReference>,
    /// Health checks of the load balancer.
    pub health_check: HealthCheck,
    /// The listener that users open.
    pub prod: Prod,
    /// The listener to test the next release.
    pub dev: Dev,
    /// The cutover.
    pub cutover: Cutover,
    /// HTTPS.
    pub https: Https,
    /// The network.
    pub network: Network,
    /// The number of tasks, by load.
    pub autoscaling: Autoscaling,
    /// Alarms and a dashboard.
    pub alarms: Alarms,
    /// Logs.
    pub logs: Logs,
    /// Additional protection.
    pub security: Security,
    /// The roles of a CI pipeline.
    pub ci: Ci,
    /// Tags for all resources of the stack, in addition to its own.
    pub tags: BTreeMap<TagKey, TagValue>,
    /// What a program adds to the stack; not in the file.
    #[serde(skip)]
    pub extension: Extension,
}

impl Settings {
    /// The settings in this file. Without a path: those in `bluegreen.toml` in the current folder, or the defaults if
    /// that file does not exist.
    pub fn load(path: Option<&Path>) -> Result<Self, SettingsError> {
        let file = path.unwrap_or(Path::new(FILE));
        if path.is_none() && !file.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(file)
            .map_err(|source| SettingsError::Unreadable { path: file.to_owned(), source })?;
        Self::parse(&text).map_err(|error| error.in_file(file))
    }

    /// Name and region of the stack from the file, for commands that need nothing else, and the error in the file, if
    /// there is one: a rollback must not depend on the file that describes the next release.
    pub fn load_identity(path: Option<&Path>) -> (Self, Option<SettingsError>) {
        let error = match Self::load(path) {
            Ok(settings) => return (settings, None),
            Err(error) => error,
        };
        let text = std::fs::read_to_string(path.unwrap_or(Path::new(FILE))).unwrap_or_default();
        (Self::identity(&text), Some(error))
    }

    /// Name and region, even if the rest of the file is invalid.
    fn identity(text: &str) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        let value = |key: &str| table.get_ref().get(key).and_then(|value| value.get_ref().as_str());
        Self {
            name: value("name").and_then(|name| StackName::try_from(name).ok()),
            region: value("region").and_then(|region| RegionName::try_from(region).ok()),
            ..Self::default()
        }
    }

    /// Reads settings from TOML. An error shows the line and marks the key or the value.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| SettingsError::invalid(&error.to_string()))?;
        match rules::broken(&settings) {
            None => Ok(settings),
            Some(broken) => Err(SettingsError::invalid(&broken.shown_in(text))),
        }
    }

    /// Name of the stack, if the command line names none.
    pub fn stack_name(&self) -> String {
        self.name.as_ref().map_or("bluegreen", StackName::as_str).to_owned()
    }

    /// Whether prod and dev speak HTTPS.
    pub const fn has_https(&self) -> bool {
        self.https.certificate.is_some()
    }

    /// Port of the prod listener.
    pub fn prod_port(&self) -> Port {
        const PORTS: [Port; 2] = [Port::HTTP, Port::HTTPS];
        self.prod.port.unwrap_or(PORTS[usize::from(self.has_https())])
    }

    /// Port of the dev listener.
    pub fn dev_port(&self) -> Port {
        const PORTS: [Port; 2] = [Port::of(81), Port::of(8443)];
        self.dev.port.unwrap_or(PORTS[usize::from(self.has_https())])
    }

    /// Whether HTTP is redirected to HTTPS.
    pub const fn redirects_http(&self) -> bool {
        self.has_https() && self.https.redirect
    }

    /// Whether only some addresses may connect to dev.
    pub fn dev_is_restricted(&self) -> bool {
        !self.dev.cidrs.contains(&Cidr::anywhere())
    }

    /// Whether the template has the parameters [`crate::parameter::ZONES`], that is whether the stack creates its VPC.
    pub const fn zones_are_chosen(&self) -> bool {
        self.network.vpc.is_none()
    }

    /// Whether the idle environment may sleep.
    pub const fn idle_sleeps(&self) -> bool {
        self.cutover.idle_sleeps_after.is_some()
    }

    /// Whether there are alarms.
    pub fn has_alarms(&self) -> bool {
        self.alarms.enabled || !self.alarms.emails.is_empty()
    }

    /// Whether requests to the load balancer and to the stack's bucket are recorded.
    pub const fn has_access_log(&self) -> bool {
        self.logs.access || self.logs.access_bucket.is_some()
    }

    /// Every key with its default and its meaning: the Markdown table of the README.
    pub fn documentation() -> String {
        let none = || "–".to_owned();
        let row = |key: &str, default: String, meaning: &str| {
            format!("| `{key}` | {} | {default} | {meaning} |\n", documentation::changes(key))
        };
        let table = |name: &str, about: &str, keys: &[Key]| {
            format!("| **`[{name}]`** | | | {} |\n{}", about.trim(), documentation::rows(name, keys))
        };
        let mut text = "| key | changes | default | meaning |\n|---|---|---|---|\n".to_owned();
        text +=
            &row("name", "`\"bluegreen\"`".to_owned(), "Name of the stack; `--stack` (make: `STACK=`) overrides it.");
        text += &row("region", none(), "Region of the stack, if the AWS configuration names none.");
        for (name, (about, keys)) in [
            ("app", described::<App>()),
            ("health_check", described::<HealthCheck>()),
            ("prod", described::<Prod>()),
            ("dev", described::<Dev>()),
            ("cutover", described::<Cutover>()),
            ("https", described::<Https>()),
            ("network", described::<Network>()),
            ("autoscaling", described::<Autoscaling>()),
            ("alarms", described::<Alarms>()),
            ("logs", described::<Logs>()),
            ("security", described::<Security>()),
            ("ci", described::<Ci>()),
        ] {
            text += &table(name, about, &keys);
        }
        text += &row("environment.NAME", none(), "Environment variable of the service; not for secrets.");
        text += &row(
            "secrets.NAME",
            none(),
            "Environment variable with a secret value: the ARN of a Secrets Manager secret or of an SSM parameter.",
        );
        text += &row(
            "tags.KEY",
            none(),
            "Tag for all resources of the stack. The resources of an environment get it with its next release.",
        );
        text
    }
}

/// The description of a table and its keys.
fn described<T: Table>() -> (&'static str, Vec<Key>) {
    (T::ABOUT, T::keys())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
