//! The daemon behind `local-cloud up`: starts MiniStack and serves the endpoint, the engine, and the load balancer. At
//! the end, it stops everything that it started.

use crate::access::Secret;
use crate::authority::Authority;
use crate::aws::Cloud;
use crate::balancer::{self, Balancer};
use crate::control;
use crate::engine::{self, AddressPool, Engine, EngineKind, TaskOptions};
use crate::error::{Context, Error, Result};
use crate::gateway::{self, Caller, Gateway};
use crate::http_client;
use crate::instance::{Forward, Layout, Phase, ProcessLedger, Record};
use crate::ministack::{self, Settings};
use crate::private_file;
use crate::process::{ProcessId, adopt_orphans, boot_id, end_children, end_stragglers, ended_children, reap};
use crate::task_fault::TaskFaults;
use rustix::process::Signal;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// Time limit for MiniStack to stop before it is killed.
const MINISTACK_PATIENCE: Duration = Duration::from_secs(5);

/// Time limit for the processes that are left at the end to end.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);

/// The number of such checks between two reads of the ends of orphans.
const CHECKS_PER_REAP: u32 = 10;

/// Interval between checks whether the daemon is still needed.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// The default port of the endpoint.
pub(crate) const ENDPOINT_PORT: u16 = 4566;

/// The default forwarded ports: of prod and of dev.
pub(crate) const FORWARDS: [Forward; 2] =
    [Forward { local: 8080, listener: 80 }, Forward { local: 8081, listener: 81 }];

/// The options that `up` passes to the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) layout: Layout,
    pub(crate) python: PathBuf,
    /// The port of the endpoint; if absent, the default port, or a free port if that is in use.
    pub(crate) endpoint_port: Option<u16>,
    /// The forwarded ports; if there are none, the default ones, or free ports in place of those that are in use.
    pub(crate) forwards: Vec<Forward>,
    pub(crate) region: String,
    /// What runs the containers of tasks.
    pub(crate) engine: EngineKind,
    /// The ports of services on this machine that tasks can reach.
    pub(crate) host_ports: Vec<u16>,
    /// Whether tasks reach other networks.
    pub(crate) internet: bool,
    /// The process whose end stops the daemon.
    pub(crate) owner: Option<ProcessId>,
}

/// Runs until it receives a stop signal or MiniStack ends.
pub(crate) async fn serve(options: Options) -> Result<()> {
    // Closing the terminal must not stop the local cloud. The call fails only if the process is a leader already.
    let _ = rustix::process::setsid();
    let layout = options.layout.clone();
    let _lock = lock(&layout)?;
    adopt_orphans()?;
    let daemon = ProcessId::current().ok_or_else(|| Error::new("cannot read /proc: the local cloud needs Linux"))?;
    let addresses = AddressPool::claim()?;
    let mut record = Record {
        boot: boot_id(),
        daemon,
        endpoint_port: options.endpoint_port.unwrap_or(ENDPOINT_PORT),
        forwards: options.forwards.clone(),
        nodes: vec![Ipv4Addr::LOCALHOST, addresses.second_node()],
        region: options.region.clone(),
        isolation: None,
        internet: None,
        phase: Phase::Starting,
    };
    record.write(&layout)?;
    let outcome = run(&options, addresses, &mut record).await;
    if let Err(error) = &outcome {
        tracing::error!("{error}");
        record.phase = Phase::Failed(error.to_string());
        record.write(&layout)?;
    } else {
        let _ = std::fs::remove_file(layout.record());
    }
    let _ = std::fs::remove_file(layout.credentials());
    layout.remove_sockets();
    outcome
}

