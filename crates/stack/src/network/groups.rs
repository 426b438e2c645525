//! The security groups: which connections are allowed.

use std::collections::BTreeSet;

use crate::part::{Marking, Serves};
use crate::{Settings, TaskNetwork, tags};
use cfn_kit::resources::ec2::{Eip, Peer, Rule, SecurityGroup, Vpc};
use cfn_kit::resources::values::Port;
use cfn_kit::{Expr, Id, Ref, Stack};

/// Logical id of the load balancer's group.
const LOAD_BALANCER: &str = "LoadBalancerSecurityGroup";
/// Logical id of the tasks' group, which allows the load balancer to connect on every port that tasks listen on.
pub(crate) const TASKS: &str = "TaskSecurityGroup";

/// The security groups.
pub(super) struct Groups {
    pub(super) balancer: Ref<SecurityGroup>,
    pub(super) tasks: Ref<SecurityGroup>,
    pub(super) function: Option<Ref<SecurityGroup>>,
}

impl Groups {
    /// Adds the groups to the stack. Tasks listen on these `ports`. The function connects to dev from the `addresses`
    /// of its NAT gateways.
    pub(super) fn new(
        stack: &mut Stack,
        settings: &Settings,
        vpc: &Expr<Id<Vpc>>,
        ports: &BTreeSet<Port>,
        addresses: &[Ref<Eip>],
    ) -> Self {
        let group = |stack: &mut Stack, id: &str, name: &str, description: &str, [ingress, egress]: [Vec<Rule>; 2]| {
            stack.add(
                id,
                SecurityGroup {
                    group_description: description.to_owned(),
                    vpc_id: vpc.clone(),
                    security_group_ingress: ingress,
                    security_group_egress: egress,
                    tags: tags(name),
                },
            )
        };
        let network = || Peer::Range(settings.network.cidr.clone().into());
        let balancer = group(
            stack,
            LOAD_BALANCER,
            "load-balancer",
            "The load balancer: everybody in on prod and dev, out to the tasks only",
            [
                listeners(settings, addresses),
                ports.iter().map(|port| Rule::tcp(*port, network(), "The tasks")).collect(),
            ],
        );
        let from_balancer = |port: &Port| Rule::tcp(*port, Peer::Group(balancer.id()), "The load balancer");
        let tasks = group(
            stack,
            TASKS,
            "tasks",
            "The tasks: in from the load balancer only, out to HTTPS",
            [
                ports.iter().map(from_balancer).collect(),
                vec![Rule::tcp(Port::HTTPS, Peer::anyone(), "Registry and logs")],
            ],
        );
        let function = (settings.network.tasks == TaskNetwork::Nat).then(|| {
            let mut ports = vec![Port::HTTPS, settings.prod_port(), settings.dev_port()];
            ports.sort_unstable();
            ports.dedup();
            let out = ports.into_iter().map(|port| Rule::tcp(port, Peer::anyone(), "AWS APIs, prod and dev")).collect();
            let stack = &mut stack.serving(Serves::Nobody);
            group(stack, "CutoverSecurityGroup", "cutover", "The cutover function: out only", [Vec::new(), out])
        });
        Self { balancer, tasks, function }
    }
}

/// The rules for connections to the listeners.
fn listeners(settings: &Settings, addresses: &[Ref<Eip>]) -> Vec<Rule> {
    let dev = settings.dev_port();
    let mut rules = vec![Rule::tcp(settings.prod_port(), Peer::anyone(), "Users of prod")];
    rules.extend(
        settings.dev.cidrs.iter().map(|range| Rule::tcp(dev, Peer::Range(range.clone().into()), "Users of dev")),
    );
    if settings.dev_is_restricted() {
        let own = addresses.iter().map(|address| Peer::address(address.public_ip()));
        rules.extend(own.map(|peer| Rule::tcp(dev, peer, "The cutover function")));
    }
    if settings.redirects_http() {
        rules.push(Rule::tcp(Port::HTTP, Peer::anyone(), "Users of prod, to be sent to HTTPS"));
    }
    rules
}
