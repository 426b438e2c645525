//! The daemon behind `local-cloud up`: starts MiniStack and serves the endpoint, the engine, and the load balancer. At
//! the end, it stops everything that it started.

use crate::aws::Cloud;
use crate::balancer::{self, Balancer};
use crate::control;
use crate::engine::{self, AddressPool, Engine};
use crate::error::{Context, Error, Result};
use crate::gateway::{self, Gateway};
use crate::instance::{Forward, Layout, Phase, ProcessLedger, Record};
use crate::ministack::{self, Settings};
use crate::process::{ProcessId, boot_id, end_stragglers};
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

/// Interval between checks whether the daemon is still needed.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// The options that `up` passes to the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) layout: Layout,
    pub(crate) python: PathBuf,
    pub(crate) endpoint_port: u16,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) region: String,
    /// The ports of services on this machine that tasks can reach.
    pub(crate) host_ports: Vec<u16>,
    /// The process whose end stops the daemon.
    pub(crate) owner: Option<ProcessId>,
}

/// Runs until it receives a stop signal or MiniStack ends.
pub(crate) async fn serve(options: Options) -> Result<()> {
    // Closing the terminal must not stop the local cloud. The call fails only if the process is a leader already.
    let _ = rustix::process::setsid();
    let layout = options.layout.clone();
    let _lock = lock(&layout)?;
    let daemon = ProcessId::current().ok_or_else(|| Error::new("cannot read /proc: the local cloud needs Linux"))?;
    let addresses = AddressPool::claim()?;
    let mut record = Record {
        boot: boot_id(),
        daemon,
        endpoint_port: options.endpoint_port,
        forwards: options.forwards.clone(),
        nodes: vec![Ipv4Addr::LOCALHOST, addresses.second_node()],
        region: options.region.clone(),
        isolation: None,
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
    let _ = std::fs::remove_file(layout.socket());
    let _ = std::fs::remove_file(layout.control_socket());
    outcome
}

async fn run(options: &Options, addresses: AddressPool, record: &mut Record) -> Result<()> {
    let layout = &options.layout;
    let mut stop = Stop::watch(options)?;
    let endpoint = gateway::bind(options.endpoint_port).await?;
    record.endpoint_port = endpoint.local_addr().context(|| "cannot read the address of the endpoint".into())?.port();
    let mut listeners = Vec::new();
    for wanted in &options.forwards {
        listeners.push(balancer::bind(*wanted, &record.nodes).await?);
    }
    record.forwards = listeners.iter().map(|(_, bound)| *bound).collect();

    let port = free_port()?;
    let behind = format!("http://127.0.0.1:{port}");
    let ledger = Arc::new(ProcessLedger::new(layout));
    let cloud = Cloud::new(&behind, &record.region);
    let (faults, deaths) = TaskFaults::new();
    let balancer = Balancer::new(&behind, faults);
    let reachable = SocketAddr::from((Ipv4Addr::LOCALHOST, record.endpoint_port));
    let engine = Engine::new(
        layout,
        behind,
        (reachable, &options.host_ports),
        cloud.clone(),
        Arc::clone(&balancer),
        Arc::clone(&ledger),
        addresses,
    )
    .await?;
    let engine = Arc::new(engine);
    record.isolation = Some(engine.isolation());
    tokio::spawn(Arc::clone(&engine).end_those_told(deaths));
    tokio::spawn(engine::serve(engine::bind(&layout.socket())?, Arc::clone(&engine)));

    let settings = Settings {
        python: &options.python,
        port,
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
        ready = ministack::ready(&mut child, port, layout) => ready.map(|()| true),
        () = stop.asked() => Ok(false),
    };
    if matches!(ready, Ok(true)) {
        let gateway = Gateway::new(port, Arc::clone(&balancer));
        tokio::spawn(control::serve(engine::bind(&layout.control_socket())?, Arc::clone(&gateway)));
        tokio::spawn(gateway.serve(endpoint));
        tokio::spawn(Arc::clone(&balancer).follow());
        tokio::spawn(balancer::publish(Arc::clone(&balancer), cloud));
        for (nodes, bound) in listeners {
            for (node, listener) in nodes.into_iter().enumerate() {
                tokio::spawn(balancer::serve(listener, node, bound.listener, Arc::clone(&balancer)));
            }
        }
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
    ended.map_or(Ok(()), Err)
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
            loop {
                tokio::time::sleep(LOOK_AROUND).await;
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
    let path = layout.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.context(|| format!("cannot open {}", path.display()))?;
    file.try_lock().map_err(|error| {
        Error::new(format!("the state directory {} is in use by another local cloud: {error}", layout.dir().display()))
            .hint("local-cloud down, or another directory: --state DIR")
    })?;
    Ok(file)
}

/// A free port for MiniStack; only the gateway needs it.
fn free_port() -> Result<u16> {
    let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).context(|| "no port of 127.0.0.1 is free".into())
}
