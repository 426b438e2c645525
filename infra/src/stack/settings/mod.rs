//! What can be chosen about the stack: `bluegreen.toml` in the project, with the sample's values as defaults.
//!
//! A value is checked where it is read, by its type; what concerns several of them is checked in `rules`.

mod documentation;
mod rules;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};
use crate::resources::values::{RegionName, SecretReference, StackName, TagKey, TagValue, VariableName};

pub use documentation::{Key, Table};
pub use tables::{App, Cutover, Dev, HealthCheck, Logs, Network, Prod};

/// The file with the choices, in the folder the command is run in.
const FILE: &str = "bluegreen.toml";

/// The choices that the stack is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of the stack, where the command line names none.
    pub name: Option<StackName>,
    /// Region of the stack, where the AWS configuration names none.
    pub region: Option<RegionName>,
    /// The service.
    pub app: App,
    /// Environment variables of the service; nothing secret.
    pub environment: BTreeMap<VariableName, String>,
    /// Environment variables whose values are secrets that AWS keeps.
    pub secrets: BTreeMap<VariableName, SecretReference>,
    /// How the load balancer tells whether a task is healthy.
    pub health_check: HealthCheck,
    /// What users see.
    pub prod: Prod,
    /// Where the next version is tried.
    pub dev: Dev,
    /// The cutover.
    pub cutover: Cutover,
    /// The network.
    pub network: Network,
    /// Logs.
    pub logs: Logs,
    /// Tags on everything in the stack, beside its own.
    pub tags: BTreeMap<TagKey, TagValue>,
}

impl Settings {
    /// The settings of the project: `bluegreen.toml` in the current folder, or the defaults where there is none.
    pub fn load() -> Result<Self> {
        let path = Path::new(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).doing(|| format!("read {FILE}"))?;
        Self::parse(&text)
    }

    /// Reads settings from TOML. An error shows the line and points at the key or the value.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: String| Error::usage(format!("{FILE} cannot be understood")).because(cause.trim_end());
        let settings: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        match rules::broken(&settings) {
            None => Ok(settings),
            Some(broken) => Err(wrong(broken.shown_in(text))),
        }
    }

    /// Name of the stack, where the command line names none.
    pub fn stack_name(&self) -> String {
        self.name.as_ref().map_or("bluegreen", StackName::as_str).to_owned()
    }

    /// Every key with its default and its meaning, as the Markdown table of the README.
    pub fn documentation() -> String {
        let none = || "–".to_owned();
        let row = |key: &str, default: String, meaning: &str| format!("| `{key}` | {default} | {meaning} |\n");
        let table = |name: &str, about: &str, keys: &[Key]| {
            format!("| **`[{name}]`** | | {} |\n{}", about.trim(), documentation::rows(name, keys))
        };
        let mut text = "| key | default | meaning |\n|---|---|---|\n".to_owned();
        text +=
            &row("name", "`\"bluegreen\"`".to_owned(), "Name of the stack; `--stack` (`STACK=` with make) goes first.");
        text += &row("region", none(), "Region of the stack, where the AWS configuration names none.");
        for (name, (about, keys)) in [
            ("app", described::<App>()),
            ("health_check", described::<HealthCheck>()),
            ("prod", described::<Prod>()),
            ("dev", described::<Dev>()),
            ("cutover", described::<Cutover>()),
            ("network", described::<Network>()),
            ("logs", described::<Logs>()),
        ] {
            text += &table(name, about, &keys);
        }
        text += &row("environment.NAME", none(), "Environment variable of the service; nothing secret.");
        text += &row(
            "secrets.NAME",
            none(),
            "Environment variable whose value AWS keeps: the ARN of a Secrets Manager secret or an SSM parameter.",
        );
        text += &row("tags.KEY", none(), "Tag on everything in the stack.");
        text
    }
}

/// What a table says of itself.
fn described<T: Table>() -> (&'static str, Vec<Key>) {
    (T::ABOUT, T::keys())
}

#[cfg(test)]
mod tests;
