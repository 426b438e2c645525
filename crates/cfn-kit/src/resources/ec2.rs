//! Amazon EC2: networks and security groups.
//!
//! ```
//! use cfn_kit::{Expr, Stack};
//! use cfn_kit::resources::ec2::{
//!     Eip, EndpointKind, FlowLog, InternetGateway, IpProtocol, NatGateway, Peer, Route, RouteTable, Rule,
//!     SecurityGroup, Subnet, SubnetRouteTableAssociation, Through, Vpc, VpcEndpoint, VpcGatewayAttachment,
//! };
//! use cfn_kit::resources::values::{Cidr, Port};
//!
//! let mut stack = Stack::new("A network with a public and a private subnet");
//! let range = Cidr::try_from("10.0.0.0/16").unwrap();
//! let vpc = Vpc { cidr_block: range.clone(), enable_dns_hostnames: true, enable_dns_support: true, tags: vec![] };
//! let vpc = stack.add("Vpc", vpc);
//! let subnet = |part, public| Subnet {
//!     vpc_id: vpc.id(),
//!     cidr_block: range.part(part),
//!     availability_zone: "eu-central-1a".into(),
//!     map_public_ip_on_launch: public,
//!     tags: vec![],
//! };
//! let public = stack.add("Public", subnet(0, true));
//! let private = stack.add("Private", subnet(1, false));
//!
//! // From the public subnet, packets go to the internet and back.
//! let gateway = stack.add("Gateway", InternetGateway { tags: vec![] });
//! stack.add("Attachment", VpcGatewayAttachment { vpc_id: vpc.id(), internet_gateway_id: gateway.id() });
//! let address = stack.add("Address", Eip { domain: "vpc", tags: vec![] });
//! let nat = NatGateway { subnet_id: public.id(), allocation_id: address.allocation_id(), tags: vec![] };
//! let nat = stack.add("Nat", nat);
//! let mut tables = Vec::new();
//! for (name, subnet, through) in
//!     [("Public", &public, Through::Internet(gateway.id())), ("Private", &private, Through::Nat(nat.id()))]
//! {
//!     let table = stack.add(&format!("{name}Table"), RouteTable { vpc_id: vpc.id(), tags: vec![] });
//!     let route = Route { route_table_id: table.id(), destination_cidr_block: Cidr::anywhere(), through };
//!     stack.add(&format!("{name}Route"), route);
//!     let association = SubnetRouteTableAssociation { subnet_id: subnet.id(), route_table_id: table.id() };
//!     stack.add(&format!("{name}Association"), association);
//!     tables.push(table.id());
//! }
//!
//! // S3 without a way over the internet.
//! let endpoint = VpcEndpoint {
//!     vpc_id: vpc.id(),
//!     service_name: "com.amazonaws.eu-central-1.s3".into(),
//!     kind: EndpointKind::Gateway { route_table_ids: tables },
//!     policy_document: None,
//!     tags: vec![],
//! };
//! stack.add("Storage", endpoint);
//!
//! // Anyone reaches port 443, and names are resolved.
//! let dns = Rule { ip_protocol: IpProtocol::Udp, ..Rule::tcp(Port::of(53), Peer::anyone(), "DNS") };
//! let group = SecurityGroup {
//!     group_description: "Web".to_owned(),
//!     vpc_id: vpc.id(),
//!     security_group_ingress: vec![Rule::tcp(Port::HTTPS, Peer::anyone(), "HTTPS")],
//!     security_group_egress: vec![dns],
//!     tags: vec![],
//! };
//! stack.add("Web", group);
//!
//! // What is accepted and rejected is logged.
//! let log = FlowLog {
//!     resource_id: vpc.id(),
//!     resource_type: "VPC",
//!     traffic_type: "ALL",
//!     log_destination_type: "cloud-watch-logs",
//!     log_destination: Expr::from_json(serde_json::json!({ "Fn::ImportValue": "flow-log" })),
//!     deliver_logs_permission_arn: Expr::from_json(serde_json::json!({ "Fn::ImportValue": "flow-log-role" })),
//!     tags: vec![],
//! };
//! stack.add("Flows", log);
//! assert!(stack.finish().is_ok());
//! ```

use serde::Serialize;

use super::iam::Role;
use super::logs::LogGroup;
use super::values::{Cidr, Port, SubnetId, VpcId};
use crate::{Arn, Expr, Id, PolicyDocument, Ref, Resource, Tag, join};

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

impl From<&VpcId> for Expr<Id<Vpc>> {
    fn from(id: &VpcId) -> Self {
        Self::from_json(id.as_str().into())
    }
}

impl From<&SubnetId> for Expr<Id<Subnet>> {
    fn from(id: &SubnetId) -> Self {
        Self::from_json(id.as_str().into())
    }
}

impl Ref<Vpc> {
    /// The network's id.
    pub fn id(&self) -> Expr<Id<Vpc>> {
        self.reference()
    }
}

/// An internet gateway: the connection of a network to the internet.
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

/// Attaches an internet gateway to a network.
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

/// A subnet: a part of a network in one availability zone.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subnet {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// The range of the subnet, a part of the range of the network.
    pub cidr_block: Cidr,
    /// The zone.
    pub availability_zone: Expr<String>,
    /// Whether instances get a public address by default.
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

