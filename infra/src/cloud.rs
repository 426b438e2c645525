//! The AWS clients that commands use, made once from the standard AWS configuration.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aws::account_of;
use aws::connect_to::ConnectTo;
use aws::rules::{Found, Places, Rules};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{StackResourceSummary, TemplateStage};
use ledger::S3Ledger;
use model::Process;
use model::color::Color;
use model::listener::ListenerState;
use serde_json::Value;

use crate::error::{Calling, Doing, Error, Result};
use crate::ownership;
use crate::releases::ReleaseLedger;
use stack::outputs::{self, Outputs};
use stack::{self, Settings};

/// What the name of every change set of this product begins with.
pub const CHANGE_SET_PREFIX: &str = "bluegreen-";

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
    stack: OnceLock<String>,
    /// Its id again, once it is certain that its bucket and its registry are its own.
    checked: OnceLock<String>,
}

impl Cloud {
    /// Reads the standard AWS configuration; the region defaults to that of the settings. No call is made yet.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        let connect_to = ConnectTo::from_env().map_err(|error| {
            Error::usage("cannot parse BLUEGREEN_CONNECT_TO")
                .because(error)
                .hint("use HOST1:PORT1:HOST2:PORT2 as in curl --connect-to; separate entries by commas, and several HOST2 by |")
        })?;
        let mut config = aws::sdk_config().await.doing(|| "read the AWS configuration".to_owned())?;
        if config.region().is_none() {
            let Some(region) = &settings.region else {
                return Err(Error::usage("no AWS region is set").hint(
                    "set AWS_REGION (for example AWS_REGION=eu-central-1), or region in bluegreen.toml, or use \
                     the local cloud (local-cloud exec; with make, CLOUD=local)",
                ));
            };
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
        let found = self.rules(stack, outputs).find().await;
        let found = found.map_err(|error| Error::failed("cannot read the listener rules").because(error))?;
        Ok(Traffic::from(found))
    }
}

/// Where prod and dev send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// What users get.
    pub prod: ListenerState,
    /// The state of the dev listener.
    pub dev: ListenerState,
    /// Whether rules of the stack say so. The listeners of a stack that an older version made forward by themselves.
    pub by_rules: bool,
}

impl From<Found> for Traffic {
    fn from(found: Found) -> Self {
        Self { prod: found.listeners.prod, dev: found.listeners.dev, by_rules: found.by_rules }
    }
}

impl Traffic {
    /// The environment that gets all of prod's requests, if there is one.
    pub fn prod_color(&self) -> Option<Color> {
        self.prod.color()
    }

    /// The environment that gets dev's requests, if there is one.
    pub fn dev_color(&self) -> Option<Color> {
        self.dev.color()
    }

    /// The percentage of prod's requests that an environment gets.
    pub fn share(&self, color: Color) -> u8 {
        self.prod.route().map_or(0, |route| route.percent(color))
    }

    /// The live environment, or none if no rule says which because nothing was released yet; an error if prod does not
    /// send everything to one environment.
    pub fn live(&self) -> Result<Option<Color>> {
        match (&self.prod, self.prod_color()) {
            (_, Some(color)) => Ok(Some(color)),
            (ListenerState::Absent, _) => Ok(None),
            (ListenerState::At(route), _) => Err(Error::refused(format!("prod is split: {route}"))
                .because("a gradual shift is in progress or was interrupted")
                .hint("wait for it to end: check bluegreen status, or run bluegreen deploy --wait")
                .hint("if none is in progress, point prod at one side: bluegreen reconcile")),
            (ListenerState::NotUnderstood(problem), _) => {
                Err(Error::refused("prod does not forward to an environment of this stack").because(problem).hint(
                    "delete the unexpected listener rule, and run bluegreen reconcile to create the \
                     rule again from the ledger",
                ))
            }
        }
    }

    /// The live environment; an error if nothing was released yet, too.
    pub fn require_live(&self) -> Result<Color> {
        self.live()?.ok_or_else(|| {
            Error::refused("prod has no rule: nothing was released yet, or the rule was deleted")
                .hint("finish the first deployment, which creates it: bluegreen deploy")
                .hint("create it again from the ledger: bluegreen reconcile")
        })
    }

    /// The role of an environment.
    pub fn role(&self, color: Color) -> String {
        let dev = self.dev_color() == Some(color);
        match (self.share(color), dev) {
            (0, true) => "dev".to_owned(),
            (0, false) => "no traffic".to_owned(),
            (100, true) => "prod+dev".to_owned(),
            (100, false) => "prod".to_owned(),
            (share, true) => format!("prod {share} %+dev"),
            (share, false) => format!("prod {share} %"),
        }
    }
}

