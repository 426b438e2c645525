//! The network of a task: a namespace that a helper process holds, and sockets in it.
//!
//! Each task has a loopback address of this machine, which no other task has. Inside its namespace, the task has the same
//! address. The local cloud connects to that address with a socket of the namespace. For everybody else, the ports of the
//! task are open at the same address outside. Outward, `pasta` relays connections, if it is there.

use super::control_group::TaskGroup;
use super::credentials::{Access, TaskService};
use super::helper::{Helper, NetworkAnswer, NetworkRequest, Wanted};
use super::internet::Pasta;
use super::isolation::Isolation;
use super::launch;
use crate::error::{Context, Error, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::Child;
use tokio::task::JoinHandle;

/// The name and the address of this machine in the network of a task.
pub(super) const HOST_NAME: &str = "host.local-cloud.internal";
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 254);
/// The connections that wait until they are accepted.
const BACKLOG: u32 = 1024;

/// The networks of the tasks by their address. An address belongs to one task on the whole machine, so there is one
/// table.
static NETWORKS: Mutex<BTreeMap<Ipv4Addr, Arc<TaskNetwork>>> = Mutex::new(BTreeMap::new());

/// Connects to a task in its network, and to any other address as usual.
pub(crate) async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let network = match target.ip() {
        IpAddr::V4(address) => networks().get(&address).cloned(),
        IpAddr::V6(_) => None,
    };
    match network {
        Some(network) => network.socket().await?.connect(target).await,
        None => TcpStream::connect(target).await,
    }
}

/// The network of the task with this address, if it has one.
pub(super) fn find(address: Ipv4Addr) -> Option<Arc<TaskNetwork>> {
    networks().get(&address).cloned()
}

/// Makes a network that of the task with this address.
pub(super) fn register(address: Ipv4Addr, network: &Arc<TaskNetwork>) {
    networks().insert(address, Arc::clone(network));
}

/// Ends the network of a task.
pub(super) fn release(address: Ipv4Addr) {
    networks().remove(&address);
}

/// Ends all networks.
pub(super) fn release_all() {
    networks().clear();
}

fn networks() -> MutexGuard<'static, BTreeMap<Ipv4Addr, Arc<TaskNetwork>>> {
    NETWORKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network namespace, and what else the containers of a task share. It ends when this is dropped and no process of the
/// task is left.
#[derive(Debug)]
pub(super) struct TaskNetwork {
    holder: i32,
    socket: tokio::sync::Mutex<UnixStream>,
    relays: Mutex<BTreeMap<SocketAddr, Relay>>,
    service: Arc<TaskService>,
    _serving: Relay,
    group: Mutex<Option<TaskGroup>>,
    /// What connects it with other networks.
    outward: Option<Child>,
    /// Both processes are killed when this is dropped.
    _child: Child,
}

