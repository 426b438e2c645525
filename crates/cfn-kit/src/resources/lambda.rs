//! AWS Lambda.

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
    /// What it does.
    pub description: String,
    /// The runtime, for example `provided.al2023`.
    pub runtime: &'static str,
    /// The processor it runs on.
    pub architectures: [Architecture; 1],
    /// The name of the entry point; a custom runtime's is `bootstrap`.
    pub handler: &'static str,
    /// The zip.
    pub code: Code,
    /// The role it runs as.
    pub role: Expr<Arn<Role>>,
    /// Memory in MiB, 128 to 10,240; the share of a processor grows with it.
    pub memory_size: u16,
    /// Seconds after which an invocation is ended, at most 900.
    pub timeout: u16,
    /// Environment variables.
    pub environment: Environment,
    /// Where its log goes.
    pub logging_config: LoggingConfig,
    /// The key that its environment is encrypted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<Expr<Arn<Key>>>,
    /// The network it runs in; without one it reaches the internet and no private network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_config: Option<VpcConfig>,
    /// Where an asynchronous invocation goes that could not be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// Invocations that can run at once, taken from the account's.
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

/// The network a function runs in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcConfig {
    /// Its subnets.
    pub subnet_ids: Vec<Expr<Id<Subnet>>>,
    /// Its security groups.
    pub security_group_ids: Vec<Expr<Id<SecurityGroup>>>,
}

/// Where an invocation goes that could not be run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    /// The topic.
    pub target_arn: Expr<Arn<Topic>>,
}

/// The processor a function runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM (Graviton).
    #[serde(rename = "arm64")]
    Arm64,
}

/// Where a function's zip is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Code {
    /// The bucket.
    pub s3_bucket: Expr<Name<Bucket>>,
    /// The key in it.
    pub s3_key: Expr<String>,
}

/// A function's environment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    /// Variables by name.
    pub variables: BTreeMap<&'static str, Expr<String>>,
}

/// Where a function's log goes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    /// The log group.
    pub log_group: Expr<Name<LogGroup>>,
    /// `JSON` or `Text`.
    pub log_format: &'static str,
}

/// How often and how long Lambda tries an asynchronous invocation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventInvokeConfig {
    /// The function.
    pub function_name: Expr<Name<Function>>,
    /// The version or alias; `$LATEST` for the unpublished one.
    pub qualifier: &'static str,
    /// Further tries after an error, 0 to 2.
    pub maximum_retry_attempts: u8,
    /// Seconds an event may wait, 60 to 21,600.
    pub maximum_event_age_in_seconds: u16,
}

impl Resource for EventInvokeConfig {
    const TYPE: &'static str = "AWS::Lambda::EventInvokeConfig";
}

/// Lets a service invoke a function.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Permission {
    /// The function, by name: by its ARN, every change of the function might replace this, as far as CloudFormation knows.
    pub function_name: Expr<Name<Function>>,
    /// `lambda:InvokeFunction`.
    pub action: &'static str,
    /// The service.
    pub principal: &'static str,
    /// What of that service may.
    pub source_arn: Expr<String>,
}

impl Resource for Permission {
    const TYPE: &'static str = "AWS::Lambda::Permission";
}
