//! The sample app: an Actix Web greeter in two versions that differ in text, color, and the format of `/api`.
//! Both environments, blue and green, run it. It must not know its environment, nor anything about AWS.

mod app;
mod commands;
mod healthcheck;
mod name;
mod page;
mod server;
mod settings;
mod version;

pub use app::{MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_REQUESTS_PER_CONNECTION, app};
pub use commands::run;
pub use name::{MAX_NAME_CHARS, Name};
pub use version::{ApiFormat, V1, V2, Version};
