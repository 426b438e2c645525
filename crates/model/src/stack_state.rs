//! The states of a stack and of its resources, as CloudFormation names them
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a state says about the operation that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not over.
    InProgress,
    /// It succeeded.
    Complete,
    /// It failed.
    Failed,
    /// Something else, or something that this version does not know.
    Other,
}

impl Progress {
    fn of(state: &str) -> Self {
        match state.rsplit('_').next() {
            Some("PROGRESS") => Self::InProgress,
            Some("COMPLETE") => Self::Complete,
            Some("FAILED") => Self::Failed,
            _ => Self::Other,
        }
    }
}

macro_rules! stack_states {
    ($($state:ident $name:literal,)*) => {
        /// The state of a stack
        /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Stack.html>).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum StackState {
            $(#[doc = concat!("`", $name, "`")] $state,)*
            /// A state that this version does not know.
            Unknown(String),
        }

        impl StackState {
            /// Every state that this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$state,)*];

            /// Its name, as CloudFormation writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$state => $name,)*
                    Self::Unknown(name) => name,
                }
            }
        }

        impl From<&str> for StackState {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$state,)*
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }
    };
}

stack_states! {
    CreateInProgress "CREATE_IN_PROGRESS",
    CreateFailed "CREATE_FAILED",
    CreateComplete "CREATE_COMPLETE",
    RollbackInProgress "ROLLBACK_IN_PROGRESS",
    RollbackFailed "ROLLBACK_FAILED",
    RollbackComplete "ROLLBACK_COMPLETE",
    DeleteInProgress "DELETE_IN_PROGRESS",
    DeleteFailed "DELETE_FAILED",
    DeleteComplete "DELETE_COMPLETE",
    UpdateInProgress "UPDATE_IN_PROGRESS",
    UpdateCompleteCleanupInProgress "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    UpdateComplete "UPDATE_COMPLETE",
    UpdateFailed "UPDATE_FAILED",
    UpdateRollbackInProgress "UPDATE_ROLLBACK_IN_PROGRESS",
    UpdateRollbackFailed "UPDATE_ROLLBACK_FAILED",
    UpdateRollbackCompleteCleanupInProgress "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    UpdateRollbackComplete "UPDATE_ROLLBACK_COMPLETE",
    ReviewInProgress "REVIEW_IN_PROGRESS",
    ImportInProgress "IMPORT_IN_PROGRESS",
    ImportComplete "IMPORT_COMPLETE",
    ImportRollbackInProgress "IMPORT_ROLLBACK_IN_PROGRESS",
    ImportRollbackFailed "IMPORT_ROLLBACK_FAILED",
    ImportRollbackComplete "IMPORT_ROLLBACK_COMPLETE",
}

impl StackState {
    /// Whether there is nothing but change sets that nobody has executed yet.
    pub fn is_in_review(&self) -> bool {
        *self == Self::ReviewInProgress
    }

    /// Whether an operation is in progress. A stack in review waits for one.
    pub fn is_in_progress(&self) -> bool {
        self.progress() == Progress::InProgress && !self.is_in_review()
    }

    /// Whether the stack is deleted.
    pub fn is_deleted(&self) -> bool {
        *self == Self::DeleteComplete
    }

    /// Whether its deletion has begun.
    pub fn is_being_deleted(&self) -> bool {
        matches!(self, Self::DeleteInProgress | Self::DeleteFailed | Self::DeleteComplete)
    }

    /// Whether its creation failed: nothing of it runs, and it can only be deleted.
    pub fn has_failed_creation(&self) -> bool {
        matches!(self, Self::CreateFailed | Self::RollbackFailed | Self::RollbackComplete)
    }

    /// Whether there is nothing yet, or nothing any more, that an update could start from.
    pub fn must_be_created(&self) -> bool {
        self.is_deleted() || self.is_in_review() || self.has_failed_creation()
    }

