//! The AWS clients that commands use, made once from the standard AWS configuration.

use std::sync::OnceLock;

use aws::account_of;
use aws::connect_to::ConnectTo;
use aws::rules::{Places, Rules};
use aws_config::SdkConfig;
use ledger::S3Ledger;
use model::Process;
use stack::Settings;
use stack::outputs::Outputs;

use crate::error::{Error, Result};
use crate::releases::ReleaseLedger;
use crate::traffic::Traffic;

/// Clients for every AWS service that the commands call, and how to reach what they print.
pub struct Cloud {
    /// The configuration they were made from.
    pub config: SdkConfig,
    /// CloudFormation.
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// Metrics.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// The image registry.
    pub ecr: aws_sdk_ecr::Client,
    /// Services and tasks.
    pub ecs: aws_sdk_ecs::Client,
    /// The load balancer.
    pub elbv2: aws_sdk_elasticloadbalancingv2::Client,
    /// The cutover function.
    pub lambda: aws_sdk_lambda::Client,
    /// What the account may have.
    pub quotas: aws_sdk_servicequotas::Client,
    /// The stack's bucket.
    pub s3: aws_sdk_s3::Client,
    /// Logs.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Where names and ports are reached (`BLUEGREEN_CONNECT_TO`).
    pub connect_to: ConnectTo,
    /// The id of the stack that was looked up.
    pub(crate) stack: OnceLock<String>,
    /// Its id again, once it is certain that its bucket and its registry are its own.
    pub(crate) checked: OnceLock<String>,
}

impl Cloud {
    /// Reads the standard AWS configuration; the region defaults to that of the settings. No call is made yet.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        let connect_to = ConnectTo::from_env()?;
        let mut config = aws::sdk_config().await?;
        if config.region().is_none() {
            let Some(region) = &settings.region else { return Err(Error::NoRegion) };
            config = config.into_builder().region(aws_config::Region::new(region.to_string())).build();
        }
        Ok(Self::new(config, connect_to))
    }

    /// The clients of this configuration.
    pub fn new(config: SdkConfig, connect_to: ConnectTo) -> Self {
        Self {
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            ecs: aws_sdk_ecs::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            quotas: aws_sdk_servicequotas::Client::new(&config),
            s3: ledger::s3_client(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            config,
            connect_to,
            stack: OnceLock::new(),
            checked: OnceLock::new(),
        }
    }

    /// The region of the configuration.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |region| region.as_ref())
    }

    /// The account of the stack that was looked up: a bucket of the same name in another one is neither read nor written.
    pub fn account(&self) -> Option<String> {
        account_of(self.stack.get()?).map(str::to_owned)
    }

    /// The ledger of cutovers in the bucket of the stack that was looked up.
    pub fn ledger(&self, bucket: &str) -> S3Ledger {
        S3Ledger::in_bucket(&self.config, bucket, self.account().as_deref()).of_process(Process::current())
    }

    /// The records of releases in the bucket of the stack that was looked up.
    pub fn releases(&self, bucket: &str) -> ReleaseLedger {
        ReleaseLedger::in_bucket(&self.config, bucket, self.account().as_deref())
    }

    /// The rules that carry the traffic of this stack.
    pub fn rules(&self, stack: &str, outputs: &Outputs) -> Rules {
        let places = Places {
            stack: stack.to_owned(),
            prod_listener: outputs.prod_listener.clone(),
            dev_listener: outputs.dev_listener.clone(),
            blue_target_group: outputs.blue_target_group.clone(),
            green_target_group: outputs.green_target_group.clone(),
        };
        Rules::new(self.elbv2.clone(), places)
    }

    /// Where prod and dev send requests at this moment.
    pub async fn traffic(&self, stack: &str, outputs: &Outputs) -> Result<Traffic> {
        Ok(Traffic::from(self.rules(stack, outputs).find().await?))
    }
}
