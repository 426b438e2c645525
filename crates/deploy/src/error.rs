//! What can go wrong in the deployment engine, as types: what a person does about it is said by the command.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use aws::connect_to::ConnectToError;
use aws::rules::BalancerError;
use aws::{AwsConfigError, CallError};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_xml::decode::XmlDecodeError;
use ledger::StoreError;
use model::color::Color;
use model::names::STACK_TAG;
use model::route::Route;
use model::stack_state::StackState;

use crate::guard::Refusal;

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the deployment engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to AWS failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// `BLUEGREEN_CONNECT_TO` cannot be parsed.
    #[error("cannot parse {}", model::variables::CONNECT_TO)]
    ConnectTo(#[from] ConnectToError),
    /// The AWS configuration cannot be read.
    #[error("cannot read the AWS configuration")]
    Configuration(#[from] AwsConfigError),
    /// Neither the AWS configuration nor the settings name a region.
    #[error("no AWS region is set")]
    NoRegion,
    /// The address of a service is not known in this region.
    #[error("cannot find the endpoint of {service} in {region}")]
    NoEndpoint {
        /// The service.
        service: &'static str,
        /// The region.
        region: String,
        /// Why.
        source: BoxError,
    },
    /// A call cannot be signed.
    #[error("cannot {operation}")]
    Unsigned {
        /// What was tried.
        operation: String,
    },
    /// AWS answered with something that cannot be parsed.
    #[error("cannot {operation}")]
    Unparsable {
        /// What was tried.
        operation: String,
        /// Why.
        source: XmlDecodeError,
    },
    /// AWS did not say who calls.
    #[error("AWS did not return the identity of the caller")]
    NoCaller,

    /// There is no stack of this name.
    #[error("stack {stack} does not exist in {region}")]
    NoStack {
        /// Its name.
        stack: String,
        /// The region.
        region: String,
    },
    /// The stack lacks an output, because its deployment is not finished.
    #[error("stack {stack} has no output {output}")]
    NoOutput {
        /// The stack.
        stack: String,
        /// The output.
        output: String,
        /// The state of the stack.
        state: StackState,
    },
    /// Something else created the stack.
    #[error("stack {stack} was not created by bluegreen")]
    ForeignStack {
        /// Its name.
        stack: String,
        /// What shows it.
        mark: ForeignStack,
    },
    /// A bucket or registry that the stack names is not its own.
    #[error("{object} does not belong to stack {stack}")]
    ForeignObject {
        /// For example `bucket NAME`.
        object: String,
        /// The stack.
        stack: String,
        /// What shows it.
        mark: ForeignObject,
    },

    /// The listener rules cannot be read.
    #[error("cannot read the listener rules")]
    Rules(#[from] BalancerError),
    /// Prod sends requests to both environments.
    #[error("prod is split: {route}")]
    Split {
        /// The share of each environment.
        route: Route,
    },
    /// Prod sends requests to something else than the environments.
    #[error("prod does not forward to an environment of this stack")]
    NotUnderstood {
        /// What it does.
        problem: String,
    },
    /// Prod has no rule.
    #[error("prod has no rule: nothing was released yet, or the rule was deleted")]
    NotReleased,
    /// The load balancer has no DNS name.
    #[error("the load balancer has no name")]
    NoBalancerName,

    /// The region has too few availability zones with Fargate.
    #[error("fewer than two availability zones with Fargate in {region}")]
    TooFewZones {
        /// The region.
        region: String,
    },
    /// The stack has no subnets.
    #[error("stack {stack} does not contain subnets")]
    NoSubnets {
        /// The stack.
        stack: String,
        /// Its state.
        state: StackState,
    },
    /// Subnets without an availability zone.
    #[error("the subnets of stack {stack} have no availability zone")]
    SubnetsWithoutZone {
        /// The stack.
        stack: String,
    },

    /// CloudFormation read another template than the one that was uploaded.
    #[error("CloudFormation read a different template for stack {stack} than this command uploaded")]
    TemplateReplaced {
        /// The stack.
        stack: String,
    },
    /// CloudFormation rejected a change set.
    #[error("CloudFormation rejected the change of stack {stack}")]
    Rejected {
        /// The stack.
        stack: String,
        /// Why.
        reasons: Vec<String>,
        /// What kind of reason that is.
        kind: Rejection,
    },
    /// A change set is refused and cannot be deleted either.
    #[error("{error}")]
    NotDiscarded {
        /// Why it is refused.
        error: Box<Self>,
        /// Why it cannot be deleted.
        discarding: Box<Self>,
    },
    /// Whether a change set is being executed is not known.
    #[error(transparent)]
    ExecutionUnknown(CallError),
    /// The plan changes what is live, or an environment that is not deployed to.
    #[error("this deployment would change protected resources")]
    LiveChange(Vec<Refusal>),

    /// An operation of the stack did not end as it should.
    #[error(transparent)]
    Ended(Box<OperationEnd>),
    /// AWS does not answer, and the operation continues.
    #[error("{0}")]
    Unobserved(Box<Self>),
    /// An environment has no service.
    #[error("the {color} environment has no service")]
    NoService {
        /// The environment.
        color: Color,
    },
    /// The service of an environment was deleted while it was waited for.
    #[error("the service of the {color} environment is gone")]
    ServiceGone {
        /// The environment.
        color: Color,
    },
    /// An environment does not run what was deployed to it.
    #[error(transparent)]
    RolloutFailed(Box<RolloutFailure>),
    /// An environment responds with another version.
    #[error(transparent)]
    OtherVersion(Box<OtherVersion>),

    /// No number is free for a release.
    #[error("cannot number this release: {first} to {last} are in use")]
    NoFreeNumber {
        /// The first number that was tried.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Another command took the number of a release.
    #[error("release {number} was created by another command in the meantime")]
    NumberTaken {
        /// The number.
        number: u64,
    },
    /// The record of a release is gone.
    #[error("the record of release {number} was deleted")]
    RecordDeleted {
        /// The number.
        number: u64,
    },
    /// The record of a release cannot be parsed.
    #[error("cannot read the record of release {number}")]
    RecordUnreadable {
        /// The number.
        number: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The record of a release cannot be written as JSON.
    #[error("cannot write the release record")]
    RecordUnwritable(#[source] serde_json::Error),
    /// The records of releases cannot be accessed.
    #[error("cannot access the records of releases")]
    Records(#[from] StoreError),
}

/// What shows that something else created a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignStack {
    /// A change set has another name than this product gives.
    #[error("it has a change set that bluegreen did not create")]
    ChangeSet,
    /// The template has another description.
    #[error("its template does not have the description of a bluegreen stack")]
    Description,
}

/// What shows that a bucket or registry is not the stack's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignObject {
    /// Its tag names another stack.
    #[error("its tag {STACK_TAG} names stack {0}")]
    OtherStack(String),
    /// It does not have the tag that the stack's template gives it.
    #[error("its tag {STACK_TAG} is missing: it was removed, or another object has the same name")]
    NoTag,
}

/// Why CloudFormation rejects a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The account has an identity provider of this URL already
    /// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>).
    ProviderExists,
    /// Something of this name exists already.
    NameExists,
    /// Another reason.
    Other,
}

/// An operation of a stack that did not end as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEnd {
    /// The stack.
    pub stack: String,
    /// The state in which it is now.
    pub state: StackState,
    /// Whether the operation was cancelled by this command.
    pub cancelled: bool,
    /// Why it failed, the root causes first.
    pub causes: Vec<String>,
}

impl fmt::Display for OperationEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stack = &self.stack;
        match &self.state {
            StackState::UpdateRollbackComplete => {
                let how = if self.cancelled { "was cancelled" } else { "failed" };
                write!(out, "the update of stack {stack} {how} and was rolled back: the previous state is restored")
            }
            StackState::RollbackComplete => {
                write!(out, "the creation of stack {stack} failed and was rolled back: none of its resources run")
            }
            StackState::DeleteFailed => write!(out, "stack {stack} could not be deleted completely"),
            StackState::UpdateRollbackFailed => {
                write!(out, "the update of stack {stack} failed, and its rollback failed too")
            }
            other => write!(out, "stack {stack} ended in {other}"),
        }
    }
}

