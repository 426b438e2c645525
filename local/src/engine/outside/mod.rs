//! A container engine of this machine, Docker or Podman, that runs the containers of the tasks in place of `libcontainer`.
//! It is reached through the Docker Engine API: <https://docs.docker.com/reference/api/engine/>.
//!
//! The tasks have a network of this engine with the addresses 169.254.170.x. This machine has the address 169.254.170.2
//! there. The SDKs of AWS accept credentials over HTTP from no other address except loopback:
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.

mod image;
mod run;
mod specification;

use super::network::{self, HOST_NAME};
use crate::error::{Context, Error, Result, chain};
use crate::instance::Layout;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptions, RemoveVolumeOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::net::sockopt::set_ip_freebind;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// The address of this machine in the network of the tasks.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const SUBNET: &str = "169.254.170.0/24";
/// The name of the network. There is one on a machine, because there is one such address.
const NETWORK: &str = "local-cloud";
/// The label of everything that belongs to a local cloud. Its value is the state directory.
const LABEL: &str = "local-cloud.state";
/// Time limit for a call, in seconds.
const CALL_LIMIT: u64 = 120;
/// Longer than a task runs.
const NO_LIMIT: Duration = Duration::from_hours(100 * 365 * 24);
/// The sockets of an engine that is not named by `DOCKER_HOST`.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];
const BACKLOG: u32 = 1024;

/// A connection to the engine, and what the local cloud has there.
#[derive(Debug)]
pub(super) struct Outside {
    docker: Docker,
    /// The same without a time limit.
    patient: Docker,
    /// The value of the label.
    owner: String,
    /// Where images are written before they are loaded.
    folder: PathBuf,
    /// Names of images in the engine by their digest.
    loaded: tokio::sync::Mutex<BTreeMap<String, String>>,
    /// The container of each task that has its network.
    networks: Mutex<BTreeMap<Ipv4Addr, String>>,
    /// The endpoint inside and outside.
    endpoint: (String, String),
}

impl Outside {
    /// Connects to the engine, removes what an earlier daemon left there, and creates the network of the tasks. Tasks reach
    /// these ports of this machine, of which the first one is the endpoint.
    pub(super) async fn start(layout: &Layout, folder: &Path, ports: &[u16]) -> Result<Self> {
        let docker = connect().await?;
        let owner = layout.dir().display().to_string();
        remove_all(&docker, &owner).await?;
        create_network(&docker, &owner).await?;
        for port in ports {
            provide(*port)?;
        }
        let endpoint = ports.first().copied().unwrap_or_default();
        Ok(Self {
            patient: docker.clone().with_timeout(NO_LIMIT),
            docker,
            owner,
            folder: folder.to_owned(),
            loaded: tokio::sync::Mutex::default(),
            networks: Mutex::default(),
            endpoint: (format!("http://{HOST}:{endpoint}"), format!("http://{}:{endpoint}", Ipv4Addr::LOCALHOST)),
        })
    }

    /// Removes everything that the local cloud has in the engine.
    pub(super) async fn close(&self) {
        if let Err(error) = remove_all(&self.docker, &self.owner).await {
            tracing::warn!("{error}");
        }
    }
}

/// Removes what the daemon of a state directory has left in the engine.
pub(crate) async fn remove_leftovers(layout: &Layout) -> Result<()> {
    remove_all(&connect().await?, &layout.dir().display().to_string()).await
}

/// The engine that `DOCKER_HOST` names, or else the first one with a usual socket.
async fn connect() -> Result<Docker> {
    let hint = "start Docker or Podman (systemctl start docker, or podman.socket), or name its socket: \
                DOCKER_HOST=unix:///PATH. Without --engine docker, the local cloud needs neither";
    let socket = match std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => path.to_owned(),
            None => {
                return Err(Error::new(format!("DOCKER_HOST={host} is not an engine of this machine"))
                    .hint("the tasks must be on this machine: use a Unix socket, DOCKER_HOST=unix:///PATH"));
            }
        },
        None => match SOCKETS.iter().find(|path| Path::new(path).exists()) {
            Some(path) => (*path).to_owned(),
            None => {
                return Err(Error::new(format!(
                    "there is no container engine: {} do not exist",
                    SOCKETS.join(" and ")
                ))
                .hint(hint));
            }
        },
    };
    let failed = |error: &bollard::errors::Error| {
        Error::new(format!("cannot use the container engine at {socket}: {}", chain(error))).hint(hint)
    };
    let docker = Docker::connect_with_unix(&socket, CALL_LIMIT, API_DEFAULT_VERSION).map_err(|error| failed(&error))?;
    let docker = docker.negotiate_version().await.map_err(|error| failed(&error))?;
    let info = docker.info().await.map_err(|error| failed(&error))?;
    if info.security_options.iter().flatten().any(|option| option.contains("rootless")) {
        return Err(Error::new(format!("the container engine at {socket} runs without root rights")).hint(
            "its networks cannot be reached from outside: use an engine with root rights, or no --engine docker",
        ));
    }
    Ok(docker)
}

