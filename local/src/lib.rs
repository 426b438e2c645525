//! The local cloud: AWS on one machine, without Docker and without an account.
//!
//! It is MiniStack (an emulator of the AWS APIs), the Fargate that MiniStack lacks without Docker, and port forwarders to
//! the load balancer. Nothing here knows what is deployed on it, and what is deployed does not know that it is here.

mod aws;
mod cli;
mod commands;
mod daemon;
mod engine;
mod environment;
mod error;
mod forward;
mod http_client;
mod image;
mod instance;
mod ministack;
mod process;

pub use cli::run;
