//! AWS's resource schemas against this repository: they come with cfn-lint, which `make` installs into `.venv`.
//!
//! After an update of cfn-lint, or for a new resource type: `UPDATE_SCHEMA=1 cargo nextest run --workspace -E 'test(schema::)'`.

mod conformance;
mod pipeline;
mod published;
mod replacing;