/// A relay of connections, which ends when this is dropped.
#[derive(Debug)]
struct Relay(JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TaskNetwork {
    /// A new namespace with a loopback interface, and the credentials of MiniStack at `upstream`.
    pub(super) async fn create(isolation: Isolation, pasta: Option<&Pasta>, upstream: &str) -> Result<Arc<Self>> {
        let (mut socket, theirs) = launch::socket_pair()?;
        let mut command = launch::helper(Helper::Network)?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let child = launch::spawn(&mut command)?;
        drop(command);
        let request = NetworkRequest { user_namespace: isolation.user_namespace() };
        let request = serde_json::to_string(&request).context(|| "cannot encode a request".into())?;
        let what = || "cannot reach the process that holds the network of a task".to_owned();
        socket.write_all(format!("{request}\n").as_bytes()).await.context(what)?;
        let mut answer = String::new();
        BufReader::new(&mut socket).read_line(&mut answer).await.context(what)?;
        match serde_json::from_str(&answer) {
            Ok(NetworkAnswer::Ready) => {}
            Ok(NetworkAnswer::Failed(reason)) => return Err(Error::new(reason)),
            Err(_) => return Err(Error::new("the process that holds the network of a task ended early")),
        }
        let holder = child.id().and_then(|pid| i32::try_from(pid).ok());
        let holder = holder.ok_or_else(|| Error::new("the process that holds the network of a task has ended"))?;
        let listener = std::net::TcpListener::from(ask(&mut socket, Wanted::Services).await.context(what)?);
        listener.set_nonblocking(true).context(what)?;
        let listener = TcpListener::from_std(listener).context(what)?;
        let outward = match pasta {
            Some(pasta) => Some(pasta.connect(holder, isolation).await?),
            None => None,
        };
        // If this process is killed, the holder ends what it has started.
        if let Some(pid) = outward.as_ref().and_then(Child::id) {
            let [a, b, c, d] = pid.to_ne_bytes();
            socket.write_all(&[Wanted::End as u8, a, b, c, d]).await.context(what)?;
        }
        let service = TaskService::new(upstream);
        let serving = Relay(tokio::spawn(Arc::clone(&service).serve(listener)));
        Ok(Arc::new(Self {
            holder,
            socket: tokio::sync::Mutex::new(socket),
            relays: Mutex::default(),
            service,
            _serving: serving,
            group: Mutex::default(),
            outward,
            _child: child,
        }))
    }

    /// Whether it is connected with other networks.
    pub(super) fn leads_outward(&self) -> bool {
        self.outward.is_some()
    }

    /// Serves a container its credentials and its metadata.
    pub(super) fn allow(&self, access: Access) {
        self.service.allow(access);
    }

    /// The control group of a container in that of the task, which the first container creates.
    pub(super) fn group(&self, container: &str, create: impl FnOnce() -> Result<TaskGroup>) -> Result<String> {
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let task = match group.take() {
            Some(task) => task,
            None => create()?,
        };
        Ok(group.insert(task).of_container(container))
    }

    /// The process that holds it.
    pub(super) fn holder(&self) -> i32 {
        self.holder
    }

    /// A socket in it.
    async fn socket(&self) -> io::Result<TcpSocket> {
        let mut control = self.socket.lock().await;
        let stream = std::net::TcpStream::from(ask(&mut control, Wanted::Socket).await?);
        stream.set_nonblocking(true)?;
        Ok(TcpSocket::from_std_stream(stream))
    }

    /// Opens a port of the task at its address outside.
    pub(super) fn publish(self: &Arc<Self>, at: SocketAddr) -> io::Result<()> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if relays.contains_key(&at) {
            return Ok(());
        }
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        let listener = socket.listen(BACKLOG)?;
        // The relay does not keep the network alive.
        let network = Arc::downgrade(self);
        let relay = relay(listener, move || {
            let network = network.upgrade();
            async move {
                let network = network.ok_or_else(|| io::Error::other("the task has ended"))?;
                network.socket().await?.connect(at).await
            }
        });
        relays.insert(at, Relay(tokio::spawn(relay)));
        Ok(())
    }

    /// Opens a port inside that leads to an address outside.
    pub(super) async fn provide(&self, inside: SocketAddr, outside: SocketAddr) -> io::Result<()> {
        let socket = self.socket().await?;
        socket.set_reuseaddr(true)?;
        socket.bind(inside)?;
        let relay = relay(socket.listen(BACKLOG)?, move || TcpStream::connect(outside));
        self.relays.lock().unwrap_or_else(PoisonError::into_inner).insert(inside, Relay(tokio::spawn(relay)));
        Ok(())
    }
}

/// Accepts connections and relays each to a new connection. If that fails, the accepted connection is closed.
pub(super) async fn relay<F: Future<Output = io::Result<TcpStream>> + Send + 'static>(
    listener: TcpListener,
    connect: impl Fn() -> F,
) {
    loop {
        let mut from = match listener.accept().await {
            Ok((from, _)) => from,
            Err(error) => {
                tracing::debug!("cannot accept a connection of a task: {error}");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let connecting = connect();
        tokio::spawn(async move {
            let relayed = async {
                let mut to = connecting.await?;
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            };
            if let Err(error) = relayed.await {
                tracing::debug!("a relayed connection ended: {error}");
            }
        });
    }
}

/// Asks the holder for a socket.
async fn ask(control: &mut UnixStream, wanted: Wanted) -> io::Result<OwnedFd> {
    control.write_all(&[wanted as u8]).await?;
    control.async_io(Interest::READABLE, || receive(control)).await
}

/// Receives one descriptor.
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    rustix::net::recvmsg(socket, &mut [io::IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::other("the network of the task has ended"))
}
