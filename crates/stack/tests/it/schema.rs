//! Tests with AWS's resource schemas, which are part of cfn-lint; `make` installs it into `.venv`.
//!
//! After an update of cfn-lint, or for a new resource type: `UPDATE_SCHEMA=1 cargo nextest run --workspace -E
//! 'test(schema::)'`.

mod conformance;
mod pipeline;
mod published;
mod replacing;
