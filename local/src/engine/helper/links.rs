//! The interfaces, addresses, and routes of the network namespace of this process.

use crate::error::{Context, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily as SocketFamily, SocketType};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A connection to the kernel. It stays in the namespace in which it was opened.
pub(super) struct Links {
    socket: Socket,
    /// A socket of the namespace, to find interfaces by name.
    any: OwnedFd,
}

impl Links {
    pub(super) fn open() -> Result<Self> {
        let what = || "cannot configure the network of a task".to_owned();
        let any = rustix::net::socket(SocketFamily::INET, SocketType::DGRAM, None).context(what)?;
        let mut socket = Socket::new(NETLINK_ROUTE).context(what)?;
        socket.bind_auto().context(what)?;
        Ok(Self { socket, any })
    }

    /// Starts an interface.
    pub(super) fn set_up(&self, name: &str) -> Result<()> {
        let what = || format!("cannot start the network interface {name} of a task");
        let mut link = LinkMessage::default();
        link.header.index = self.index(name).context(what)?;
        link.header.flags |= LinkFlags::Up;
        link.header.change_mask |= LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0).context(what)
    }

    /// Creates a pair of connected interfaces: one here, and its peer in another namespace.
    pub(super) fn add_pair(&self, name: &str, peer: &str, namespace: BorrowedFd<'_>) -> Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        other.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        let kind = [LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)))];
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(kind.to_vec()));
        let made = self.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL);
        made.context(|| "cannot create a pair of network interfaces for a task (kernel module veth)".into())
    }

    /// Gives an interface an address with the length of its prefix.
    pub(super) fn add_address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let what = || format!("cannot give the network interface {name} of a task the address {address}");
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = self.index(name).context(what)?;
        let address = IpAddr::V4(address);
        message.attributes.extend([AddressAttribute::Address(address), AddressAttribute::Local(address)]);
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).context(what)
    }

    /// Makes addresses unreachable that have no route of their own.
    pub(super) fn refuse(&self, network: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.destination_prefix_length = prefix;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unreachable;
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network)));
        let made = self.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL);
        made.context(|| format!("cannot make {network}/{prefix} unreachable for a task"))
    }

    fn index(&self, name: &str) -> io::Result<u32> {
        Ok(name_to_index(&self.any, name)?)
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|error| io::Error::other(format!("an answer of the kernel is damaged: {error}")))?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            other => Err(io::Error::other(format!("unexpected answer of the kernel: {other:?}"))),
        }
    }
}
