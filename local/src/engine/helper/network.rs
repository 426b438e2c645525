//! The process that holds the network namespace of a task: it opens sockets there and hands them to the daemon.
//!
//! A socket stays in the namespace in which it was created, whoever uses it. So the daemon connects to a task, and
//! listens for it, without a relay in between and without entering the namespace.
//!
//! A second namespace has the address at which ECS serves credentials and metadata. There, no program of the task can
//! take the port, and the port stays free for the programs of the task.

use super::links::Links;
use super::{NetworkAnswer, NetworkRequest, Socket, Wanted, user};
use crate::error::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

/// Where ECS serves credentials and metadata:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>.
const SERVICES: (Ipv4Addr, u16) = (Ipv4Addr::new(169, 254, 170, 2), 80);
/// The other address of the pair that leads there.
const TASK_END: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 3);
const PAIR: u8 = 31;
/// The interfaces of the pair.
const IN_THE_TASK: &str = "ecs-eth0";
const WITH_THE_SERVICES: &str = "services0";
/// No other address of this network is reachable. It has the metadata services of cloud providers, with the credentials
/// of the machine.
const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);

pub(super) fn run(mut socket: Socket) -> Result<ExitCode> {
    let request: NetworkRequest = socket.request()?;
    let services = match create(&request) {
        Ok(services) => services,
        Err(error) => {
            socket.answer(&NetworkAnswer::Failed(error.message().to_owned()))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    socket.answer(&NetworkAnswer::Ready)?;
    let (mut wanted, mut outward) = ([0], None);
    // The daemon sends one byte for each thing that it wants. When it closes the connection, the namespace can end.
    while socket.reader.read(&mut wanted).is_ok_and(|count| count == 1) {
        match Wanted::from_byte(wanted[0]) {
            Some(Wanted::Socket) => hand_over(&socket, new_socket()?.as_fd())?,
            Some(Wanted::Services) => hand_over(&socket, services.as_fd())?,
            Some(Wanted::End) => {
                let mut pid = [0; 4];
                socket.reader.read_exact(&mut pid).context(|| "cannot read the request of the daemon".into())?;
                // A process that has ended already has no descriptor, and needs no end.
                outward = Pid::from_raw(i32::from_ne_bytes(pid)).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            }
            None => break,
        }
    }
    if let Some(Ok(process)) = outward {
        // It fails only if the process has ended, which is the purpose of the signal.
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    Ok(ExitCode::SUCCESS)
}

/// Enters a new network namespace, whose loopback interface has every address of 127.0.0.0/8. Returns the listener of the
/// services that it is connected with.
fn create(request: &NetworkRequest) -> Result<TcpListener> {
    if request.user_namespace {
        user::enter_new(0, 0)?;
    }
    let (services, task) = (new_namespace()?, new_namespace()?);
    let links = Links::open()?;
    links.set_up("lo")?;
    links.add_pair(IN_THE_TASK, WITH_THE_SERVICES, services.as_fd())?;
    links.add_address(IN_THE_TASK, TASK_END, PAIR)?;
    links.set_up(IN_THE_TASK)?;
    links.refuse(LINK_LOCAL.0, LINK_LOCAL.1)?;
    enter(services.as_fd())?;
    let links = Links::open()?;
    links.add_address(WITH_THE_SERVICES, SERVICES.0, PAIR)?;
    links.set_up(WITH_THE_SERVICES)?;
    let listener = TcpListener::bind(SERVICES).context(|| "cannot serve the credentials of a task".into())?;
    enter(task.as_fd())?;
    // What connects the namespace with other networks opens the files of this process, and may have fewer capabilities.
    user::drop_capabilities()?;
    Ok(listener)
}

/// Enters a new network namespace.
fn new_namespace() -> Result<File> {
    unshare(CloneFlags::CLONE_NEWNET).context(|| "cannot create a network namespace".into())?;
    File::open("/proc/self/ns/net").context(|| "cannot open a network namespace".into())
}

fn enter(namespace: BorrowedFd<'_>) -> Result<()> {
    let entered = move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network));
    entered.context(|| "cannot enter a network namespace".into())
}

fn new_socket() -> Result<std::os::fd::OwnedFd> {
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context(|| "cannot open a socket for the daemon".into())
}

fn hand_over(socket: &Socket, opened: BorrowedFd<'_>) -> Result<()> {
    let descriptors = [opened];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&socket.writer, &[IoSlice::new(&[1])], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .context(|| "cannot hand a socket to the daemon".into())
}
