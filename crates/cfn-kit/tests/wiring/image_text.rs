//! A container's image is one by digest, not any text.

use cfn_kit::resources::ecs::{ContainerDefinition, ImageByDigest};

fn right(container: ContainerDefinition, image: ImageByDigest) -> ContainerDefinition {
    ContainerDefinition { image: image.into(), ..container }
}

fn wrong(container: ContainerDefinition) -> ContainerDefinition {
    ContainerDefinition { image: "registry.example/app:latest".into(), ..container }
}

fn main() {}
