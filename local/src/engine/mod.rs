//! The container engine in place of Fargate: containers are processes, behind a minimal Docker Engine API.
//!
//! The ECS of MiniStack schedules, rolls out, and rolls back; it requests containers from this engine as from Docker.
//! `start` returns only when the task is healthy or has failed. It thus stands for Fargate and for the health check of
//! the load balancer: MiniStack registers a task in its target groups after `start` succeeds.

mod addresses;
mod api;
mod backoff;
mod container;
mod control_group;
mod credentials;
mod helper;
mod internet;
mod isolation;
mod launch;
mod lifecycle;
mod memory;
pub(crate) mod network;
mod output;
mod outside;
pub(crate) mod placement;
pub(crate) mod probe;
pub(crate) mod settings;
mod spec;
mod wire;

pub(crate) use addresses::AddressPool;
pub(crate) use api::{EngineStatus, STATUS_PATH, bind, serve};
pub(crate) use container::{Phase, TaskReport};
pub(crate) use helper::{Helper, run as run_helper};
pub(crate) use internet::Internet;
pub(crate) use isolation::{EngineKind, Isolation};
pub(crate) use outside::{HOST as OUTSIDE_HOST, remove_leftovers};

use crate::aws::Cloud;
use crate::balancer::Balancer;
use crate::error::{Context, Error, Result};
use crate::image::ImageStore;
use crate::instance::{Layout, ProcessLedger};
use backoff::Backoff;
use container::Container;
use isolation::Machine;
use oci_image::remove_tree;
use output::Output;
use outside::Outside;
use placement::TaskRef;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The number of failed tasks that `status` shows.
const FAILURES_KEPT: usize = 10;
/// The number of ended containers to keep; MiniStack removes those that it knows.
const ENDED_KEPT: usize = 30;
/// The number of removed containers whose output stays on disk, besides the failed ones that `status` shows.
const OUTPUTS_KEPT: usize = 30;
/// The output of a container in its directory.
const OUTPUT: &str = "output.log";

/// All containers of one instance, and the resources to run them.
#[derive(Debug)]
pub(crate) struct Engine {
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    failures: Mutex<VecDeque<TaskReport>>,
    pull_failures: Mutex<VecDeque<String>>,
    addresses: Mutex<AddressPool>,
    backoff: Mutex<Backoff>,
    images: ImageStore,
    cloud: Cloud,
    balancer: Arc<Balancer>,
    ledger: Arc<ProcessLedger>,
    machine: Machine,
    /// The URL of the socket of MiniStack.
    upstream: String,
    /// The directories of removed containers, which have only their output, oldest first.
    outputs: Mutex<VecDeque<PathBuf>>,
    /// The engine that runs the containers, if it is not this one itself.
    outside: Option<Arc<Outside>>,
    /// The addresses that tasks reach in their networks, and where these lead: the AWS endpoint, and services of this
    /// machine.
    provided: Vec<(SocketAddr, SocketAddr)>,
    /// Held to create the network of a task, which its containers share.
    creating_network: tokio::sync::Mutex<()>,
    containers_dir: PathBuf,
    next: AtomicU64,
    closing: AtomicBool,
}

/// The specification of a new container.
#[derive(Debug, Default)]
struct Wish {
    name: String,
    image: String,
    labels: BTreeMap<String, String>,
    env: Vec<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

/// What runs tasks, and what they reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskOptions<'a> {
    pub(crate) engine: EngineKind,
    /// The gateway.
    pub(crate) endpoint: SocketAddr,
    /// The ports of services on this machine.
    pub(crate) host_ports: &'a [u16],
    /// Whether they reach other networks.
    pub(crate) internet: bool,
}

