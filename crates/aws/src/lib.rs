//! Access to AWS, the same for the function and the command: configuration, TLS, timeouts and retries, errors for people,
//! and the one reader and writer of the rules that carry traffic. Must not decide anything.

mod config;
mod only_permitted;

pub mod clock;
pub mod connect_to;
pub mod rules;

pub use config::*;
pub use only_permitted::OnlyPermitted;
