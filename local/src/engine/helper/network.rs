//! The process that holds the network namespace of a task: it opens sockets there and hands them to the daemon.
//!
//! A socket stays in the namespace in which it was created, whoever uses it. So the daemon connects to a task, and
//! listens for it, without a relay in between and without entering the namespace.

use super::{NetworkAnswer, NetworkRequest, Socket, user};
use crate::error::{Context, Result};
use libcontainer::network::link::LinkClient;
use libcontainer::network::wrapper::create_network_client;
use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::ExitCode;

pub(super) fn run(mut socket: Socket) -> Result<ExitCode> {
    let request: NetworkRequest = socket.request()?;
    if let Err(error) = create(&request) {
        socket.answer(&NetworkAnswer::Failed(error.message().to_owned()))?;
        return Ok(ExitCode::FAILURE);
    }
    socket.answer(&NetworkAnswer::Ready)?;
    let mut wanted = [0];
    // The daemon sends one byte for each socket that it wants. When it closes the connection, the namespace can end.
    while socket.reader.read(&mut wanted).is_ok_and(|count| count == 1) {
        hand_over(&socket)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Enters a new network namespace and starts its loopback interface, which then has every address of 127.0.0.0/8.
fn create(request: &NetworkRequest) -> Result<()> {
    if request.user_namespace {
        user::enter_new(0, 0)?;
    }
    unshare(CloneFlags::CLONE_NEWNET).context(|| "cannot create a network namespace".into())?;
    let started = LinkClient::new(create_network_client()).and_then(|mut links| {
        let loopback = links.get_by_name("lo")?;
        links.set_up(loopback.header.index)
    });
    started.context(|| "cannot start the loopback interface of a network namespace".into())
}

fn hand_over(socket: &Socket) -> Result<()> {
    let what = || "cannot open a socket for the daemon".to_owned();
    let opened =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).context(what)?;
    let descriptors = [opened.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&socket.writer, &[IoSlice::new(&[1])], &mut control, SendFlags::NOSIGNAL).context(what)?;
    Ok(())
}