async fn run(options: &Options, addresses: AddressPool, record: &mut Record) -> Result<()> {
    let layout = &options.layout;
    let mut stop = Stop::watch(options)?;
    let endpoint = match options.endpoint_port {
        Some(port) => gateway::bind(port).await?,
        None => or_free(gateway::bind(ENDPOINT_PORT).await, || gateway::bind(0)).await?,
    };
    record.endpoint_port = endpoint.local_addr().context(|| "cannot read the address of the endpoint".into())?.port();
    let mut listeners = Vec::new();
    for wanted in &options.forwards {
        listeners.push(balancer::bind(*wanted, &record.nodes).await?);
    }
    if options.forwards.is_empty() {
        for default in FORWARDS {
            let bound = balancer::bind(default, &record.nodes).await;
            let free = Forward { local: 0, ..default };
            listeners.push(or_free(bound, || balancer::bind(free, &record.nodes)).await?);
        }
    }
    record.forwards = listeners.iter().map(|(_, bound)| *bound).collect();

    layout.make_socket_dir()?;
    let secret = Secret::new();
    secret.issue(Caller::Client).write(&layout.credentials())?;
    let behind = http_client::base(&layout.ministack_socket());
    let ledger = Arc::new(ProcessLedger::new(layout));
    let cloud = Cloud::new(&behind, &record.region);
    let (faults, deaths) = TaskFaults::new();
    let balancer = Balancer::new(&behind, faults, Authority::open(layout)?);
    let tasks = TaskOptions {
        engine: options.engine,
        endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, record.endpoint_port)),
        host_ports: &options.host_ports,
        internet: options.internet,
    };
    let engine = Engine::new(
        layout,
        behind.clone(),
        tasks,
        cloud.clone(),
        Arc::clone(&balancer),
        Arc::clone(&ledger),
        addresses,
    )
    .await?;
    let engine = Arc::new(engine);
    record.isolation = Some(engine.isolation());
    record.internet = Some(engine.internet());
    tokio::spawn(Arc::clone(&engine).end_those_told(deaths));
    tokio::spawn(engine::serve(engine::bind(&layout.socket())?, Arc::clone(&engine)));

    let settings = Settings {
        python: &options.python,
        secret: &secret,
        endpoint_port: record.endpoint_port,
        region: &record.region,
        forwards: &record.forwards,
        nodes: &record.nodes,
    };
    let mut child = ministack::spawn(&settings, layout)?;
    let process = child.id().and_then(ProcessId::of);
    if let Some(process) = process {
        ledger.started(process, "MiniStack");
    }
    let ready = tokio::select! {
        ready = ministack::ready(&mut child, layout) => ready.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    if matches!(ready, Ok(true)) {
        let gateway = Gateway::new(&behind, record.endpoint_port, secret, Arc::clone(&balancer));
        tokio::spawn(control::serve(engine::bind(&layout.control_socket())?, Arc::clone(&gateway)));
        tokio::spawn(gateway.serve(endpoint));
        tokio::spawn(Arc::clone(&balancer).follow());
        tokio::spawn(balancer::publish(Arc::clone(&balancer), cloud));
        balancer.add_set(listeners);
        tokio::spawn(Arc::clone(&balancer).keep_a_spare(record.nodes.clone()));
        record.phase = Phase::Ready;
        record.write(layout)?;
        tracing::info!("ready at {}", record.endpoint());
    }
    let ended = match ready {
        Ok(false) => None,
        Err(error) => Some(error),
        Ok(true) => tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                Some(Error::new(format!("MiniStack ended unexpectedly ({status}):\n{}", ministack::log_tail(layout)))
                    .hint(format!("full output: {}; restart: local-cloud up", layout.ministack_log().display())))
            }
            () = stop.asked() => None,
        },
    };
    tracing::info!("ending");
    engine.close().await;
    end_ministack(&mut child, process).await;
    if let Some(process) = process {
        ledger.ended(process);
    }
    end_orphans().await;
    ended.map_or(Ok(()), Err)
}

/// The bound default port, or a free port if the default port is in use.
async fn or_free<T, F: Future<Output = Result<T>>>(bound: Result<T>, free: impl FnOnce() -> F) -> Result<T> {
    match bound {
        Ok(bound) => Ok(bound),
        Err(error) => {
            tracing::info!("selecting a free port: {}", error.message());
            free().await
        }
    }
}

/// Ends whatever is left of what tasks and functions started.
async fn end_orphans() {
    let deadline = tokio::time::Instant::now() + ORPHAN_PATIENCE;
    while !end_children() {
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!("processes that tasks or functions started do not end");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The events that stop the daemon: a signal, the end of the owner process, or the deletion of the state directory.
struct Stop {
    terminate: Signals,
    interrupt: Signals,
    owner: Option<ProcessId>,
    lock: PathBuf,
}

impl Stop {
    fn watch(options: &Options) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context(|| "cannot watch for SIGTERM".into())?,
            interrupt: signal(SignalKind::interrupt()).context(|| "cannot watch for SIGINT".into())?,
            owner: options.owner,
            lock: options.layout.lock(),
        })
    }

    async fn asked(&mut self) {
        let (owner, lock) = (self.owner, &self.lock);
        let alone = async {
            let (mut ended, mut checks) = (Vec::new(), 0_u32);
            loop {
                tokio::time::sleep(LOOK_AROUND).await;
                checks = checks.wrapping_add(1);
                if checks.is_multiple_of(CHECKS_PER_REAP) {
                    // A child that somebody waits for does not stay unread for so long.
                    let now = ended_children();
                    now.iter().filter(|pid| ended.contains(*pid)).for_each(|pid| reap(*pid));
                    ended = now;
                }
                if owner.is_some_and(|owner| !owner.alive()) {
                    return "its owner process (--owner-pid) has ended";
                }
                if !lock.exists() {
                    return "its state directory was deleted";
                }
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            why = alone => tracing::info!("{why}"),
        }
    }
}

async fn end_ministack(child: &mut Child, process: Option<ProcessId>) {
    let Some(process) = process else { return };
    process.signal_group(Signal::TERM);
    if tokio::time::timeout(MINISTACK_PATIENCE, child.wait()).await.is_err() {
        process.signal_group(Signal::KILL);
        let _ = child.wait().await;
    }
    // The functions that MiniStack runs are in its process group.
    end_stragglers(process.pid);
}

fn lock(layout: &Layout) -> Result<File> {
    let file = private_file::open(&layout.lock())?;
    file.try_lock().map_err(|error| {
        Error::new(format!("the state directory {} is in use by another local cloud: {error}", layout.dir().display()))
            .hint("local-cloud down, or another directory: --state DIR")
    })?;
    Ok(file)
}
