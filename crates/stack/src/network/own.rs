//! The VPC and its subnets: created by the stack, or existing.

use crate::keys::Keys;
use crate::part::{Marking, Serves};
use crate::{Settings, parameter, settings, tags};
use cfn_kit::resources::ec2::{
    FlowLog, InternetGateway, Route, RouteTable, Subnet, SubnetRouteTableAssociation, Through, Vpc,
    VpcGatewayAttachment,
};
use cfn_kit::resources::iam::{Policy, Role};
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::values::{Cidr, ZoneName};
use cfn_kit::{Expr, Id, PolicyDocument, Ref, Stack, Statement, Test, sub};

/// An availability zone in which the VPC of the stack has subnets.
#[derive(Clone)]
pub(super) struct Zone {
    /// Its number, from 0.
    index: u8,
    /// Its name.
    name: Expr<String>,
}

impl Zone {
    /// Both, from the parameters of the template: selected once and never changed. `Fn::GetAZs` would be evaluated at
    /// each update, with the permissions of the caller, and its order can change
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-getavailabilityzones.html>).
    /// If no zones are given, they are `a` and `b` of the region.
    fn both(stack: &mut Stack) -> Vec<Self> {
        let parameters =
            parameter::ZONES.map(|id| stack.parameter_of::<ZoneName>(id, "Availability zone of the subnets."));
        stack.parameter_group("Network", &parameter::ZONES);
        let given = stack.condition("ZonesGiven", Test::is_given(&parameters[0]));
        let zone = |(index, parameter): (u8, Expr<ZoneName>)| {
            let otherwise = sub(&format!("${{AWS::Region}}{}", letter(index).to_ascii_lowercase()));
            Self { index, name: Expr::when(&given, &parameter.text(), &otherwise) }
        };
        (0..).zip(parameters).map(zone).collect()
    }

    /// Its letter, which logical ids and names end with.
    pub(super) const fn letter(&self) -> char {
        letter(self.index)
    }
}

const fn letter(index: u8) -> char {
    (b'A' + index) as char
}

/// A VPC and the subnets in it.
pub(super) struct Place {
    pub(super) vpc: Expr<Id<Vpc>>,
    pub(super) public_subnets: Vec<Expr<Id<Subnet>>>,
    pub(super) task_subnets: Vec<Expr<Id<Subnet>>>,
    pub(super) route_tables: Vec<Ref<RouteTable>>,
    pub(super) internet_route: Option<Ref<Route>>,
    pub(super) zones: Vec<Zone>,
}

impl Place {
    /// In an existing VPC.
    pub(super) fn existing(choices: &settings::Network, vpc: Expr<Id<Vpc>>) -> Self {
        let public_subnets: Vec<_> = choices.public_subnets.iter().map(Expr::from).collect();
        let task_subnets = match choices.task_subnets.as_slice() {
            [] => public_subnets.clone(),
            own => own.iter().map(Expr::from).collect(),
        };
        let (route_tables, zones) = (Vec::new(), Vec::new());
        Self { vpc, public_subnets, task_subnets, route_tables, internet_route: None, zones }
    }

    /// In a VPC that the stack creates, with tasks in the public subnets.
    pub(super) fn new(stack: &mut Stack, settings: &Settings, keys: &Keys) -> Self {
        let vpc = stack.add(
            "Vpc",
            Vpc {
                cidr_block: settings.network.cidr.clone(),
                enable_dns_hostnames: true,
                enable_dns_support: true,
                tags: tags("vpc"),
            },
        );
        if settings.network.flow_logs {
            flow_log(stack, settings, keys, &vpc);
        }
        let gateway = stack.add("InternetGateway", InternetGateway { tags: tags("internet") });
        let attachment = stack.add(
            "InternetGatewayAttachment",
            VpcGatewayAttachment { vpc_id: vpc.id(), internet_gateway_id: gateway.id() },
        );
        let table = stack.add("PublicRouteTable", RouteTable { vpc_id: vpc.id(), tags: tags("public") });
        let route = stack.add("InternetRoute", default_route(&table, Through::Internet(gateway.id())));
        stack.after(&route, &attachment);
        let zones = Zone::both(stack);
        let public: Vec<_> =
            zones.iter().map(|zone| subnet(stack, settings, &vpc.id(), Kind::Public, zone, &table).id()).collect();
        Self {
            vpc: vpc.id(),
            task_subnets: public.clone(),
            public_subnets: public,
            route_tables: Vec::new(),
            internet_route: Some(route),
            zones,
        }
    }
}

/// The purpose of a subnet.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Public,
    Private,
}

/// The default route: every address without a more specific route.
pub(super) fn default_route(table: &Ref<RouteTable>, through: Through) -> Route {
    Route { route_table_id: table.id(), destination_cidr_block: Cidr::anywhere(), through }
}

/// A subnet in a zone, with its routes.
pub(super) fn subnet(
    stack: &mut Stack,
    settings: &Settings,
    vpc: &Expr<Id<Vpc>>,
    kind: Kind,
    zone: &Zone,
    table: &Ref<RouteTable>,
) -> Ref<Subnet> {
    let (word, part) = match kind {
        Kind::Public => ("Public", zone.index),
        Kind::Private => ("Private", 128 + zone.index),
    };
    let letter = zone.letter();
    let subnet = stack.add(
        &format!("{word}Subnet{letter}"),
        Subnet {
            vpc_id: vpc.clone(),
            cidr_block: settings.network.cidr.part(part),
            availability_zone: zone.name.clone(),
            map_public_ip_on_launch: false,
            tags: tags(&format!("{word}-{letter}").to_lowercase()),
        },
    );
    stack.add(
        &format!("{word}Subnet{letter}Routes"),
        SubnetRouteTableAssociation { subnet_id: subnet.id(), route_table_id: table.id() },
    );
    subnet
}

/// Records the connections of the VPC.
fn flow_log(stack: &mut Stack, settings: &Settings, keys: &Keys, vpc: &Ref<Vpc>) {
    let stack = &mut stack.serving(Serves::Nobody);
    let log_group = keys.add_log(stack, "FlowLogGroup", keys.log_group(settings, "flow-log"));
    let write = Statement::allow(
        "WriteLog",
        &["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        vec![log_group.arn().text()],
    );
    let role = stack.add(
        "FlowLogRole",
        Role {
            description: "VPC flow logs: writes who connected".to_owned(),
            assume_role_policy_document: PolicyDocument::new(vec![
                Statement::trust("vpc-flow-logs.amazonaws.com").only_from_this_account(),
            ]),
            policies: vec![Policy::new("write-log", PolicyDocument::new(vec![write]))],
            tags: tags("flow-log"),
        },
    );
    stack.add(
        "FlowLog",
        FlowLog {
            resource_id: vpc.id(),
            resource_type: "VPC",
            traffic_type: "ALL",
            log_destination_type: "cloud-watch-logs",
            log_destination: Ref::<LogGroup>::arn(&log_group),
            deliver_logs_permission_arn: role.arn(),
            tags: tags("flow-log"),
        },
    );
}