impl std::error::Error for OperationEnd {}

/// An environment that does not run what was deployed to it.
#[derive(Debug, thiserror::Error)]
#[error("the deployment to {color} failed")]
pub struct RolloutFailure {
    /// The environment.
    pub color: Color,
    /// What its tasks said, if any failed.
    pub failures: Option<String>,
    /// What became of it.
    pub reason: String,
    /// Why its failed tasks cannot be read, if that is so.
    pub unread: Option<Error>,
}

/// An environment that responds with another version than the one that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment responds with version {found}, expected {expected}")]
pub struct OtherVersion {
    /// The version that it responds with.
    pub found: String,
    /// The version that was deployed.
    pub expected: String,
    /// The address of the load balancer that was asked.
    pub address: SocketAddr,
    /// The header with the version.
    pub header: String,
    /// How long it was asked.
    pub waited: Duration,
}

impl Error {
    /// The call to AWS that failed, if that is the cause.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) | Self::ExecutionUnknown(error) => Some(error),
            Self::Unobserved(error) | Self::NotDiscarded { error, .. } => error.call(),
            _ => None,
        }
    }

    /// Whether the same may succeed in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rules(error) => !error.rejected && !self.is_lasting(),
            other => other.call().is_some_and(CallError::is_transient),
        }
    }

    /// Whether it fails until a person fixes the cause.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Rules(error) => aws::names_lasting_code(&error.cause),
            other => other.call().is_some_and(CallError::is_lasting),
        }
    }
}
