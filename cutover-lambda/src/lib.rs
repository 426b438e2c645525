//! The cutover engine: swaps the prod and dev listeners of one blue/green stack while it probes prod, and
//! swaps them back when a probe fails.
//!
//! The decisions are in [`machine`] (pure), the edges in [`balancer`], [`probe`] and [`ledger`], and [`run`] joins them.
//! The Lambda function is a thin adapter over this library; the CLI uses the same request, record and lease types.
//! Nothing here may know what a deployment is, nor whether it talks to AWS or to something that answers like it.

pub mod audience;
pub mod aws;
pub mod balancer;
pub mod calls;
pub mod clock;
pub mod color;
pub mod config;
pub mod connect_to;
pub mod events;
pub mod hook;
pub mod idle;
pub mod ledger;
pub mod machine;
pub mod metrics;
pub mod probe;
pub mod report;
pub mod request;
pub mod route;
pub mod run;
pub mod status;
pub mod steering;

pub use color::Color;
pub use report::{Outcome, Phase, Record};
pub use request::{Op, Request};
pub use route::{Listener, Route};
pub use status::{Answer, Status};
