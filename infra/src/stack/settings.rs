//! What can be chosen about the stack, with the sample's values as defaults: `bluegreen.toml` in the project.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Doing, Error, Result};
use crate::resources::ecs::FargateSize;
use crate::resources::lambda::Architecture;

/// The file with the choices, in the folder the command is run in.
const FILE: &str = "bluegreen.toml";

/// The choices that the stack is made from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The Cargo package of the service. Its version `N` is the binary `<app>-vN`.
    pub app: String,
    /// Port of the prod listener.
    pub prod_port: u16,
    /// Port of the dev listener.
    pub dev_port: u16,
    /// Port that the service listens on in its container.
    pub container_port: u16,
    /// Path that the load balancer asks for to see whether a task is healthy.
    pub health_check_path: String,
    /// Path that a cutover probes.
    pub probe_path: String,
    /// Response header that tells the version of the service.
    pub version_header: String,
    /// CPU and memory of a task.
    pub size: FargateSize,
    /// Tasks in each environment. Two, so that each zone has one and the loss of one is not an outage.
    pub desired_count: u16,
    /// Seconds that a task which is being replaced may take to finish its requests.
    pub deregistration_delay: u16,
    /// Days that logs are kept.
    pub log_retention_days: u16,
    /// Processor of the tasks and of the cutover function.
    pub architecture: Architecture,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            app: "greeter".to_owned(),
            prod_port: 80,
            dev_port: 81,
            container_port: 8080,
            health_check_path: "/healthz".to_owned(),
            probe_path: "/".to_owned(),
            version_header: "x-app-version".to_owned(),
            size: FargateSize::Cpu256Memory512,
            desired_count: 2,
            deregistration_delay: 30,
            log_retention_days: 30,
            architecture: Architecture::X86_64,
        }
    }
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

    /// Reads settings from TOML. The error names the line and the key.
    pub fn parse(text: &str) -> Result<Self> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            Error::usage(format!("{FILE} cannot be understood")).because(error.to_string().trim_end())
        })?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::usage(format!("{FILE}: {what}")));
        if self.prod_port == self.dev_port {
            return wrong("prod_port and dev_port are the same; each listener needs a port of its own");
        }
        if self.prod_port == 0 || self.dev_port == 0 || self.container_port == 0 {
            return wrong("a port is 1 to 65535");
        }
        if self.desired_count == 0 {
            return wrong("desired_count is 0; an environment without tasks serves nobody");
        }
        if !self.health_check_path.starts_with('/') || !self.probe_path.starts_with('/') {
            return wrong("health_check_path and probe_path begin with /");
        }
        if self.deregistration_delay > 3600 {
            return wrong("deregistration_delay is at most 3600 seconds");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn ports_can_be_chosen() {
        let settings = Settings::parse("prod_port = 8000\ndev_port = 8001\n").unwrap();
        assert_eq!((settings.prod_port, settings.dev_port), (8000, 8001));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Settings::parse("prod_port = 8000\nprot = 1\n").unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.causes()[0].contains("line 2"), "{:?}", error.causes());
        assert!(error.causes()[0].contains("prot"), "{:?}", error.causes());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for text in ["prod_port = 81", "container_port = 0", "desired_count = 0", "probe_path = 'x'"] {
            assert!(Settings::parse(text).is_err(), "{text}");
        }
    }
}