/// A stack as CloudFormation describes it.
#[derive(Clone, Debug)]
pub struct DeployedStack {
    /// Its name.
    pub name: String,
    /// Its id, which stays valid after deletion.
    pub id: String,
    /// Its status, for example `UPDATE_COMPLETE`.
    pub status: String,
    /// Why it has this status, where CloudFormation says so.
    pub reason: Option<String>,
    /// Whether it is protected against deletion.
    pub protected: bool,
    /// The description of its template, if it has one.
    pub description: Option<String>,
    /// Its parameters' values.
    pub parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
    /// The names of its change sets. They are read only while there is nothing but them (`REVIEW_IN_PROGRESS`).
    change_sets: Vec<String>,
}

impl DeployedStack {
    /// The stack, or `None` if there is none of this name. An error if something else made the stack of this name: no verb
    /// gets one to work with.
    pub async fn find(cloud: &Cloud, name: &str) -> Result<Option<Self>> {
        let answer = cloud.cloudformation.describe_stacks().stack_name(name).send().await;
        let answer = match answer {
            Err(error) if is_missing(&error) => return Ok(None),
            other => other.calling(|| format!("look up stack {name}"))?,
        };
        let Some(stack) = answer.stacks().first() else { return Ok(None) };
        let mut found = Self {
            name: name.to_owned(),
            id: stack.stack_id().unwrap_or(name).to_owned(),
            status: stack.stack_status().map_or_else(String::new, |status| status.as_str().to_owned()),
            reason: stack.stack_status_reason().map(str::to_owned),
            protected: stack.enable_termination_protection().unwrap_or_default(),
            description: stack.description().map(str::to_owned),
            parameters: pairs(stack.parameters(), |it| (it.parameter_key(), it.parameter_value())),
            outputs: pairs(stack.outputs(), |it| (it.output_key(), it.output_value())),
            change_sets: Vec::new(),
        };
        if found.is_in_review() {
            found.change_sets = change_set_names(cloud, name).await?;
        } else if found.description.as_deref().unwrap_or_default().is_empty() {
            // AWS shows it. Not everything that speaks its API does, of a stack that a change set made.
            found.description = found.template(cloud).await?["Description"].as_str().map(str::to_owned);
        }
        found.require_ours()?;
        // A command works on one stack: it does not change between two looks.
        let _ = cloud.stack.set(found.id.clone());
        if found.bucket().is_ok() && cloud.checked.get() != Some(&found.id) {
            Box::pin(ownership::check(cloud, &found)).await?;
            let _ = cloud.checked.set(found.id.clone());
        }
        Ok(Some(found))
    }

    /// The template that it was last deployed with, to the letter.
    pub async fn template_text(&self, cloud: &Cloud) -> Result<String> {
        let call = cloud.cloudformation.get_template().stack_name(&self.id).template_stage(TemplateStage::Original);
        let answer = call.send().await.calling(|| format!("read the template of stack {}", self.name))?;
        Ok(answer.template_body.unwrap_or_default())
    }

    /// The template that it was last deployed with; nothing if it is not JSON, so not this command's.
    pub async fn template(&self, cloud: &Cloud) -> Result<Value> {
        Ok(serde_json::from_str(&self.template_text(cloud).await?).unwrap_or_default())
    }

    /// An error if this product did not make the stack.
    ///
    /// The mark is the description, which every status shows but one: a stack that only has change sets has no template
    /// yet, and is ours if every change set is.
    pub fn require_ours(&self) -> Result<()> {
        let ours = match self.status.as_str() {
            "REVIEW_IN_PROGRESS" => self.change_sets.iter().all(|name| name.starts_with(CHANGE_SET_PREFIX)),
            _ => self.description.as_deref() == Some(stack::DESCRIPTION),
        };
        if ours {
            return Ok(());
        }
        let error = Error::refused(format!("stack {} was not created by bluegreen", self.name));
        let error = if self.is_in_review() {
            error.because("it has a change set that bluegreen did not create")
        } else {
            error.because("its template does not have the description of a bluegreen stack")
        };
        Err(error.hint("select another stack: --stack NAME, or name in bluegreen.toml"))
    }

    /// Whether there is nothing but change sets that nobody has executed yet.
    fn is_in_review(&self) -> bool {
        self.status == "REVIEW_IN_PROGRESS"
    }

