//! The cutover engine: swaps the prod and dev listeners of one blue/green stack while it probes prod, and
//! swaps them back when a probe fails.
//!
//! The decisions are in [`machine`] (pure), the edges in [`balancer`] and [`probe`], and [`run`] joins them.
//! The Lambda function is a thin adapter over this library.
//! Nothing here may know what a deployment is, nor whether it talks to AWS or to something that answers like it.

pub mod audience;
pub mod balancer;
pub mod config;
pub mod events;
pub mod idle;
pub mod machine;
pub mod metrics;
pub mod probe;
pub mod run;
