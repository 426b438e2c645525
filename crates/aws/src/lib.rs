//! Access to AWS for the function and the command: configuration, TLS, timeouts and retries, errors for people, and the
//! only reader and writer of the rules of prod and dev. Must not decide anything.

mod call;
mod config;
mod only_permitted;

pub mod clock;
pub mod connect_to;
pub mod rules;

pub use call::{CallError, CallErrorKind, Calling, chain, names_lasting_code};
pub use config::*;
pub use only_permitted::OnlyPermitted;