    /// A stack of which nothing is known but its status.
    #[cfg(test)]
    pub(crate) fn with_status(name: &str, status: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: name.to_owned(),
            status: status.to_owned(),
            reason: None,
            protected: false,
            description: Some(stack::DESCRIPTION.to_owned()),
            parameters: BTreeMap::new(),
            outputs: BTreeMap::new(),
            change_sets: Vec::new(),
        }
    }

    /// The stack, or an error that says how to make it.
    pub async fn require(cloud: &Cloud, name: &str) -> Result<Self> {
        Self::find(cloud, name).await?.filter(|stack| stack.status != "DELETE_COMPLETE").ok_or_else(|| {
            Error::usage(format!("stack {name} does not exist in {}", cloud.region()))
                .hint("create it first: bluegreen deploy (for the local cloud: local-cloud exec -- bluegreen deploy)")
        })
    }

    /// What CloudFormation knows of each of its resources.
    pub async fn resources(&self, cloud: &Cloud) -> Result<Vec<StackResourceSummary>> {
        let mut pages = cloud.cloudformation.list_stack_resources().stack_name(&self.id).into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.calling(|| format!("list the resources of stack {}", self.name))?;
            all.extend(page.stack_resource_summaries.unwrap_or_default());
        }
        Ok(all)
    }

    /// The name of its bucket.
    pub fn bucket(&self) -> Result<&str> {
        self.outputs.get(outputs::BUCKET).map(String::as_str).ok_or_else(|| self.lacks(outputs::BUCKET))
    }

    /// The bucket of a stack whose beginning alone is there: a template that fits into no call needs one first.
    pub fn begun(&self) -> Option<&str> {
        self.bucket().ok().filter(|_| self.outputs.len() == 1)
    }

    /// What the stack says of itself to other programs.
    pub fn outputs(&self) -> Result<Outputs> {
        Outputs::read(self.outputs.clone()).map_err(|missing| self.lacks(missing))
    }

    fn lacks(&self, output: &str) -> Error {
        Error::failed(format!("stack {} has no output {output}", self.name))
            .because(format!("its status is {}", self.status))
            .hint("finish the deployment: bluegreen deploy")
    }

    /// Whether an operation on it is in progress.
    pub fn in_progress(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && !self.is_in_review()
    }

    /// A parameter's value; empty if it has none.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The names of a stack's change sets.
async fn change_set_names(cloud: &Cloud, stack: &str) -> Result<Vec<String>> {
    let mut pages = cloud.cloudformation.list_change_sets().stack_name(stack).into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.calling(|| format!("list the change sets of stack {stack}"))?;
        names.extend(page.summaries().iter().filter_map(|it| it.change_set_name()).map(str::to_owned));
    }
    Ok(names)
}

/// CloudFormation has no specific error code for a stack that does not exist.
fn is_missing<E>(error: &E) -> bool
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    error.code() == Some("ValidationError") && error.message().is_some_and(|text| text.contains("does not exist"))
}

fn pairs<T>(items: &[T], pair: impl Fn(&T) -> (Option<&str>, Option<&str>)) -> BTreeMap<String, String> {
    items
        .iter()
        .filter_map(|item| match pair(item) {
            (Some(key), Some(value)) => Some((key.to_owned(), value.to_owned())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_ours_by_the_description_of_its_template() {
        let ours = DeployedStack::with_status("s", "CREATE_FAILED");
        assert!(ours.require_ours().is_ok());
        for description in [None, Some("Payroll".to_owned())] {
            let foreign = DeployedStack { description, ..ours.clone() };
            let error = foreign.require_ours().unwrap_err();
            assert_eq!(error.kind().exit_code(), 3);
            assert!(error.message().contains("was not created by bluegreen"), "{error}");
        }
    }

    #[test]
    fn a_stack_without_a_template_is_ours_by_its_change_sets() {
        let review = DeployedStack { description: None, ..DeployedStack::with_status("s", "REVIEW_IN_PROGRESS") };
        let with = |names: &[&str]| DeployedStack {
            change_sets: names.iter().map(|name| (*name).to_owned()).collect(),
            ..review.clone()
        };
        assert!(with(&[]).require_ours().is_ok());
        assert!(with(&["bluegreen-1", "bluegreen-2"]).require_ours().is_ok());
        assert!(with(&["bluegreen-1", "somebody-s"]).require_ours().is_err());
    }
}
