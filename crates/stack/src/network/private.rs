//! Private subnets for the tasks: with a NAT gateway in each zone, or with VPC endpoints and no internet access.

use super::WaysOut;
use super::own::{Kind, Place, Zone, default_route, subnet};
use crate::kept::Kept;
use crate::{Settings, tags};
use cfn_kit::resources::ec2::{
    Eip, EndpointKind, NatGateway, Peer, RouteTable, Rule, SecurityGroup, Through, VpcEndpoint,
};
use cfn_kit::resources::values::Port;
use cfn_kit::{Expr, PolicyDocument, Principal, Ref, Stack, Statement, sub};

/// Tasks in private subnets with NAT gateways: one in each zone, so that the loss of a zone does not affect the other.
pub(super) fn with_nat(stack: &mut Stack, settings: &Settings, mut place: Place) -> (Place, WaysOut) {
    let mut ways_out = WaysOut::default();
    let mut subnets = Vec::new();
    for (zone, public) in place.zones.iter().zip(place.public_subnets.clone()) {
        let (letter, name) = (zone.letter(), format!("nat-{}", zone.letter().to_ascii_lowercase()));
        let address = stack.add(&format!("NatAddress{letter}"), Eip { domain: "vpc", tags: tags(&name) });
        let nat = stack.add(
            &format!("NatGateway{letter}"),
            NatGateway { subnet_id: public, allocation_id: address.allocation_id(), tags: tags(&name) },
        );
        if let Some(internet) = &place.internet_route {
            stack.after(&address, internet);
            stack.after(&nat, internet);
        }
        let table = private_table(stack, &place, zone);
        subnets.push(subnet(stack, settings, &place.vpc, Kind::Private, zone, &table).id());
        let route = stack.add(&format!("NatRoute{letter}"), default_route(&table, Through::Nat(nat.id())));
        ways_out.routes.push(route);
        ways_out.addresses.push(address);
    }
    place.task_subnets = subnets;
    (place, ways_out)
}

/// Tasks in private subnets without internet access.
pub(super) fn without_way_out(stack: &mut Stack, settings: &Settings, mut place: Place) -> Place {
    let (mut subnets, mut tables) = (Vec::new(), Vec::new());
    for zone in &place.zones {
        let table = private_table(stack, &place, zone);
        subnets.push(subnet(stack, settings, &place.vpc, Kind::Private, zone, &table).id());
        tables.push(table);
    }
    place.route_tables = tables;
    place.task_subnets = subnets;
    place
}

fn private_table(stack: &mut Stack, place: &Place, zone: &Zone) -> Ref<RouteTable> {
    let letter = zone.letter();
    let name = format!("private-{}", letter.to_ascii_lowercase());
    stack.add(&format!("PrivateRouteTable{letter}"), RouteTable { vpc_id: place.vpc.clone(), tags: tags(&name) })
}

/// The endpoints that a task needs to start and to write its log: two for the registry, S3 for the layers of images,
/// logs, and the services that store its secrets
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html>).
pub(super) fn endpoints(
    stack: &mut Stack,
    settings: &Settings,
    kept: &Kept,
    place: &Place,
    tasks: &Ref<SecurityGroup>,
) -> Vec<Ref<VpcEndpoint>> {
    let group = stack.add(
        "EndpointSecurityGroup",
        SecurityGroup {
            group_description: "The VPC endpoints: in from the tasks only".to_owned(),
            vpc_id: place.vpc.clone(),
            security_group_ingress: vec![Rule::tcp(Port::HTTPS, Peer::Group(tasks.id()), "The tasks")],
            // Endpoints open no connections. Without an outbound rule, EC2 would allow all of them:
            // https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ec2-securitygroup.html
            security_group_egress: vec![Rule::tcp(
                Port::HTTPS,
                Peer::Range(settings.network.cidr.clone().into()),
                "Nobody beyond the network",
            )],
            tags: tags("endpoints"),
        },
    );
    let mut services = vec![("EcrApi", "ecr.api"), ("EcrDocker", "ecr.dkr"), ("Logs", "logs")];
    for (id, service) in [("Secrets", "secretsmanager"), ("Parameters", "ssm")] {
        if settings.secrets.values().chain(kept.secrets()).any(|reference| reference.service() == service) {
            services.push((id, service));
        }
    }
    let mut endpoint = |id: &str, service: &str, kind, policy_document| {
        stack.add(
            &format!("{id}Endpoint"),
            VpcEndpoint {
                vpc_id: place.vpc.clone(),
                service_name: sub(&format!("com.amazonaws.${{AWS::Region}}.{service}")),
                kind,
                policy_document,
                tags: tags(&format!("endpoint-{service}")),
            },
        )
    };
    let mut made: Vec<_> = services
        .into_iter()
        .map(|(id, service)| {
            let kind = EndpointKind::Interface {
                subnet_ids: place.task_subnets.clone(),
                security_group_ids: vec![group.id()],
                private_dns_enabled: true,
            };
            endpoint(id, service, kind, None)
        })
        .collect();
    let tables = place.route_tables.iter().map(Ref::<RouteTable>::id).collect();
    let layers = PolicyDocument::new(vec![only_layers()]);
    made.push(endpoint("S3", "s3", EndpointKind::Gateway { route_table_ids: tables }, Some(layers)));
    made
}

/// The S3 endpoint allows only reading the layers of images, which ECR stores in a bucket of AWS
/// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html>).
fn only_layers() -> Statement {
    let layers: Expr<String> = sub("arn:${AWS::Partition}:s3:::prod-${AWS::Region}-starport-layer-bucket/*");
    Statement::allow("ReadLayers", &["s3:GetObject"], vec![layers]).by(Principal::ANYONE)
}