/// One route of a table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Route {
    /// The table.
    pub route_table_id: Expr<Id<RouteTable>>,
    /// The destination.
    pub destination_cidr_block: Cidr,
    /// The next hop.
    #[serde(flatten)]
    pub through: Through,
}

/// The next hop of a route.
#[derive(Clone, Debug, Serialize)]
pub enum Through {
    /// An internet gateway: inbound and outbound.
    #[serde(rename = "GatewayId")]
    Internet(Expr<Id<InternetGateway>>),
    /// A NAT gateway: only outbound.
    #[serde(rename = "NatGatewayId")]
    Nat(Expr<Id<NatGateway>>),
}

/// An Elastic IP address: a static public address.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Eip {
    /// `vpc`.
    pub domain: &'static str,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Eip {
    const TYPE: &'static str = "AWS::EC2::EIP";
}

impl Ref<Eip> {
    /// The allocation id, for a NAT gateway.
    pub fn allocation_id(&self) -> Expr<Id<Eip>> {
        self.attribute("AllocationId")
    }

    /// The address.
    pub fn public_ip(&self) -> Expr<String> {
        self.attribute("PublicIp")
    }
}

/// A NAT gateway: outbound connections of private subnets from one public address.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NatGateway {
    /// The public subnet that it is in.
    pub subnet_id: Expr<Id<Subnet>>,
    /// Its address.
    pub allocation_id: Expr<Id<Eip>>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for NatGateway {
    const TYPE: &'static str = "AWS::EC2::NatGateway";
}

impl Ref<NatGateway> {
    /// The gateway's id.
    pub fn id(&self) -> Expr<Id<NatGateway>> {
        self.reference()
    }
}

/// A VPC endpoint: a private connection from a network to an AWS service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcEndpoint {
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// The service, for example `com.amazonaws.REGION.logs`.
    pub service_name: Expr<String>,
    /// The kind of the endpoint.
    #[serde(flatten)]
    pub kind: EndpointKind,
    /// The permissions of requests through it; if absent, every request is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_document: Option<PolicyDocument>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for VpcEndpoint {
    const TYPE: &'static str = "AWS::EC2::VPCEndpoint";
}

/// The kind of an endpoint.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "VpcEndpointType", rename_all_fields = "PascalCase")]
pub enum EndpointKind {
    /// An interface endpoint, with addresses in these subnets.
    Interface {
        /// The subnets.
        subnet_ids: Vec<Expr<Id<Subnet>>>,
        /// The security groups of its addresses.
        security_group_ids: Vec<Expr<Id<SecurityGroup>>>,
        /// Whether the public DNS name of the service resolves to the endpoint.
        private_dns_enabled: bool,
    },
    /// A gateway endpoint, with routes in these tables (only S3 and `DynamoDB`, free of charge:
    /// <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>).
    Gateway {
        /// The tables.
        route_table_ids: Vec<Expr<Id<RouteTable>>>,
    },
}

/// Flow logs: records accepted and rejected connections.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FlowLog {
    /// The network.
    pub resource_id: Expr<Id<Vpc>>,
    /// `VPC`.
    pub resource_type: &'static str,
    /// `ALL`, `ACCEPT` or `REJECT`.
    pub traffic_type: &'static str,
    /// `cloud-watch-logs`.
    pub log_destination_type: &'static str,
    /// The log group.
    pub log_destination: Expr<Arn<LogGroup>>,
    /// The role that writes to it.
    pub deliver_logs_permission_arn: Expr<Arn<Role>>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for FlowLog {
    const TYPE: &'static str = "AWS::EC2::FlowLog";
}

impl Resource for Route {
    const TYPE: &'static str = "AWS::EC2::Route";
}

/// Associates a subnet with a route table.
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
    /// Its description. A change replaces the group.
    pub group_description: String,
    /// The network.
    pub vpc_id: Expr<Id<Vpc>>,
    /// Allowed inbound connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_group_ingress: Vec<Rule>,
    /// Allowed outbound connections. If it is empty, EC2 allows all of them
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html>).
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

/// Allows inbound or outbound connections.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// Its description.
    pub description: String,
    /// The protocol.
    pub ip_protocol: IpProtocol,
    /// The first port.
    pub from_port: Port,
    /// The last port.
    pub to_port: Port,
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
}

/// The peer in a rule of a security group.
#[derive(Clone, Debug, Serialize)]
pub enum Peer {
    /// An IPv4 range.
    #[serde(rename = "CidrIp")]
    Range(Expr<Cidr>),
    /// The members of a security group, as the source of inbound connections.
    #[serde(rename = "SourceSecurityGroupId")]
    Group(Expr<Id<SecurityGroup>>),
}

impl Peer {
    /// Every IPv4 address.
    pub fn anyone() -> Self {
        Self::Range(Cidr::anywhere().into())
    }

    /// One IPv4 address.
    pub fn address(address: Expr<String>) -> Self {
        Self::Range(Expr::from_json(join(&[address, "/32".into()]).json().clone()))
    }
}

impl Rule {
    /// TCP to one port.
    pub fn tcp(port: Port, peer: Peer, description: &str) -> Self {
        Self { description: description.to_owned(), ip_protocol: IpProtocol::Tcp, from_port: port, to_port: port, peer }
    }
}
