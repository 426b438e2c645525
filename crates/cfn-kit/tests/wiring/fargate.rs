//! Fargate's pairs of CPU and memory are a type.

use cfn_kit::resources::ecs::FargateSize;

fn right() -> FargateSize {
    FargateSize::of::<512, 1024>()
}

fn wrong() -> FargateSize {
    FargateSize::of::<512, 512>()
}

fn main() {}