async fn create_network(docker: &Docker, owner: &str) -> Result<()> {
    let request = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels(owner)),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(SUBNET.to_owned()),
                gateway: Some(HOST.to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    };
    let created = docker.create_network(request).await;
    created.map(drop).map_err(|error| {
        Error::new(format!("cannot create the network {NETWORK} ({SUBNET}) in the container engine: {}", chain(&error)))
            .hint("one local cloud at a time can use an engine: stop the other one (local-cloud down --state DIR); if none \
                   runs: docker network rm local-cloud, or podman network rm local-cloud")
    })
}

fn labels(owner: &str) -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), owner.to_owned())])
}

/// Opens a port of this machine for the tasks. The interface can be missing until the first container starts.
fn provide(port: u16) -> Result<()> {
    let (inside, outside) = (SocketAddr::from((HOST, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let what = || format!("cannot listen on {inside} for the tasks");
    let socket = TcpSocket::new_v4().context(what)?;
    set_ip_freebind(&socket, true).map_err(std::io::Error::from).context(what)?;
    socket.set_reuseaddr(true).context(what)?;
    socket.bind(inside).context(what)?;
    let listener = socket.listen(BACKLOG).context(what)?;
    tokio::spawn(network::relay(listener, move || TcpStream::connect(outside)));
    Ok(())
}

/// Removes the containers, the volumes, and the network with the label of a local cloud, and its images.
async fn remove_all(docker: &Docker, owner: &str) -> Result<()> {
    let failed = |what: &str, error: &bollard::errors::Error| {
        Error::new(format!("cannot remove {what} of the local cloud from the container engine: {}", chain(error)))
    };
    let ours = HashMap::from([("label".to_owned(), vec![format!("{LABEL}={owner}")])]);
    let listed = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
    let containers = docker.list_containers(Some(listed)).await.map_err(|error| failed("the containers", &error))?;
    for id in containers.into_iter().filter_map(|container| container.id) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        unless_missing(docker.remove_container(&id, Some(options)).await)
            .map_err(|error| failed("a container", &error))?;
    }
    let listed = ListVolumesOptionsBuilder::default().filters(&ours).build();
    let volumes = docker.list_volumes(Some(listed)).await.map_err(|error| failed("the volumes", &error))?;
    for volume in volumes.volumes.unwrap_or_default() {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        unless_missing(docker.remove_volume(&volume.name, Some(options)).await)
            .map_err(|error| failed("a volume", &error))?;
    }
    let images = HashMap::from([("reference".to_owned(), vec![image::repository(owner)])]);
    let listed = ListImagesOptionsBuilder::default().filters(&images).build();
    let images = docker.list_images(Some(listed)).await.map_err(|error| failed("the images", &error))?;
    for tag in images.into_iter().flat_map(|image| image.repo_tags) {
        let removed = docker.remove_image(&tag, None::<RemoveImageOptions>, None).await;
        unless_missing(removed.map(drop)).map_err(|error| failed("an image", &error))?;
    }
    let networks = docker.list_networks(None).await.map_err(|error| failed("the network", &error))?;
    let is_ours = |labels: &HashMap<String, String>| labels.get(LABEL).is_some_and(|value| value == owner);
    if networks.iter().any(|found| found.name.as_deref() == Some(NETWORK) && found.labels.as_ref().is_some_and(is_ours))
    {
        unless_missing(docker.remove_network(NETWORK).await).map_err(|error| failed("the network", &error))?;
    }
    Ok(())
}

/// Removing what is not there is a success.
fn unless_missing(removed: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match removed {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        other => other,
    }
}

/// The name of this machine and its address, as an entry of `/etc/hosts`.
fn host_entry() -> String {
    format!("{HOST_NAME}:{HOST}")
}
