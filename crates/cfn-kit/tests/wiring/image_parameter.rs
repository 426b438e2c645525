//! A container's image is one by digest, not any parameter.

use cfn_kit::Expr;
use cfn_kit::resources::ecs::{ContainerDefinition, ImageByDigest};

fn right(container: ContainerDefinition, image: Expr<ImageByDigest>) -> ContainerDefinition {
    ContainerDefinition { image, ..container }
}

fn wrong(container: ContainerDefinition, image: Expr<String>) -> ContainerDefinition {
    ContainerDefinition { image, ..container }
}

fn main() {}
