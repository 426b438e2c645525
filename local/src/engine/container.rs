//! A container: its parts, and the state that its supervisor, its callers, and the status read.

use super::output::Output;
use super::placement::TaskRef;
use super::settings::Settings;
use crate::image::Image;
use crate::process::ProcessId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::watch;

/// The phase of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Created,
    /// Waits after earlier failures, or runs and has not passed its health checks yet.
    Starting,
    Healthy,
    /// Failed its health checks and is being stopped.
    Unhealthy,
    /// Gets no new requests and finishes those in progress.
    Draining,
    Exited,
}

/// The variable state of a container.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) process: Option<ProcessId>,
    pub(crate) exit_code: Option<i32>,
    /// Why it is in this phase, if that needs an explanation.
    pub(crate) reason: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    /// When its process was started, on the monotonic clock.
    pub(crate) since: Option<Instant>,
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: Arc<Image>,
    pub(crate) labels: BTreeMap<String, String>,
    /// `NAME=value`, from the task definition.
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) task: Option<TaskRef>,
    pub(crate) address: Ipv4Addr,
    pub(crate) created: Timestamp,
    /// The directory of its root file system and its output.
    pub(crate) dir: PathBuf,
    pub(crate) output: Arc<Output>,
    /// The service that runs it; known after it starts.
    pub(crate) service: OnceLock<String>,
    /// The settings of its task definition; known when it starts.
    pub(super) settings: OnceLock<Settings>,
    pub(crate) state: watch::Sender<State>,
}

/// A container in the output of `status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    /// The first characters of the container id.
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    /// The id of the ECS task.
    pub(crate) task: Option<String>,
    pub(crate) service: Option<String>,
    /// `family:revision`
    pub(crate) definition: Option<String>,
    /// The first characters of the image digest.
    pub(crate) image: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) state: Phase,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
    /// The last lines of output of a task that failed.
    pub(crate) output: Vec<String>,
    /// The path of its full output.
    pub(crate) log: PathBuf,
}

impl Container {
    /// The initial state.
    pub(crate) fn initial() -> watch::Sender<State> {
        watch::Sender::new(State {
            phase: Phase::Created,
            process: None,
            exit_code: None,
            reason: None,
            started: None,
            finished: None,
            since: None,
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// Enters a phase, unless the container has ended.
    pub(crate) fn enter(&self, phase: Phase, reason: Option<String>) -> bool {
        self.state.send_if_modified(|state| {
            let open = state.phase != Phase::Exited;
            if open {
                state.phase = phase;
                state.reason = reason.or(state.reason.take());
            }
            open
        })
    }

    /// Changes from starting to healthy, unless the container is being stopped or has ended.
    pub(crate) fn became_healthy(&self) -> bool {
        self.state.send_if_modified(|state| {
            let starting = state.phase == Phase::Starting;
            if starting {
                state.phase = Phase::Healthy;
            }
            starting
        })
    }

    /// Sets the reason why it will end, unless there is one.
    pub(crate) fn will_end(&self, reason: &str) {
        self.state.send_modify(|state| state.reason = state.reason.take().or_else(|| Some(reason.to_owned())));
    }

    /// Sets the exit code that it will have.
    pub(crate) fn will_exit(&self, code: i32) {
        self.state.send_modify(|state| state.exit_code = state.exit_code.or(Some(code)));
    }

    /// Marks it as ended. The first reason stays, because later ones follow from it.
    pub(crate) fn exited(&self, exit_code: Option<i32>, reason: Option<String>) {
        self.state.send_modify(|state| {
            state.phase = Phase::Exited;
            state.process = None;
            state.exit_code = state.exit_code.or(exit_code);
            state.reason = state.reason.take().or(reason);
            state.finished = state.finished.or_else(|| Some(Timestamp::now()));
        });
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> State {
        let mut watch = self.state.subscribe();
        match watch.wait_for(|state| state.phase == Phase::Exited).await {
            Ok(state) => state.clone(),
            // The sender is in `self`, so the channel cannot be closed.
            Err(_) => self.state.borrow().clone(),
        }
    }

    /// The key by which consecutive failures are counted.
    pub(crate) fn kind(&self) -> String {
        self.task.as_ref().map_or_else(|| self.image.name.clone(), |task| task.definition.clone())
    }

    /// The names that faults can match: service, task definition, image.
    pub(crate) fn names(&self) -> Vec<String> {
        let service = self.service.get().cloned();
        let definition = self.task.as_ref().map(|task| task.definition.clone());
        let image = [self.image.name.clone(), self.image.digest.clone()];
        service.into_iter().chain(definition).chain(image).collect()
    }

    pub(crate) fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// The directory of the volumes of its task.
    pub(crate) fn volumes(&self) -> PathBuf {
        let task = self.task.as_ref().map_or(self.short_id(), |task| task.task_id());
        super::launch::volumes_of(self.dir.parent().unwrap_or(&self.dir), task)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join(super::OUTPUT)
    }

    /// Whether it ended with a failure, and not by success or a stop.
    pub(crate) fn failed(&self) -> bool {
        let state = self.state.borrow();
        state.phase == Phase::Exited && (state.exit_code != Some(0) || state.reason.is_some())
    }

    /// The entry for `status`.
    pub(crate) fn report(&self) -> TaskReport {
        let (state, failed) = (self.state.borrow().clone(), self.failed());
        TaskReport {
            id: self.short_id().to_owned(),
            created: self.created,
            task: self.task.as_ref().map(|task| task.task_id().to_owned()),
            service: self.service.get().cloned(),
            definition: self.task.as_ref().map(|task| task.definition.clone()),
            image: self.image.digest.trim_start_matches("sha256:").chars().take(12).collect(),
            address: self.address,
            state: state.phase,
            exit_code: state.exit_code,
            reason: state.reason,
            output: if failed { self.output.tail(5) } else { Vec::new() },
            log: self.log(),
        }
    }
}
