//! Tests of the template: the additions of each setting, the assembly of parts of templates, the permissions of
//! policies, conformance to AWS's schemas, and that the published crates are documented.

// Helper functions are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod assembly;
mod graph;
mod options;
#[path = "../../../../examples/own-stack/src/orders.rs"]
mod own_stack;
mod patterns;
mod pipeline;
mod profiles;
mod published;
mod schema;
mod simulate;
mod template;
