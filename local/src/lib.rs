//! The local cloud: AWS on one machine, without Docker and without an account.
//!
//! It is MiniStack (an emulator of the AWS APIs) behind a gateway, the Fargate that MiniStack lacks without Docker, and a
//! load balancer of its own. Nothing here knows what is deployed on it, and what is deployed does not know that it is here.

mod aws;
mod balancer;
mod cli;
mod commands;
mod control;
mod daemon;
mod engine;
mod environment;
mod error;
mod form;
mod gateway;
mod http_client;
mod image;
mod instance;
mod ministack;
mod process;
mod rule;
mod task_fault;

pub use cli::run;
