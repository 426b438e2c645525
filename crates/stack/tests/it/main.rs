//! The stack as a template: what each setting adds, how parts of templates are put together, what its policies allow, what
//! AWS's schemas say, and that wrong wiring does not compile.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod assembly;
mod graph;
mod options;
#[path = "../../../../examples/own-stack/src/orders.rs"]
mod own_stack;
mod patterns;
mod pipeline;
mod profiles;
mod schema;
mod simulate;
mod template;
mod wiring;
