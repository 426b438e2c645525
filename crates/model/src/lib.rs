//! What the function and the command share: environments, routes, requests, records, status, and the names of things
//! that one of them writes and the other one reads. Values and their formats only: no AWS, no clock, no network.

pub mod color;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod hook;
pub mod idle;
pub mod keys;
pub mod lease;
pub mod listener;
pub mod names;
pub mod permissions;
pub mod process;
pub mod record;
pub mod request;
pub mod route;
pub mod stack_state;
pub mod status;
pub mod steering;
pub mod time;
pub mod variables;

pub use color::Color;
pub use process::Process;
pub use record::{Outcome, Phase, Record};
pub use request::{Op, Request};
pub use route::{Listener, Route};
pub use status::{Answer, Status};
