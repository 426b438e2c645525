//! Amazon EC2: networks and security groups.

use serde::Serialize;

use super::values::{Cidr, Port};
use crate::cdk::{Expr, Id, Ref, Resource, Tag};

/// A virtual network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Vpc {
    /// The address range, /16 to /28.
    pub cidr_block: Cidr,
    /// Whether instances get DNS names.
    pub enable_dns_hostnames: bool,
    /// Whether the network resolves names.
    pub enable_dns_support: bool,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Vpc {
    const TYPE: &'static str = "AWS::EC2::VPC";
}

impl Ref<Vpc> {
    /// The network's id.
    pub fn id(&self) -> Expr<Id<Vpc>> {
        self.reference()
    }
}

/// The way from a network to the internet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InternetGateway {
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for InternetGateway {
    const TYPE: &'static str = "AWS::EC2::InternetGateway";
}

impl Ref<InternetGateway> {
    /// The gateway's id.
    pub fn id(&self) -> Expr<Id<InternetGateway>> {
        self.reference()
    }
}

/// Joins an internet gateway to a network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcGatewayAttachment {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// The gateway.
    pub internet_gateway_id: Expr<Id<InternetGateway>>,
}

impl Resource for VpcGatewayAttachment {
    const TYPE: &'static str = "AWS::EC2::VPCGatewayAttachment";
}

/// A part of a network that lies in one availability zone.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subnet {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// The part of the network's range that is the subnet's.
    pub cidr_block: Cidr,
    /// The zone.
    pub availability_zone: Expr<String>,
    /// Whether what starts here gets a public address without asking for one.
    pub map_public_ip_on_launch: bool,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Subnet {
    const TYPE: &'static str = "AWS::EC2::Subnet";
}

impl Ref<Subnet> {
    /// The subnet's id.
    pub fn id(&self) -> Expr<Id<Subnet>> {
        self.reference()
    }
}

/// A table of routes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouteTable {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for RouteTable {
    const TYPE: &'static str = "AWS::EC2::RouteTable";
}

impl Ref<RouteTable> {
    /// The table's id.
    pub fn id(&self) -> Expr<Id<RouteTable>> {
        self.reference()
    }
}

/// One route of a table, through an internet gateway.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Route {
    /// The table.
    pub route_table_id: Expr<Id<RouteTable>>,
    /// Where to.
    pub destination_cidr_block: Cidr,
    /// Through which gateway.
    pub gateway_id: Expr<Id<InternetGateway>>,
}

impl Resource for Route {
    const TYPE: &'static str = "AWS::EC2::Route";
}

/// Says which table a subnet uses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubnetRouteTableAssociation {
    /// The subnet.
    pub subnet_id: Expr<Id<Subnet>>,
    /// The table.
    pub route_table_id: Expr<Id<RouteTable>>,
}

impl Resource for SubnetRouteTableAssociation {
    const TYPE: &'static str = "AWS::EC2::SubnetRouteTableAssociation";
}

/// A set of allowed connections.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroup {
    /// What it is for. A change replaces the group.
    pub group_description: String,
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// Connections let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_group_ingress: Vec<Rule>,
    /// Connections let out. Where it is empty EC2 lets everything out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_group_egress: Vec<Rule>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for SecurityGroup {
    const TYPE: &'static str = "AWS::EC2::SecurityGroup";
}

impl Ref<SecurityGroup> {
    /// The group's id.
    pub fn id(&self) -> Expr<Id<SecurityGroup>> {
        self.attribute("GroupId")
    }
}

/// A transport protocol in a security group rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IpProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Lets connections in from somewhere, or out to somewhere.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// What it is for.
    pub description: String,
    /// The protocol.
    pub ip_protocol: IpProtocol,
    /// The first port.
    pub from_port: Port,
    /// The last port.
    pub to_port: Port,
    /// Who is at the other end.
    #[serde(flatten)]
    pub peer: Peer,
}

/// Who is at the other end of a security group's rule.
#[derive(Clone, Debug, Serialize)]
pub enum Peer {
    /// An IPv4 range in CIDR notation.
    #[serde(rename = "CidrIp")]
    Range(Cidr),
    /// The members of a security group, as the source of connections that are let in.
    #[serde(rename = "SourceSecurityGroupId")]
    Group(Expr<Id<SecurityGroup>>),
}

impl Rule {
    /// TCP to one port.
    pub fn tcp(port: Port, peer: Peer, description: &str) -> Self {
        Self { description: description.to_owned(), ip_protocol: IpProtocol::Tcp, from_port: port, to_port: port, peer }
    }
}
