//! The cases: possible wiring errors.

/// A few lines of Rust in which `WORD` is replaced by the right or the wrong identifier.
pub struct Case {
    pub name: &'static str,
    pub code: &'static str,
    pub right: &'static str,
    pub wrong: &'static str,
}

/// The imports of every case.
pub const COMMON: &str = "
use cfn_kit::{Arn, Expr, Id, Ref, Stack};
use cfn_kit::resources::ec2::{SecurityGroup, Subnet};
use cfn_kit::resources::ecs::{ContainerDefinition, FargateSize, ImageByDigest, TaskDefinition};
use cfn_kit::resources::elbv2::{Action, Listener, ListenerRule, TargetGroup};
use cfn_kit::resources::iam::Role;
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::values::{Count, Port};
use stack::{Blue, Environment, Fleet, Green, LoadBalancing, Network, Own, Parts, Release, Settings, Sides};
";

pub const CASES: &[Case] = &[
    Case {
        name: "a reference to a subnet is none to a target group",
        code: "fn group<'a>(group: &'a Ref<TargetGroup>, subnet: &'a Ref<Subnet>) -> &'a Ref<TargetGroup> { WORD }",
        right: "group",
        wrong: "subnet",
    },
    Case {
        name: "a listener forwards to a target group, not to a load balancer's listener",
        code: "fn forward(group: Ref<TargetGroup>, listener: Ref<Listener>) -> Action { Action::forward(WORD.arn()) }",
        right: "group",
        wrong: "listener",
    },
    Case {
        name: "an id of a security group is none of a subnet",
        code: "fn subnets(subnet: Ref<Subnet>, group: Ref<SecurityGroup>) -> Vec<Expr<Id<Subnet>>> { vec![WORD.id()] }",
        right: "subnet",
        wrong: "group",
    },
    Case {
        name: "a blue environment's service does not take the green target group",
        code: "fn parts<'a>(
            fleet: &'a Fleet, network: &'a Network, balancer: &'a LoadBalancing, releases: &'a Sides<Release>,
            groups: &'a Sides<Ref<TargetGroup>>,
        ) -> Parts<'a, Blue> {
            Parts { target_group: WORD, ..Parts::of(fleet, network, balancer, releases) }
        }",
        right: "&groups.blue",
        wrong: "&groups.green",
    },
    Case {
        name: "a blue environment does not run the green image",
        code: "fn parts<'a>(blue: &'a Own<Blue, Release>, green: &'a Own<Green, Release>, others: Parts<'a, Blue>) -> Parts<'a, Blue> {
            Parts { release: WORD, ..others }
        }",
        right: "blue",
        wrong: "green",
    },
    Case {
        name: "nobody can call a target group blue that is not",
        code: "fn blue(group: Ref<TargetGroup>, pair: Sides<Ref<TargetGroup>>) -> Own<Blue, Ref<TargetGroup>> { WORD }",
        right: "pair.blue",
        wrong: "Own::new(group)",
    },
    Case {
        name: "a container's image is one by digest, not any text",
        code: "fn container(container: ContainerDefinition, image: ImageByDigest) -> ContainerDefinition {
            ContainerDefinition { image: WORD, ..container }
        }",
        right: "image.into()",
        wrong: "\"registry.example/app:latest\".into()",
    },
    Case {
        name: "a container's image is one by digest, not any parameter",
        code: "fn container(container: ContainerDefinition, image: Expr<ImageByDigest>, text: Expr<String>) -> ContainerDefinition {
            ContainerDefinition { image: WORD, ..container }
        }",
        right: "image",
        wrong: "text",
    },
    Case {
        name: "a port is no number of tasks",
        code: "fn count() -> Count { WORD::of(80) }",
        right: "Count",
        wrong: "Port",
    },
    Case {
        name: "a port is no size of a task",
        code: "fn task(task: TaskDefinition) -> TaskDefinition { TaskDefinition { size: WORD, ..task } }",
        right: "FargateSize::of::<256, 512>()",
        wrong: "Port::of(256)",
    },
    Case {
        name: "Fargate's pairs of CPU and memory are a type",
        code: "fn size() -> FargateSize { FargateSize::of::<512, WORD>() }",
        right: "1024",
        wrong: "512",
    },
    Case {
        name: "an ARN of a role is none of a log group",
        code: "fn arn(role: Ref<Role>, log: Ref<LogGroup>) -> Expr<Arn<Role>> { WORD.arn() }",
        right: "role",
        wrong: "log",
    },
];
