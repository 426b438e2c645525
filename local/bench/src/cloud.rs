//! A separate local cloud of a part: started for the part, and stopped at its end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aws::Calling as _;
use aws::connect_to::ConnectTo;
use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use deploy::{Cloud, DeployedStack};
use infra::error::{Doing as _, Error, Result};
use serde_json::Value;

use crate::bench::Bench;
use crate::process::output;

/// Longer than the deletion of a stack takes on a local cloud.
const PATIENCE: Duration = Duration::from_mins(1);
const LISTENERS: [u16; 2] = [80, 81];

/// A local cloud on free ports.
#[derive(Debug)]
pub struct LocalCloud {
    program: PathBuf,
    bluegreen: PathBuf,
    project: PathBuf,
    state: tempfile::TempDir,
    status: Value,
    /// The environment variables for its clients; `None` for those that must be unset.
    environment: Vec<(String, Option<String>)>,
}

impl LocalCloud {
    /// Starts a local cloud.
    pub fn start(bench: &Bench) -> Result<Self> {
        bench.say("starting a local cloud ...");
        let mut cloud = Self {
            program: bench.workspace_program("local-cloud"),
            bluegreen: bench.workspace_program("bluegreen"),
            project: bench.project().to_path_buf(),
            state: tempfile::tempdir().doing(|| "create a folder for the local cloud".to_owned())?,
            status: Value::Null,
            environment: Vec::new(),
        };
        // The local cloud stops when this program ends, for any reason.
        let owner = std::process::id().to_string();
        let forwards = LISTENERS.map(|port| format!("0:{port}"));
        cloud.local(&[
            "up",
            "--owner-pid",
            &owner,
            "--endpoint-port",
            "0",
            "--forward",
            &forwards[0],
            "--forward",
            &forwards[1],
        ])?;
        let status = cloud.local(&["status", "--json"])?;
        cloud.status = serde_json::from_str(&status).doing(|| "read the status of the local cloud".to_owned())?;
        cloud.environment = environment(&cloud.local(&["env"])?);
        Ok(cloud)
    }

    fn local(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LOCAL_CLOUD_STATE", self.state.path()).current_dir(&self.project);
        output(&mut command)
    }

    /// Lets a command use this cloud.
    pub fn point(&self, mut command: Command) -> Command {
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// `bluegreen` on this cloud, in the folder of the project.
    pub fn bluegreen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.bluegreen);
        command.args(arguments).current_dir(&self.project);
        self.point(command)
    }

    /// Runs `bluegreen` to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.bluegreen(arguments))
    }

    /// `host:port` of prod.
    pub fn prod(&self) -> Result<String> {
        let url = self.status["forwards"][0]["url"].as_str();
        let url = url.ok_or_else(|| Error::failed("the status of the local cloud has no URL of prod"))?;
        Ok(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
    }

    /// The URL of its AWS APIs and its registry.
    pub fn endpoint(&self) -> &str {
        self.status["endpoint"].as_str().unwrap_or_default()
    }

    /// The AWS configuration of its clients.
    pub async fn sdk_config(&self) -> Result<SdkConfig> {
        let shared = aws::sdk_config().await.doing(|| "create AWS clients".to_owned())?;
        let region = self.status["region"].as_str().unwrap_or_default().to_owned();
        let file = std::fs::read(self.state.path().join("credentials.json"));
        let file = file.doing(|| "read the credentials of the local cloud".to_owned())?;
        let key: Value = serde_json::from_slice(&file)
            .map_err(|error| Error::failed("cannot parse the credentials of the local cloud").because(error))?;
        let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        let credentials = Credentials::new(text("access_key_id"), text("secret_access_key"), None, None, "bench");
        Ok(shared
            .into_builder()
            .endpoint_url(self.endpoint())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build())
    }

    /// Its AWS clients.
    pub async fn clients(&self) -> Result<Cloud> {
        Ok(Cloud::new(self.sdk_config().await?, ConnectTo::default()))
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        // It also stops when this program ends.
        let _ = self.local(&["down"]);
    }
}

/// Parses the output of `local-cloud env`.
fn environment(text: &str) -> Vec<(String, Option<String>)> {
    let mut environment = Vec::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("unset ") {
            environment.extend(names.split(' ').map(|name| (name.to_owned(), None)));
        } else if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) {
            environment.push((name.to_owned(), Some(value.trim_matches('\'').to_owned())));
        }
    }
    environment
}

/// Deletes a stack with everything in it, and waits for the end.
pub async fn delete(cloud: &Cloud, stack: &str) -> Result<()> {
    let what = || format!("delete stack {stack}");
    cloud.cloudformation.delete_stack().stack_name(stack).send().await.calling(what)?;
    let began = Instant::now();
    loop {
        match DeployedStack::find(cloud, stack).await? {
            None => return Ok(()),
            Some(found) if found.state.is_deleted() => return Ok(()),
            Some(found) if !found.in_progress() || began.elapsed() > PATIENCE => {
                return Err(Error::failed(format!("stack {stack} is not deleted")).because(found.state));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// An asynchronous runtime for the calls of a part.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "start a runtime".to_owned())
}

/// Reads a whole file.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).doing(|| format!("read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_what_a_shell_would_make_of_it() {
        let text = "unset AWS_PROFILE AWS_ROLE_ARN\nexport AWS_REGION='us-east-1'\n";
        let expected = [("AWS_PROFILE", None), ("AWS_ROLE_ARN", None), ("AWS_REGION", Some("us-east-1"))];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(environment(text), expected);
    }
}