impl Engine {
    /// An engine without containers for the MiniStack at `behind`.
    pub(crate) async fn new(
        layout: &Layout,
        behind: String,
        options: TaskOptions<'_>,
        cloud: Cloud,
        balancer: Arc<Balancer>,
        ledger: Arc<ProcessLedger>,
        addresses: AddressPool,
    ) -> Result<Self> {
        let containers_dir = layout.containers();
        remove_tree(&containers_dir).context(|| format!("cannot empty {}", containers_dir.display()))?;
        std::fs::create_dir_all(&containers_dir).context(|| format!("cannot create {}", containers_dir.display()))?;
        control_group::clean();
        let (machine, outside) = match options.engine {
            EngineKind::BuiltIn => (Machine::detect(&containers_dir, options.internet).await?, None),
            EngineKind::Docker => {
                let ports = std::iter::once(options.endpoint.port()).chain(options.host_ports.iter().copied());
                let ports: Vec<u16> = ports.collect();
                (Machine::of_engine(), Some(Arc::new(Outside::start(layout, &containers_dir, &ports).await?)))
            }
        };
        let services = options
            .host_ports
            .iter()
            .map(|port| (SocketAddr::from((network::HOST, *port)), SocketAddr::from((Ipv4Addr::LOCALHOST, *port))));
        Ok(Self {
            provided: [(options.endpoint, options.endpoint)].into_iter().chain(services).collect(),
            containers: Mutex::default(),
            failures: Mutex::default(),
            pull_failures: Mutex::default(),
            addresses: Mutex::new(if outside.is_some() { addresses.of_outside() } else { addresses }),
            backoff: Mutex::default(),
            images: ImageStore::new(&layout.images(), behind.clone())?,
            upstream: behind,
            cloud,
            balancer,
            ledger,
            machine,
            outputs: Mutex::default(),
            outside,
            creating_network: tokio::sync::Mutex::default(),
            containers_dir,
            next: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        })
    }

    /// The entries of `status`, oldest first: the containers, and the last tasks that failed.
    pub(crate) fn reports(&self) -> Vec<TaskReport> {
        let mut reports: Vec<TaskReport> = lock(&self.failures).iter().cloned().collect();
        reports.extend(self.list().iter().filter(|found| !found.failed()).map(|found| found.report()));
        reports.sort_by_key(|report| report.created);
        reports
    }

    fn pull_failures(&self) -> Vec<String> {
        lock(&self.pull_failures).iter().cloned().collect()
    }

    /// Pulls an image and returns its digest. Repeated failures are delayed, because MiniStack retries without a limit.
    async fn pull(&self, name: &str) -> Result<String> {
        let delay = lock(&self.backoff).delay(name, Instant::now());
        tokio::time::sleep(delay).await;
        match self.images.pull(name).await {
            Ok(image) => Ok(image.digest.clone()),
            Err(error) => {
                tracing::warn!("cannot pull {name}: {error}");
                lock(&self.backoff).failed(name, Duration::ZERO, Instant::now());
                let mut failures = lock(&self.pull_failures);
                failures.retain(|known| known != error.message());
                failures.push_back(error.message().to_owned());
                while failures.len() > FAILURES_KEPT {
                    failures.pop_front();
                }
                Err(error)
            }
        }
    }

