//! The network: the subnets of the load balancer, the tasks, and the function, and the allowed connections.

pub(super) mod groups;
mod own;
mod private;

use super::kept::Kept;
use super::keys::Keys;
use super::part::{Marking, Serves};
use super::{Settings, TaskNetwork};
use cfn_kit::resources::ec2::{Eip, Route, SecurityGroup, Subnet, Vpc, VpcEndpoint};
use cfn_kit::resources::lambda::VpcConfig;
use cfn_kit::{Expr, Id, Ref, Stack};

/// The network of the stack.
pub struct Network {
    /// The VPC.
    pub vpc: Expr<Id<Vpc>>,
    /// The load balancer's subnets, in two or more zones.
    pub public_subnets: Vec<Expr<Id<Subnet>>>,
    /// The tasks' subnets.
    pub task_subnets: Vec<Expr<Id<Subnet>>>,
    /// Whether tasks have public addresses, which they then need to reach the registry.
    pub public_tasks: bool,
    /// The group of the load balancer: inbound on the ports of the listeners, outbound to the tasks only.
    pub balancer_group: Ref<SecurityGroup>,
    /// The group of the tasks: inbound from the load balancer only, outbound HTTPS (registry, logs).
    pub task_group: Ref<SecurityGroup>,
    /// The subnets of the cutover function; `None` if it runs outside of the network.
    pub function: Option<VpcConfig>,
    /// The route to the internet: resources that are reached from outside depend on it.
    pub internet_route: Option<Ref<Route>>,
    ways_out: WaysOut,
}

/// The resources that tasks need before they can start.
#[derive(Default)]
struct WaysOut {
    routes: Vec<Ref<Route>>,
    endpoints: Vec<Ref<VpcEndpoint>>,
    addresses: Vec<Ref<Eip>>,
}

impl Network {
    /// Adds the network to the stack.
    pub fn new(stack: &mut Stack, settings: &Settings, keys: &Keys, kept: &Kept) -> Self {
        let stack = &mut stack.serving(Serves::Everyone);
        let choices = &settings.network;
        let (place, mut ways_out) = if let Some(id) = &choices.vpc {
            (own::Place::existing(choices, id.into()), WaysOut::default())
        } else {
            let own = own::Place::new(stack, settings, keys);
            match choices.tasks {
                TaskNetwork::Public => (own, WaysOut::default()),
                TaskNetwork::Nat => private::with_nat(stack, settings, own),
                TaskNetwork::Endpoints => (private::without_way_out(stack, settings, own), WaysOut::default()),
            }
        };
        let ports = kept.ports_with(settings.app.port);
        let groups = groups::Groups::new(stack, settings, &place.vpc, &ports, &ways_out.addresses);
        if choices.tasks == TaskNetwork::Endpoints {
            ways_out.endpoints = private::endpoints(stack, settings, kept, &place, &groups.tasks);
        }
        let function = (choices.tasks == TaskNetwork::Nat).then(|| VpcConfig {
            subnet_ids: place.task_subnets.clone(),
            security_group_ids: groups.function.iter().map(Ref::<SecurityGroup>::id).collect(),
        });
        Self {
            vpc: place.vpc,
            public_subnets: place.public_subnets,
            task_subnets: place.task_subnets,
            public_tasks: choices.tasks == TaskNetwork::Public,
            balancer_group: groups.balancer,
            task_group: groups.tasks,
            function,
            internet_route: place.internet_route,
            ways_out,
        }
    }

    /// Makes `resource` depend on the routes and endpoints that programs in the subnets of the tasks need.
    pub fn before<R>(&self, stack: &mut Stack, resource: &Ref<R>) {
        if self.public_tasks {
            self.internet_route.iter().for_each(|route| stack.after(resource, route));
        }
        self.ways_out.routes.iter().for_each(|route| stack.after(resource, route));
        self.ways_out.endpoints.iter().for_each(|endpoint| stack.after(resource, endpoint));
    }
}
