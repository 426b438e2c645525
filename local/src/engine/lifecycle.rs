//! The lifecycle of a container: start, become healthy, stay healthy, drain, stop; and the reason for its end.

use super::container::{Container, Phase};
use super::helper::ContainerEvent;
use super::launch::{self, Helping};
use super::memory;
use super::network::{self, TaskNetwork};
use super::placement::{Placement, startup_budget};
use super::probe::{HealthCheck, Matcher, Protocol};
use super::settings::Settings;
use super::{Engine, lock, strip};
use crate::error::{Error, Result};
use crate::process::ProcessId;
use crate::task_fault::Death;
use jiff::Timestamp;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Intervals between the health checks of a starting task: short at first, so that a healthy task is used at once, then
/// longer.
const PROBE_FIRST: Duration = Duration::from_millis(3);
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// Interval between the requests to ECS whether a starting task is still wanted.
const WANTED_EVERY: Duration = Duration::from_secs(1);
/// Time limit for the runtime to start a container, without the unpacking of its image.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long to read output after the process has ended.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Interval between two looks at the memory of a task that no control group limits.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(250);
/// The reason that Fargate gives for a task that ran out of memory.
pub(super) const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
/// The start of the reason for the end of a program.
const EXITED: &str = "the app exited with ";
/// The number of lines of output in a message.
const LINES_IN_MESSAGE: usize = 5;

impl Engine {
    /// Starts a container and returns when it is healthy or has failed.
    pub(super) async fn start(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        if let Some(earlier) = self.same_start_failed(container) {
            container.exited(None, None);
            self.remove(container);
            return Err(Error::new(earlier));
        }
        let Err(error) = self.try_start(container).await else { return Ok(()) };
        let reason = error.message().to_owned();
        let stopped = self.closing() || container.phase() == Phase::Draining;
        if !stopped {
            container.enter(Phase::Starting, Some(reason.clone()));
        }
        self.kill(container).await;
        container.output.close();
        if stopped {
            // The task is no longer wanted, which is not a failure of the task.
            container.exited(Some(0), None);
            tracing::info!("task {}: {reason}", container.name);
        } else {
            container.exited(None, Some(reason.clone()));
            self.note_failure(container, Duration::ZERO);
            self.keep_output(container);
            tracing::warn!("task {} failed to start: {}", container.name, with_output(&reason, container));
        }
        self.clear(container);
        Err(Error::new(with_output(&reason, container)))
    }

    /// After a failed start with a platform, MiniStack repeats the start without one: the answer is the same.
    fn same_start_failed(&self, container: &Container) -> Option<String> {
        let others = self.list();
        let same = others.iter().find(|other| {
            other.id != container.id
                && other.name == container.name
                && other.image.digest == container.image.digest
                && other.phase() == Phase::Exited
        })?;
        let reason = same.state.borrow().reason.clone();
        let reason = reason.unwrap_or_else(|| stopped_early().message().to_owned());
        Some(with_output(&reason, same))
    }

    async fn try_start(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        container.enter(Phase::Starting, None);
        self.wait_turn(container).await?;
        let placement = match &container.task {
            Some(task) => self.cloud.placement(task).await?,
            None => Placement::default(),
        };
        if let Some(service) = &placement.service {
            // It is set once, by the only start.
            let _ = container.service.set(service.clone());
        }
        self.balancer.faults().started(container.address.into(), container.names());
        self.launch(container, &placement).await?;
        if self.closing() || container.phase() == Phase::Draining {
            return Err(stopped_early());
        }
        self.become_healthy(container, &placement).await?;
        if !container.became_healthy() {
            // A task of no service can end as soon as its work is done.
            if container.phase() == Phase::Exited && placement.service.is_none() {
                return Ok(());
            }
            return Err(if container.phase() == Phase::Exited { exited_early(container) } else { stopped_early() });
        }
        tracing::info!("task {} is healthy at {}", container.name, container.address);
        for check in placement.checks {
            tokio::spawn(Arc::clone(self).monitor(Arc::clone(container), check));
        }
        Ok(())
    }

