//! A port is no size of a task.

use cfn_kit::resources::ecs::{FargateSize, TaskDefinition};
use cfn_kit::resources::values::Port;

fn right(task: TaskDefinition) -> TaskDefinition {
    TaskDefinition { size: FargateSize::of::<256, 512>(), ..task }
}

fn wrong(task: TaskDefinition) -> TaskDefinition {
    TaskDefinition { size: Port::of(256), ..task }
}

fn main() {}
