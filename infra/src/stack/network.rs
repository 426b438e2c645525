//! The network: a VPC with two public subnets in two zones, and who may connect to whom.

use super::{Settings, tags};
use crate::cdk::{Expr, Ref, Stack};
use crate::resources::ec2::{
    InternetGateway, Peer, Route, RouteTable, Rule, SecurityGroup, Subnet, SubnetRouteTableAssociation, Vpc,
    VpcGatewayAttachment,
};
use crate::resources::values::{Cidr, Port};

fn anywhere() -> Peer {
    Peer::Range(Cidr::anywhere())
}

/// The network of the stack.
pub struct Network {
    /// The VPC.
    pub vpc: Ref<Vpc>,
    /// The public subnets, one in each zone.
    pub subnets: [Ref<Subnet>; 2],
    /// The route to the internet: what is to be reached from outside depends on it.
    pub internet_route: Ref<Route>,
    /// Of the load balancer: everybody in on the listeners' ports, out to the tasks only.
    pub balancer_group: Ref<SecurityGroup>,
    /// Of the tasks: in from the load balancer only, out to HTTPS (registry, logs).
    pub task_group: Ref<SecurityGroup>,
}

impl Network {
    /// Adds the network to the stack.
    pub fn new(stack: &mut Stack, settings: &Settings) -> Self {
        let vpc = stack.add(
            "Vpc",
            Vpc {
                cidr_block: settings.network.cidr.clone(),
                enable_dns_hostnames: true,
                enable_dns_support: true,
                tags: tags("vpc"),
            },
        );
        let (route_table, internet_route) = Self::internet(stack, &vpc);
        let subnets = [0, 1].map(|zone| Self::public_subnet(stack, settings, &vpc, &route_table, zone));
        let (balancer_group, task_group) = Self::groups(stack, settings, &vpc);
        Self { vpc, subnets, internet_route, balancer_group, task_group }
    }

    fn internet(stack: &mut Stack, vpc: &Ref<Vpc>) -> (Ref<RouteTable>, Ref<Route>) {
        let gateway = stack.add("InternetGateway", InternetGateway { tags: tags("internet") });
        let attachment = stack.add(
            "InternetGatewayAttachment",
            VpcGatewayAttachment { vpc_id: vpc.id(), internet_gateway_id: gateway.id() },
        );
        let table = stack.add("PublicRouteTable", RouteTable { vpc_id: vpc.id(), tags: tags("public") });
        let route = stack.add(
            "InternetRoute",
            Route { route_table_id: table.id(), destination_cidr_block: Cidr::anywhere(), gateway_id: gateway.id() },
        );
        stack.after(&route, &attachment);
        (table, route)
    }

    fn public_subnet(
        stack: &mut Stack,
        settings: &Settings,
        vpc: &Ref<Vpc>,
        table: &Ref<RouteTable>,
        zone: u8,
    ) -> Ref<Subnet> {
        let letter = ["A", "B"][usize::from(zone)];
        let subnet = stack.add(
            &format!("PublicSubnet{letter}"),
            Subnet {
                vpc_id: vpc.id(),
                cidr_block: settings.network.cidr.part(zone),
                availability_zone: Expr::availability_zone(zone.into()),
                map_public_ip_on_launch: false,
                tags: tags(&format!("public-{}", letter.to_lowercase())),
            },
        );
        stack.add(
            &format!("PublicSubnet{letter}Routes"),
            SubnetRouteTableAssociation { subnet_id: subnet.id(), route_table_id: table.id() },
        );
        subnet
    }

    fn groups(stack: &mut Stack, settings: &Settings, vpc: &Ref<Vpc>) -> (Ref<SecurityGroup>, Ref<SecurityGroup>) {
        let balancer = stack.add(
            "LoadBalancerSecurityGroup",
            SecurityGroup {
                group_description: "The load balancer: everybody in on prod and dev, out to the tasks only".to_owned(),
                vpc_id: vpc.id(),
                security_group_ingress: vec![
                    Rule::tcp(settings.prod.port, anywhere(), "Users of prod"),
                    Rule::tcp(settings.dev.port, anywhere(), "Users of dev"),
                ],
                security_group_egress: vec![Rule::tcp(
                    settings.app.port,
                    Peer::Range(settings.network.cidr.clone()),
                    "The tasks",
                )],
                tags: tags("load-balancer"),
            },
        );
        let tasks = stack.add(
            "TaskSecurityGroup",
            SecurityGroup {
                group_description: "The tasks: in from the load balancer only, out to HTTPS".to_owned(),
                vpc_id: vpc.id(),
                security_group_ingress: vec![Rule::tcp(
                    settings.app.port,
                    Peer::Group(balancer.id()),
                    "The load balancer",
                )],
                security_group_egress: vec![Rule::tcp(Port::HTTPS, anywhere(), "Registry and logs")],
                tags: tags("tasks"),
            },
        );
        (balancer, tasks)
    }
}