    /// Starts the program and the task that supervises it.
    async fn launch(self: &Arc<Self>, container: &Arc<Container>, placement: &Placement) -> Result<()> {
        let settings = match &container.task {
            Some(task) => self.cloud.settings(task).await?,
            None => Settings::default(),
        };
        if let Some(outside) = &self.outside {
            return self.launch_outside(outside, container, settings).await;
        }
        let network = self.network(container.address).await?;
        let checked = placement.checks.iter().map(|check| check.port);
        let ports = checked.chain(container.image.ports()).chain(settings.ports.iter().copied());
        for port in ports.collect::<BTreeSet<u16>>() {
            if let Err(error) = network.publish(SocketAddr::from((container.address, port))) {
                tracing::info!("port {port} of task {} is not open outside: {error}", container.name);
            }
        }
        let mut helping = launch::launch(container, &settings, &network, &self.machine).await?;
        let capture = tokio::spawn({
            let (watched, child) = (Arc::clone(container), &mut helping.child);
            let streams = (child.stdout.take(), child.stderr.take());
            async move { launch::capture(streams, &watched).await }
        });
        let watched = settings.task.memory.filter(|_| self.machine.isolation.user_namespace());
        // It is set once, by the only start.
        let _ = container.settings.set(settings);
        let event = tokio::time::timeout(START_LIMIT, helping.event()).await;
        let event =
            event.map_err(|_| Error::new(format!("the container was not there after {} s", START_LIMIT.as_secs())))?;
        let process = match event? {
            Some(ContainerEvent::Started(pid)) => u32::try_from(pid).ok().and_then(ProcessId::of),
            Some(ContainerEvent::Failed(reason)) => return Err(Error::new(reason)),
            other => return Err(Error::new(format!("the task ended before it was started ({other:?})"))),
        };
        // A program that has ended already has no process; the helper reports its end.
        if let Some(process) = process {
            self.ledger.started(process, &container.name);
        }
        container.state.send_modify(|state| {
            state.process = process;
            state.started = Some(Timestamp::now());
            state.since = Some(Instant::now());
        });
        // A single container is watched by its helper.
        if let Some(limit) = watched
            && self.running(container.address).len() == 2
        {
            tokio::spawn(Arc::clone(self).watch_memory(container.address, limit));
        }
        let (engine, watched) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move {
            let status = supervise(&mut helping, &watched).await;
            if let Some(process) = process {
                engine.ledger.ended(process);
            }
            if tokio::time::timeout(LAST_OUTPUT, capture).await.is_err() {
                tracing::debug!("{} still has its output open", watched.name);
            }
            engine.after_exit(&watched, status);
        });
        Ok(())
    }

    /// The network of the task with this address.
    async fn network(&self, address: Ipv4Addr) -> Result<Arc<TaskNetwork>> {
        let _creating = self.creating_network.lock().await;
        if let Some(network) = network::find(address) {
            return Ok(network);
        }
        let network = TaskNetwork::create(self.machine.isolation, self.machine.pasta.as_ref(), &self.upstream).await?;
        for (inside, outside) in &self.provided {
            network
                .provide(*inside, *outside)
                .await
                .map_err(|error| Error::new(format!("cannot open {inside} for {outside} in a task: {error}")))?;
        }
        network::register(address, &network);
        Ok(network)
    }

    /// The running containers of a task, with their processes 1.
    fn running(&self, address: Ipv4Addr) -> Vec<(Arc<Container>, i32)> {
        let of_task = self.list().into_iter().filter(|found| found.address == address);
        let with_process = of_task.filter_map(|found| {
            let process = found.state.borrow().process?;
            Some((found, process.pid))
        });
        with_process.collect()
    }

    /// Ends the largest container of a task whose containers together use too much memory, as the kernel does with a
    /// control group. Ends when the task has a single container.
    async fn watch_memory(self: Arc<Self>, address: Ipv4Addr, limit: u64) {
        loop {
            tokio::time::sleep(LOOK_AT_MEMORY).await;
            let running = self.running(address);
            if running.len() < 2 {
                return;
            }
            let measured = tokio::task::spawn_blocking(move || {
                running.into_iter().map(|(container, pid)| (memory::of(pid), container)).collect::<Vec<_>>()
            });
            let Ok(measured) = measured.await else { return };
            if measured.iter().map(|(used, _)| used).sum::<u64>() > limit
                && let Some((_, largest)) = measured.into_iter().max_by_key(|(used, _)| *used)
            {
                largest.will_end(OUT_OF_MEMORY);
                self.kill(&largest).await;
            }
        }
    }

    /// Waits for the delay after earlier failures of the same task definition.
    async fn wait_turn(&self, container: &Container) -> Result<()> {
        let delay = lock(&self.backoff).delay(&container.kind(), Instant::now());
        let until = Instant::now() + delay;
        while Instant::now() < until {
            self.still_wanted(container).await?;
            tokio::time::sleep((until - Instant::now()).min(WANTED_EVERY)).await;
        }
        self.still_wanted(container).await
    }

    async fn still_wanted(&self, container: &Container) -> Result<()> {
        let wanted = match &container.task {
            Some(task) => self.cloud.wanted(task).await,
            None => true,
        };
        if wanted && !self.closing() {
            return Ok(());
        }
        container.enter(Phase::Draining, None);
        Err(stopped_early())
    }

    async fn become_healthy(&self, container: &Container, placement: &Placement) -> Result<()> {
        if placement.service.is_none() {
            return Ok(());
        }
        let own_port;
        let checks = if placement.checks.is_empty() {
            own_port = container.image.ports().into_iter().map(accepts).collect::<Vec<_>>();
            &own_port
        } else {
            &placement.checks
        };
        let budget = startup_budget(placement.grace, checks);
        let deadline = Instant::now() + budget;
        let mut asked = Instant::now();
        let mut pause = PROBE_FIRST;
        for check in checks {
            loop {
                let sick = tokio::select! {
                    _ = container.ended() => return Err(exited_early(container)),
                    probed = check.probe(container.address, self.balancer.faults()) => match probed {
                        Ok(()) => break,
                        Err(sick) => sick,
                    },
                };
                if Instant::now() >= deadline {
                    return Err(Error::new(unhealthy(check, container, &format!("{sick} for {} s", budget.as_secs()))));
                }
                if asked.elapsed() >= WANTED_EVERY {
                    asked = Instant::now();
                    self.still_wanted(container).await?;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PROBE_EVERY);
            }
        }
        Ok(())
    }

    /// Checks a healthy task repeatedly and stops it if it stays unhealthy, as ECS does; MiniStack then replaces it.
    async fn monitor(self: Arc<Self>, container: Arc<Container>, check: HealthCheck) {
        let mut failures = 0;
        while container.phase() == Phase::Healthy {
            tokio::select! {
                _ = container.ended() => return,
                () = tokio::time::sleep(check.interval) => {}
            }
            match check.probe(container.address, self.balancer.faults()).await {
                Ok(()) => failures = 0,
                Err(_) if container.phase() != Phase::Healthy => return,
                Err(sick) => {
                    failures += 1;
                    tracing::info!("task {}: {} {sick}", container.name, check.describe(container.address));
                    if failures >= check.unhealthy_threshold {
                        let reason = unhealthy(&check, &container, &format!("{sick}, {failures} times in a row"));
                        tracing::warn!("task {}: {reason}", container.name);
                        container.enter(Phase::Unhealthy, Some(reason));
                        self.kill(&container).await;
                        return;
                    }
                }
            }
        }
    }

    /// Stops a container as ECS stops a task: drain, SIGTERM, and SIGKILL after `patience`.
    pub(super) async fn stop(&self, container: &Arc<Container>, patience: Duration) {
        let was = container.phase();
        if was == Phase::Exited || !container.enter(Phase::Draining, None) {
            return;
        }
        if was == Phase::Healthy && !self.closing() {
            self.drain(container).await;
        }
        let process = container.state.borrow().process;
        let Some(process) = process else {
            // It has no process yet. Its start notices the stop and ends it.
            if was == Phase::Created {
                container.exited(Some(0), None);
            } else if tokio::time::timeout(patience.max(WANTED_EVERY * 2), container.ended()).await.is_err() {
                tracing::warn!("the start of task {} did not give up in time", container.name);
            }
            return;
        };
        let own = container.settings.get().and_then(|settings| settings.stop_timeout);
        let patience = own.filter(|_| !self.closing()).unwrap_or(patience);
        self.signal(container, process, stop_signal(container)).await;
        if tokio::time::timeout(patience, container.ended()).await.is_err() {
            tracing::warn!("task {} did not end within {} s of its signal", container.name, patience.as_secs());
            self.kill(container).await;
        }
    }

    /// Waits until a container gets no new request and has finished those in progress. ECS deregisters a task before it
    /// stops it.
    async fn drain(&self, container: &Container) {
        if !self.balancer.drained(container.address.into()).await {
            tracing::warn!("{} is stopped with requests in progress", container.name);
        }
    }

    /// Kills the process of a container, if it has one.
    pub(super) async fn kill(&self, container: &Container) {
        let process = container.state.borrow().process;
        if let Some(process) = process {
            self.signal(container, process, Signal::KILL).await;
            container.ended().await;
        }
    }

    async fn signal(&self, container: &Container, process: ProcessId, signal: Signal) {
        match &self.outside {
            Some(outside) => outside.signal(container, signal).await,
            None => process.signal(signal),
        }
    }

    /// Ends tasks that faults kill, until the sender of the faults is dropped.
    pub(crate) async fn end_those_told(self: Arc<Self>, mut deaths: UnboundedReceiver<(IpAddr, Death)>) {
        while let Some((address, death)) = deaths.recv().await {
            let meant =
                |found: &Arc<Container>| found.phase() == Phase::Healthy && IpAddr::from(found.address) == address;
            for container in self.list().into_iter().filter(meant) {
                tokio::spawn(Arc::clone(&self).end_by(container, death));
            }
        }
    }

    async fn end_by(self: Arc<Self>, container: Arc<Container>, death: Death) {
        match death {
            Death::OutOfMemory => container.will_end(OUT_OF_MEMORY),
            // The kernel does not deliver this signal to process 1 of a container, which cannot abort itself either.
            Death::Abort => container.will_exit(128 + Signal::ABORT.as_raw()),
        }
        self.kill(&container).await;
    }

    /// Handles the end of the process, for any reason.
    pub(super) fn after_exit(self: &Arc<Self>, container: &Container, exit_code: Option<i32>) {
        let before = container.state.borrow().clone();
        container.output.close();
        let unasked = matches!(before.phase, Phase::Starting | Phase::Healthy);
        let reason = (unasked && exit_code != Some(0)).then(|| exited_with(before.exit_code.or(exit_code)));
        container.exited(exit_code, reason);
        if matches!(before.phase, Phase::Healthy | Phase::Unhealthy) && before.started.is_some() && !self.closing() {
            let lived = before.since.map(|since| since.elapsed()).unwrap_or_default();
            self.note_failure(container, lived);
        }
        self.clear(container);
    }

    /// Deletes the files of an ended container, and its network if it was the last of its task.
    fn clear(&self, container: &Container) {
        strip(&container.dir);
        let last = |other: &Arc<Container>| other.address != container.address || other.phase() == Phase::Exited;
        if self.list().iter().all(last) {
            network::release(container.address);
        }
    }

    /// Writes the output of a failed start to the log group of the task, because people look there first.
    fn keep_output(self: &Arc<Self>, container: &Container) {
        let Some(task) = container.task.clone() else { return };
        let (lines, engine) = (container.output.tail(1000), Arc::clone(self));
        if lines.is_empty() {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = engine.cloud.put_output(&task, lines).await {
                tracing::warn!("{error}");
            }
        });
    }
}

