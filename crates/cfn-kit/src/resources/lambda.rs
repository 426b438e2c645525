//! AWS Lambda.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use cfn_kit::resources::iam::Role;
//! use cfn_kit::resources::lambda::{
//!     Architecture, Code, DeadLetterConfig, Environment, EventInvokeConfig, Function, LoggingConfig, Permission,
//! };
//! use cfn_kit::resources::logs::LogGroup;
//! use cfn_kit::resources::s3::Bucket;
//! use cfn_kit::resources::sns::Topic;
//! use cfn_kit::resources::values::RetentionDays;
//! use cfn_kit::{PolicyDocument, Stack, Statement};
//!
//! let mut stack = Stack::new("A function that a schedule starts");
//! let zips = stack.add("Zips", Bucket::private(vec![]));
//! let failures = stack.add("Failures", Topic { kms_master_key_id: None, subscription: vec![], tags: vec![] });
//! let log = LogGroup {
//!     retention_in_days: RetentionDays::MONTH,
//!     log_group_name: None,
//!     kms_key_id: None,
//!     tags: vec![],
//! };
//! let log = stack.add("Log", log);
//! let role = Role {
//!     description: "Clean up".to_owned(),
//!     assume_role_policy_document: PolicyDocument::new(vec![Statement::trust("lambda.amazonaws.com")]),
//!     policies: vec![],
//!     tags: vec![],
//! };
//! let role = stack.add("Role", role);
//! let function = Function {
//!     description: "Clean up".to_owned(),
//!     runtime: "provided.al2023",
//!     architectures: [Architecture::Arm64],
//!     handler: "bootstrap",
//!     code: Code { s3_bucket: zips.name(), s3_key: "clean-up.zip".into() },
//!     role: role.arn(),
//!     memory_size: 256,
//!     timeout: 60,
//!     environment: Environment { variables: BTreeMap::from([("DAYS", "30".into())]) },
//!     logging_config: LoggingConfig { log_group: log.name(), log_format: "JSON" },
//!     kms_key_arn: None,
//!     vpc_config: None,
//!     dead_letter_config: Some(DeadLetterConfig { target_arn: failures.arn() }),
//!     reserved_concurrent_executions: None,
//!     tags: vec![],
//! };
//! let function = stack.add("CleanUp", function);
//! let retries = EventInvokeConfig {
//!     function_name: function.name(),
//!     qualifier: "$LATEST",
//!     maximum_retry_attempts: 2,
//!     maximum_event_age_in_seconds: 3600,
//! };
//! stack.add("Retries", retries);
//! let permission = Permission {
//!     function_name: function.name(),
//!     action: "lambda:InvokeFunction",
//!     principal: "events.amazonaws.com",
//!     source_arn: "arn:aws:events:eu-central-1:123456789012:rule/nightly".into(),
//! };
//! stack.add("Nightly", permission);
//! assert!(stack.finish().is_ok());
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ec2::{SecurityGroup, Subnet};
use super::iam::Role;
use super::kms::Key;
use super::logs::LogGroup;
use super::s3::Bucket;
use super::sns::Topic;
use super::values::Amount;
use crate::{Arn, Expr, Id, Name, Ref, Resource, Tag};

/// A function from a zip in S3.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Function {
    /// Its description.
    pub description: String,
    /// The runtime, for example `provided.al2023`.
    pub runtime: &'static str,
    /// The processor that it runs on.
    pub architectures: [Architecture; 1],
    /// The name of the entry point; a custom runtime's is `bootstrap`.
    pub handler: &'static str,
    /// The zip.
    pub code: Code,
    /// Its execution role.
    pub role: Expr<Arn<Role>>,
    /// Memory in MiB, 128 to 10,240; the CPU share is proportional to it.
    pub memory_size: u16,
    /// Maximum seconds of an invocation, at most 900.
    pub timeout: u16,
    /// Environment variables.
    pub environment: Environment,
    /// The destination of its log.
    pub logging_config: LoggingConfig,
    /// The key that encrypts its environment variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<Expr<Arn<Key>>>,
    /// The network that it runs in. Without one, it reaches the internet but no private network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_config: Option<VpcConfig>,
    /// The destination of asynchronous invocations that could not be executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// Reserved concurrent invocations, taken from the quota of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_concurrent_executions: Option<Amount>,
    /// Tags.
    pub tags: Vec<Tag>,
}

impl Resource for Function {
    const TYPE: &'static str = "AWS::Lambda::Function";
}

impl Ref<Function> {
    /// The function's name.
    pub fn name(&self) -> Expr<Name<Function>> {
        self.reference()
    }

    /// The function's ARN.
    pub fn arn(&self) -> Expr<Arn<Function>> {
        self.attribute("Arn")
    }
}

/// The network that a function runs in. A function needs one only to reach what has no public address: it then has no
/// way to the internet of its own (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc-internet.html>).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcConfig {
    /// Its subnets.
    pub subnet_ids: Vec<Expr<Id<Subnet>>>,
    /// Its security groups.
    pub security_group_ids: Vec<Expr<Id<SecurityGroup>>>,
}

/// The destination of invocations that could not be executed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    /// The topic.
    pub target_arn: Expr<Arn<Topic>>,
}

/// The processor of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM (Graviton).
    #[serde(rename = "arm64")]
    Arm64,
}

/// The location of a function's zip.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Code {
    /// The bucket.
    pub s3_bucket: Expr<Name<Bucket>>,
    /// The key in the bucket.
    pub s3_key: Expr<String>,
}

/// The environment variables of a function.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    /// Variables by name.
    pub variables: BTreeMap<&'static str, Expr<String>>,
}

/// The destination of a function's log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    /// The log group.
    pub log_group: Expr<Name<LogGroup>>,
    /// `JSON` or `Text`.
    pub log_format: &'static str,
}

/// Retries of asynchronous invocations.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventInvokeConfig {
    /// The function.
    pub function_name: Expr<Name<Function>>,
    /// The version or alias; `$LATEST` for the unpublished one.
    pub qualifier: &'static str,
    /// Retries after an error, 0 to 2.
    pub maximum_retry_attempts: u8,
    /// Maximum age of an event in seconds, 60 to 21,600.
    pub maximum_event_age_in_seconds: u16,
}

impl Resource for EventInvokeConfig {
    const TYPE: &'static str = "AWS::Lambda::EventInvokeConfig";
}

/// Allows a service to invoke a function.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Permission {
    /// The function, by name. With its ARN, CloudFormation would predict that every change of the function may replace
    /// this permission.
    pub function_name: Expr<Name<Function>>,
    /// `lambda:InvokeFunction`.
    pub action: &'static str,
    /// The service.
    pub principal: &'static str,
    /// The resource of that service that may invoke it.
    pub source_arn: Expr<String>,
}

impl Resource for Permission {
    const TYPE: &'static str = "AWS::Lambda::Permission";
}
