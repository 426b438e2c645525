//! Runs a container of a task in the engine, from its start to its end.

use super::super::container::Container;
use super::super::launch::hostname;
use super::super::lifecycle::OUT_OF_MEMORY;
use super::super::output::Stream;
use super::super::settings::Settings;
use super::super::{Engine, lock};
use super::specification::{self, Network, name, volume_name};
use super::{HOST, Outside, unless_missing};
use crate::error::{Error, Result, chain};
use crate::process::ProcessId;
use bollard::container::LogOutput;
use bollard::errors::Error as CallError;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use jiff::Timestamp;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to read output after the end of a container.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts the program in the engine, and the task that supervises it.
    pub(in crate::engine) async fn launch_outside(
        self: &Arc<Self>,
        outside: &Arc<Outside>,
        container: &Arc<Container>,
        settings: Settings,
    ) -> Result<()> {
        let started = outside.run(container, &settings).await;
        // It is set once, by the only start.
        let _ = container.settings.set(settings);
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                outside.remove(container).await;
                return Err(error);
            }
        };
        container.state.send_modify(|state| {
            state.process = process;
            state.started = Some(Timestamp::now());
            state.since = Some(Instant::now());
        });
        let (engine, outside, watched) = (Arc::clone(self), Arc::clone(outside), Arc::clone(container));
        tokio::spawn(async move {
            let output = tokio::spawn({
                let (outside, watched) = (Arc::clone(&outside), Arc::clone(&watched));
                async move { outside.capture(&watched).await }
            });
            let code = outside.ended(&watched).await;
            if tokio::time::timeout(LAST_OUTPUT, output).await.is_err() {
                tracing::debug!("{} still has its output open", watched.name);
            }
            engine.after_exit(&watched, code);
            outside.remove(&watched).await;
            let last =
                |other: &Arc<Container>| other.address != watched.address || other.state.borrow().process.is_none();
            if engine.list().iter().all(last) {
                outside.remove_volumes(&watched).await;
            }
        });
        Ok(())
    }
}

impl Outside {
    /// Creates and starts a container. Returns its process; none if it has ended already.
    async fn run(&self, container: &Container, settings: &Settings) -> Result<Option<ProcessId>> {
        let failed = |what: &str, error: &CallError| {
            Error::new(format!("the container engine cannot {what} the container: {}", chain(error)))
        };
        let image = self.image(&container.image).await?;
        let name = name(container);
        let network = self.network(container, &name);
        let (inside, outside) = (self.endpoint.0.as_str(), self.endpoint.1.as_str());
        let image = (image, self.owner.as_str());
        let body =
            specification::container(container, settings, image, &network, hostname(container), (inside, outside));
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        self.docker.create_container(Some(options), body).await.map_err(|error| failed("create", &error))?;
        self.docker.start_container(&name, None).await.map_err(|error| failed("start", &error))?;
        // The engine could be in another network than this process, for example in a virtual machine.
        if let Err(error) = TcpListener::bind(SocketAddr::from((HOST, 0))) {
            return Err(Error::new(format!(
                "the network of the container engine is not on this machine: {HOST}: {error}"
            ))
            .hint("use an engine with root rights that runs on this machine itself"));
        }
        let found = self.docker.inspect_container(&name, None::<InspectContainerOptions>).await;
        let state = found.map_err(|error| failed("inspect", &error))?.state.unwrap_or_default();
        let process = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        Ok(process.and_then(ProcessId::of))
    }

    /// The first container of a task that runs has the network of the task.
    fn network(&self, container: &Container, name: &str) -> Network {
        let mut networks = lock(&self.networks);
        if let Some(other) = networks.get(&container.address) {
            return Network::Of(other.clone());
        }
        networks.insert(container.address, name.to_owned());
        Network::Own
    }

    /// Captures the output of a container until it has ended.
    async fn capture(&self, container: &Container) {
        let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
        let mut lines = Box::pin(self.patient.logs(&name(container), Some(options)));
        while let Some(line) = lines.next().await {
            match line {
                Ok(LogOutput::StdErr { message }) => container.output.push(Stream::Stderr, message),
                Ok(line) => container.output.push(Stream::Stdout, line.into_bytes()),
                Err(error) => {
                    tracing::warn!("cannot read the output of task {}: {}", container.name, chain(&error));
                    return;
                }
            }
        }
    }

    /// Waits for the end of a container; returns its exit code.
    async fn ended(&self, container: &Container) -> Option<i32> {
        let name = name(container);
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = Box::pin(self.patient.wait_container(&name, Some(options)));
        let code = match waiting.next().await {
            Some(Ok(answer)) => Some(answer.status_code),
            Some(Err(CallError::DockerContainerWaitError { code, .. })) => Some(code),
            Some(Err(error)) => {
                tracing::warn!("task {}: {}", container.name, chain(&error));
                None
            }
            None => None,
        };
        let found = self.docker.inspect_container(&name, None::<InspectContainerOptions>).await;
        let state = found.ok().and_then(|found| found.state).unwrap_or_default();
        if state.oom_killed == Some(true) {
            container.will_end(OUT_OF_MEMORY);
        }
        code.or(state.exit_code).and_then(|code| i32::try_from(code).ok())
    }

    /// Sends a signal to the program of a container.
    pub(in crate::engine) async fn signal(&self, container: &Container, signal: Signal) {
        let options = KillContainerOptionsBuilder::default().signal(&signal.as_raw().to_string()).build();
        let sent = self.docker.kill_container(&name(container), Some(options)).await;
        // A container that has ended already is what a signal wants.
        match sent {
            Err(CallError::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => {}
            Err(error) => tracing::warn!("cannot send {signal:?} to task {}: {}", container.name, chain(&error)),
        }
    }

    /// Removes a container with its volumes that have no name.
    async fn remove(&self, container: &Container) {
        let name = name(container);
        lock(&self.networks).retain(|_, owner| *owner != name);
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        if let Err(error) = unless_missing(self.docker.remove_container(&name, Some(options)).await) {
            tracing::warn!("cannot remove the container of task {}: {}", container.name, chain(&error));
        }
    }

    /// Removes the volumes of a task.
    async fn remove_volumes(&self, container: &Container) {
        let volumes = container.settings.get().map(|settings| settings.volumes.as_slice()).unwrap_or_default();
        for volume in volumes {
            let options = RemoveVolumeOptionsBuilder::default().force(true).build();
            let removed = self.docker.remove_volume(&volume_name(container, &volume.name), Some(options)).await;
            if let Err(error) = unless_missing(removed) {
                tracing::warn!(
                    "cannot remove the volume {} of task {}: {}",
                    volume.name,
                    container.name,
                    chain(&error)
                );
            }
        }
    }
}