    /// Whether the last operation is over, and left something that can be built on.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::CreateComplete | Self::UpdateComplete | Self::UpdateRollbackComplete)
    }

    /// What it says about the last operation.
    pub fn progress(&self) -> Progress {
        Progress::of(self.as_str())
    }

    /// Whether an operation that ends in this state did what was asked for.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::CreateComplete | Self::UpdateComplete | Self::DeleteComplete | Self::ImportComplete)
    }

    /// Whether an operation begins with this state.
    pub fn is_begin(&self) -> bool {
        matches!(self, Self::CreateInProgress | Self::UpdateInProgress | Self::DeleteInProgress)
    }
}

impl From<String> for StackState {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<StackState> for String {
    fn from(state: StackState) -> Self {
        state.as_str().to_owned()
    }
}

impl fmt::Display for StackState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What happens to a resource, or happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create,
    /// It is updated.
    Update,
    /// It is brought back to what it was.
    RollBack,
    /// It is deleted.
    Delete,
    /// Something else.
    Other,
}

/// The state of a resource of a stack
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html>). Events of the stack itself have
/// the stack's state as theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceState(String);

impl ResourceState {
    /// The state of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name, as CloudFormation writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says about the resource.
    pub fn progress(&self) -> Progress {
        Progress::of(&self.0)
    }

    /// What happens to the resource.
    pub fn action(&self) -> Action {
        match self.0.split('_').next() {
            _ if self.0.contains("ROLLBACK") => Action::RollBack,
            Some("CREATE") => Action::Create,
            Some("UPDATE") => Action::Update,
            Some("DELETE") => Action::Delete,
            _ => Action::Other,
        }
    }

    /// Whether the resource failed, or is brought back to what it was because something failed.
    pub fn is_bad(&self) -> bool {
        self.progress() == Progress::Failed || self.action() == Action::RollBack
    }

    /// Whether the resource is gone, or stays although the stack does not.
    pub fn is_deleted(&self) -> bool {
        ["DELETE_COMPLETE", "DELETE_SKIPPED"].contains(&self.0.as_str())
    }

    /// Whether its deletion failed.
    pub fn is_delete_failed(&self) -> bool {
        self.0 == "DELETE_FAILED"
    }

    /// The same as a state of the stack, for an event of the stack itself.
    pub fn of_stack(&self) -> StackState {
        StackState::from(self.as_str())
    }
}

impl fmt::Display for ResourceState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_states_are_read_as_they_are_written() {
        for state in StackState::KNOWN {
            assert_eq!(StackState::from(state.as_str()), *state);
        }
        let unknown = StackState::from("PAUSED_IN_PROGRESS");
        assert_eq!(unknown, StackState::Unknown("PAUSED_IN_PROGRESS".to_owned()));
        assert_eq!(serde_json::to_string(&unknown).unwrap(), r#""PAUSED_IN_PROGRESS""#);
        assert!(unknown.is_in_progress(), "a state that is not known yet is read by its ending");
    }

    #[test]
    fn every_state_has_one_way_on() {
        for state in StackState::KNOWN {
            let ways = [
                state.is_in_progress(),
                state.must_be_created(),
                state.is_settled(),
                matches!(state, StackState::DeleteFailed | StackState::UpdateRollbackFailed | StackState::UpdateFailed),
                state.as_str().starts_with("IMPORT") && !state.is_in_progress(),
            ];
            assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{state}");
        }
    }

    #[test]
    fn a_resource_that_is_rolled_back_is_bad_and_one_that_is_changed_is_not() {
        for (name, progress, bad) in [
            ("CREATE_IN_PROGRESS", Progress::InProgress, false),
            ("UPDATE_COMPLETE", Progress::Complete, false),
            ("CREATE_FAILED", Progress::Failed, true),
            ("UPDATE_ROLLBACK_IN_PROGRESS", Progress::InProgress, true),
            ("DELETE_SKIPPED", Progress::Other, false),
            ("", Progress::Other, false),
        ] {
            let state = ResourceState::new(name);
            assert_eq!((state.progress(), state.is_bad()), (progress, bad), "{name}");
        }
    }
}
