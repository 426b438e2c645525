//! AWS's resource schemas against this repository: they come with cfn-lint, which `make` installs into `.venv`.
//!
//! After an update of cfn-lint, or for a new resource type: `UPDATE_SCHEMA=1 cargo nextest run -p infra --test schema`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod conformance;
mod pipeline;
#[path = "../profiles/mod.rs"]
mod profiles;
mod published;
mod replacing;
