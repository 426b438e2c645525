//! The deployment engine: change set → events → outcome, and what "deployed" means beyond CloudFormation's word.
//!
//! What happens is told as [`Event`]s to whoever listens; nothing here prints.

mod change_set;
mod control;
mod event;
mod evidence;
mod follow;
mod guard;
mod history;
pub mod plan;
mod poll;
mod service;
mod steady;

pub use change_set::{ChangeSet, Parameters, Source};
pub use control::{Control, OnFailure, Stage};
pub use event::{Event, Listener, Timer};
pub use follow::{Operation, follow_deletion, follow_operation, settle, why_it_failed};
pub use guard::refuse_live_changes;
pub use plan::Plan;
pub use poll::Poll;
pub use steady::{Expected, observe, wait_until_steady};
