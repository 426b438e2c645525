//! A port is no number of tasks.

use cfn_kit::resources::values::{Count, Port};

fn right() -> Count {
    Count::of(80)
}

fn wrong() -> Count {
    Port::of(80)
}

fn main() {}
