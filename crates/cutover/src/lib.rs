//! The cutover engine: swaps the prod and dev listeners of one blue/green stack while it probes prod, and
//! swaps them back if a probe fails.
//!
//! [`machine`] makes the decisions (pure), [`balancer`] and [`probe`] do the I/O, and [`run`] connects them.
//! The Lambda function is a thin adapter over this library.
//! This crate must not know what a deployment is, nor whether it talks to AWS or to a simulation of AWS.

pub mod balancer;
pub mod config;
pub mod events;
pub mod idle;
pub mod machine;
pub mod metrics;
pub mod notifier;
pub mod probe;
pub mod run;