    /// Stops every container without draining, because the load balancer stops too.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        let all: Vec<Arc<Container>> = lock(&self.containers).values().cloned().collect();
        let stops = all.iter().map(|container| self.stop(container, Duration::from_secs(2)));
        futures_util::future::join_all(stops).await;
        network::release_all();
        control_group::clean();
        if let Some(outside) = &self.outside {
            outside.close().await;
        }
    }

    /// What contains the tasks.
    pub(crate) fn isolation(&self) -> Isolation {
        self.machine.isolation
    }

    /// What tasks reach besides the local cloud.
    pub(crate) fn internet(&self) -> Internet {
        self.machine.internet.clone()
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn create(&self, wish: Wish) -> Result<Arc<Container>, CreateError> {
        let image = self.images.find(&wish.image).ok_or_else(|| CreateError::NoSuchImage(wish.image.clone()))?;
        let id = self.new_id();
        let task = TaskRef::from_labels(&wish.labels);
        let owner = task.as_ref().map_or(id.as_str(), |task| task.task.as_str());
        let address = lock(&self.addresses)
            .of(owner)
            .ok_or_else(|| CreateError::Other(Error::new("no free loopback address for another task")))?;
        let dir = self.containers_dir.join(&id[..12]);
        std::fs::create_dir_all(&dir)
            .context(|| format!("cannot create {}", dir.display()))
            .map_err(CreateError::Other)?;
        let output = Arc::new(Output::new(Some(&dir.join(OUTPUT))));
        let container = Arc::new(Container {
            id: id.clone(),
            name: wish.name,
            image,
            labels: wish.labels,
            env: wish.env,
            entrypoint: wish.entrypoint,
            cmd: wish.cmd,
            task,
            address,
            created: jiff::Timestamp::now(),
            dir,
            output,
            service: OnceLock::new(),
            settings: OnceLock::new(),
            state: Container::initial(),
        });
        lock(&self.containers).insert(id, Arc::clone(&container));
        self.prune();
        Ok(container)
    }

    /// An id as of Docker: 64 hexadecimal digits, of which the first twelve are unique.
    fn new_id(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let started = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default();
        let mixed = (started ^ number.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{mixed:016x}{number:048x}")
    }

    /// Finds a container by id, by the start of its id, or by name.
    fn find(&self, key: &str) -> Option<Arc<Container>> {
        let containers = lock(&self.containers);
        let by_prefix = || containers.values().find(|found| key.len() >= 12 && found.id.starts_with(key));
        let by_name = || containers.values().rev().find(|found| found.name == key.trim_start_matches('/'));
        containers.get(key).or_else(by_prefix).or_else(by_name).cloned()
    }

    fn list(&self) -> Vec<Arc<Container>> {
        lock(&self.containers).values().cloned().collect()
    }

    fn remove(&self, container: &Container) {
        let mut containers = lock(&self.containers);
        containers.remove(&container.id);
        let owner = container.task.as_ref().map_or(container.id.as_str(), |task| task.task.as_str());
        let shared = containers.values().any(|other| other.address == container.address);
        drop(containers);
        if !shared {
            network::release(container.address);
            lock(&self.addresses).release(owner);
            delete(container.volumes());
        }
        strip(&container.dir);
        self.keep_outputs(container.dir.clone());
    }

    /// Keeps the output of a removed container, and removes those of earlier ones: nothing grows with the number of tasks.
    /// The output of a failed task stays as long as `status` shows it.
    fn keep_outputs(&self, dir: PathBuf) {
        let shown: Vec<PathBuf> = lock(&self.failures).iter().map(|failure| failure.log.clone()).collect();
        let mut outputs = lock(&self.outputs);
        outputs.push_back(dir);
        let is_shown = |dir: &PathBuf| shown.contains(&dir.join(OUTPUT));
        let mut surplus = outputs.iter().filter(|dir| !is_shown(dir)).count().saturating_sub(OUTPUTS_KEPT);
        outputs.retain(|dir| {
            let stays = surplus == 0 || is_shown(dir);
            if !stays {
                surplus -= 1;
                delete(dir.clone());
            }
            stays
        });
    }

    fn prune(&self) {
        let mut ended: Vec<Arc<Container>> = self.list();
        ended.retain(|found| found.phase() == Phase::Exited);
        ended.sort_by_key(|found| found.created);
        let surplus = ended.len().saturating_sub(ENDED_KEPT);
        for container in &ended[..surplus] {
            self.remove(container);
        }
    }

    /// Records a failure for `status` and for the delay of further starts.
    fn note_failure(&self, container: &Container, lived: Duration) {
        lock(&self.backoff).failed(&container.kind(), lived, Instant::now());
        let mut failures = lock(&self.failures);
        failures.push_back(container.report());
        while failures.len() > FAILURES_KEPT {
            failures.pop_front();
        }
    }
}

/// Deletes the files of a container in the background, because an image can have many. Its output stays, for diagnosis.
fn strip(dir: &Path) {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name() != OUTPUT {
                remove(&entry.path());
            }
        }
    });
}

/// Deletes a directory in the background.
fn delete(dir: PathBuf) {
    tokio::task::spawn_blocking(move || remove(&dir));
}

/// Deletes a directory. One at a time, because the same one can be asked for twice.
fn remove(path: &Path) {
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = lock(&ONE);
    if let Err(error) = remove_tree(path) {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

/// Why a container could not be created.
#[derive(Debug)]
enum CreateError {
    NoSuchImage(String),
    Other(Error),
}

/// Ignores poisoning: the mutex guards plain data, which stays usable when another task panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