/// A reason with the last words of the task.
pub(super) fn with_output(reason: &str, container: &Container) -> String {
    match container.output.tail(LINES_IN_MESSAGE) {
        lines if lines.is_empty() => reason.to_owned(),
        // The output is the cause.
        lines if reason.starts_with(EXITED) => format!("{reason}: {}", lines.join(" | ")),
        lines => format!("{reason}; last output: {}", lines.join(" | ")),
    }
}

/// The reason for the end of a program. The adapter of MiniStack reads the code from it.
fn exited_with(code: Option<i32>) -> String {
    code.map_or_else(|| format!("{EXITED}an unknown code"), |code| format!("{EXITED}code {code}"))
}

fn stopped_early() -> Error {
    Error::new("the task was stopped while it was starting")
}

fn exited_early(container: &Container) -> Error {
    let state = container.state.borrow();
    Error::new(state.reason.clone().unwrap_or_else(|| exited_with(state.exit_code)))
}

fn accepts(port: u16) -> HealthCheck {
    HealthCheck {
        target_group: String::new(),
        port,
        path: None,
        protocol: Protocol::default(),
        matcher: Matcher::parse("200"),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
    }
}

fn unhealthy(check: &HealthCheck, container: &Container, what: &str) -> String {
    let asked = check.describe(container.address);
    if check.target_group.is_empty() {
        return format!("the task does not listen on the port that its image exposes ({asked} {what})");
    }
    format!("failed ELB health checks in target-group {} (health check {asked} {what})", check.target_group)
}

/// The stop signal of the image; SIGTERM if it names none or an unknown one.
fn stop_signal(container: &Container) -> Signal {
    let named = container.image.config.stop_signal.as_deref().unwrap_or("SIGTERM");
    let number = named.parse().ok().or_else(|| {
        let full = if named.starts_with("SIG") { named.to_owned() } else { format!("SIG{named}") };
        full.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
    });
    number.and_then(Signal::from_named_raw).unwrap_or(Signal::TERM)
}

/// Follows a container to its end; returns its exit code.
async fn supervise(helping: &mut Helping, container: &Container) -> Option<i32> {
    loop {
        match helping.event().await {
            Ok(Some(ContainerEvent::OutOfMemory)) => container.will_end(OUT_OF_MEMORY),
            Ok(Some(ContainerEvent::Warning(text))) => tracing::warn!("task {}: {text}", container.name),
            Ok(Some(event)) => tracing::warn!("task {}: {event:?} out of turn", container.name),
            Ok(None) => break,
            Err(error) => {
                tracing::warn!("task {}: {error}", container.name);
                break;
            }
        }
    }
    helping.child.wait().await.ok().map(exit_code)
}

/// The convention of shells: 128 plus the signal number for a process that a signal ended.
fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
