//! The daemon behind `local-cloud up`: it starts MiniStack, serves the engine and the forwarders, and ends what it started.

use crate::aws::Cloud;
use crate::engine::{self, Engine};
use crate::error::{Context, Error, Result};
use crate::forward::{self, Flights, MiniStackUpstream};
use crate::instance::{Forward, Layout, Phase, ProcessLedger, Record};
use crate::ministack::{self, Settings};
use crate::process::{ProcessId, boot_id, end_stragglers, port_owner};
use rustix::process::Signal;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

/// How long MiniStack may take to end before it is killed.
const MINISTACK_PATIENCE: Duration = Duration::from_secs(5);

/// What `up` asks of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) layout: Layout,
    pub(crate) python: PathBuf,
    pub(crate) endpoint_port: u16,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) region: String,
}

/// Runs until it is told to end, or until MiniStack ends.
pub(crate) async fn serve(options: Options) -> Result<()> {
    // A terminal that goes away must not take the local cloud along. It fails only for a leader already.
    let _ = rustix::process::setsid();
    let layout = options.layout.clone();
    let _lock = lock(&layout)?;
    let daemon = ProcessId::current().ok_or_else(|| Error::new("cannot read /proc: the local cloud needs Linux"))?;
    let mut record = Record {
        boot: boot_id(),
        daemon,
        endpoint_port: options.endpoint_port,
        forwards: options.forwards.clone(),
        region: options.region.clone(),
        phase: Phase::Starting,
    };
    record.write(&layout)?;
    let outcome = run(&options, &mut record).await;
    if let Err(error) = &outcome {
        tracing::error!("{error}");
        record.phase = Phase::Failed(error.to_string());
        record.write(&layout)?;
    } else {
        let _ = std::fs::remove_file(layout.record());
    }
    let _ = std::fs::remove_file(layout.socket());
    outcome
}

async fn run(options: &Options, record: &mut Record) -> Result<()> {
    let layout = &options.layout;
    let mut terminate = signal(SignalKind::terminate()).context(|| "cannot watch for SIGTERM".into())?;
    let mut interrupt = signal(SignalKind::interrupt()).context(|| "cannot watch for SIGINT".into())?;

    let mut listeners = Vec::new();
    for wanted in &options.forwards {
        listeners.push(forward::bind(*wanted).await?);
    }
    record.endpoint_port = free_port(options.endpoint_port)?;
    record.forwards = listeners.iter().map(|(_, bound)| *bound).collect();

    let ledger = Arc::new(ProcessLedger::new(layout));
    let cloud = Cloud::new(&record.endpoint(), &record.region);
    let flights = Flights::default();
    let engine = Engine::new(layout, record.endpoint(), cloud.clone(), flights.clone(), Arc::clone(&ledger)).await?;
    let engine = Arc::new(engine);
    tokio::spawn(engine::serve(engine::bind(&layout.socket())?, Arc::clone(&engine)));

    let settings = Settings {
        python: &options.python,
        port: record.endpoint_port,
        region: &record.region,
        forwards: &record.forwards,
    };
    let mut child = ministack::spawn(&settings, layout)?;
    let process = child.id().and_then(ProcessId::of);
    if let Some(process) = process {
        ledger.started(process, "MiniStack");
    }
    let ready = tokio::select! {
        ready = ministack::ready(&mut child, record.endpoint_port, layout) => ready.map(|()| true),
        _ = terminate.recv() => Ok(false),
        _ = interrupt.recv() => Ok(false),
    };
    if matches!(ready, Ok(true)) {
        let upstream = Arc::new(MiniStackUpstream::new(record.endpoint_port, &cloud, &record.forwards));
        for (listener, bound) in listeners {
            tokio::spawn(forward::serve(listener, bound.listener, Arc::clone(&upstream), flights.clone()));
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
                Some(Error::new(format!("MiniStack ended by itself ({status}):\n{}", ministack::log_tail(layout)))
                    .hint(format!("all of its output: {}; start again: local-cloud up", layout.ministack_log().display())))
            }
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
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

async fn end_ministack(child: &mut Child, process: Option<ProcessId>) {
    let Some(process) = process else { return };
    process.signal_group(Signal::TERM);
    if tokio::time::timeout(MINISTACK_PATIENCE, child.wait()).await.is_err() {
        process.signal_group(Signal::KILL);
        let _ = child.wait().await;
    }
    // Functions that MiniStack was running are in its group.
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

/// The port itself if it is free, or any free one for 0.
fn free_port(port: u16) -> Result<u16> {
    let bound = std::net::TcpListener::bind(("127.0.0.1", port)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| {
        let owner = port_owner(port).map(|owner| format!(" by {owner}")).unwrap_or_default();
        Error::new(format!("port 127.0.0.1:{port} is taken{owner}: {error}"))
            .hint("end what uses it, or choose another port: local-cloud up --endpoint-port PORT")
    })
}
