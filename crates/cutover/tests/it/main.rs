//! Tests of the engine as a whole: the runner against a stack in memory, the prober against a real server, and the
//! machine under a model checker. One binary, because linking the AWS SDK takes longer than the tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests, helpers included")]

mod faults;
mod idle;
mod lag;
mod matrix;
mod model;
mod probes;
mod rollback;
mod scenarios;
mod steering;
mod tls;
mod world;
