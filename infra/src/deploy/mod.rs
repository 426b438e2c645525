//! The deployment engine: change set → events → outcome, and what "deployed" means beyond CloudFormation's word.
//!
//! Progress is sent as [`Event`]s to a [`Listener`]; nothing here prints.

mod change_set;
mod control;
mod event;
mod events;
mod evidence;
mod follow;
mod guard;
mod history;
mod idle;
mod outcome;
pub mod plan;
mod poll;
mod service;
mod silence;
mod steady;
pub mod template;
mod version;

pub use change_set::{ChangeSet, Parameters, Source};
pub use control::{Control, OnFailure, Stage};
pub use event::{Event, Listener, Timer};
pub use follow::{Operation, follow_deletion, follow_operation, settle};
pub use guard::{Rules, refuse_live_changes};
pub use idle::{sleeps, wake};
pub use outcome::why_it_failed;
pub use plan::Plan;
pub use poll::Poll;
pub use silence::{LASTING, until_answered};
pub use steady::{Expected, Observed, observe, wait_until_steady};
pub use version::{Answer, Sites};
