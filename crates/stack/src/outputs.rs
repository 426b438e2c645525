//! The outputs of the stack: declared here for the template, and read here from a deployment.

use std::collections::BTreeMap;

use model::color::Color;

use super::Both;
use super::cutover::Cutover;
use super::environment::{Environment, Fleet};
use super::load_balancer::LoadBalancing;
use super::pipeline;
use super::storage::Storage;
use cfn_kit::Stack;

const PROD_URL: &str = "ProdUrl";
const DEV_URL: &str = "DevUrl";
const REGISTRY_URI: &str = "RegistryUri";
const REGISTRY_NAME: &str = "RegistryName";
/// The name of the bucket: the only output while a new stack has only its bucket.
pub const BUCKET: &str = "BucketName";
const CLUSTER: &str = "ClusterName";
const PROD_LISTENER: &str = "ProdListenerArn";
const DEV_LISTENER: &str = "DevListenerArn";
const FUNCTION: &str = "CutoverFunctionName";
const TARGET_GROUPS: Both<&str> = Both { blue: "BlueTargetGroupArn", green: "GreenTargetGroupArn" };
const LOG_GROUPS: Both<&str> = Both { blue: "BlueLogGroupName", green: "GreenLogGroupName" };
const SERVICES: Both<&str> = Both { blue: "BlueServiceArn", green: "GreenServiceArn" };

/// Declares every output.
pub(super) fn declare(
    stack: &mut Stack,
    storage: &Storage,
    balancer: &LoadBalancing,
    fleet: &Fleet,
    environments: &Both<Environment>,
    cutover: &Cutover,
) {
    stack.output(PROD_URL, "What users see", &balancer.prod_url);
    stack.output(DEV_URL, "Where the next version is tried", &balancer.dev_url);
    stack.output(REGISTRY_URI, "Where images are pushed", &storage.registry.uri());
    stack.output(REGISTRY_NAME, "The image repository", &storage.registry.name());
    stack.output(BUCKET, "Code and ledger of the cutover", &storage.bucket.name());
    stack.output(CLUSTER, "The ECS cluster", &fleet.cluster.name());
    stack.output(PROD_LISTENER, "The listener of prod", &balancer.prod.arn());
    stack.output(DEV_LISTENER, "The listener of dev", &balancer.dev.arn());
    for color in [Color::Blue, Color::Green] {
        let environment = environments.of(color);
        let target_group = balancer.target_groups.of(color).arn();
        stack.output(TARGET_GROUPS.of(color), &format!("Target group of the {color} environment"), &target_group);
        let log_group = environment.log_group.name();
        stack.output(LOG_GROUPS.of(color), &format!("Log of the {color} environment"), &log_group);
        stack.output_when(
            SERVICES.of(color),
            &environment.deployed,
            &format!("Service of the {color} environment"),
            &environment.service.arn(),
        );
    }
    stack.output_when(FUNCTION, &cutover.deployed, "The cutover function", &cutover.function.name());
}

/// Declares the outputs that the configuration of a CI pipeline needs.
pub(super) fn declare_pipeline(stack: &mut Stack, roles: &pipeline::Roles, cutover: &Cutover) {
    stack.output("PipelineDeployRoleArn", "The role of a pipeline's jobs that deploy", &roles.deploy.arn());
    let role = roles.cutover.arn();
    stack.output_when(
        "PipelineCutoverRoleArn",
        &cutover.deployed,
        "The role of a pipeline's jobs that cut over",
        &role,
    );
}

/// The outputs of a deployed stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// URL of prod.
    pub prod_url: String,
    /// URL of dev.
    pub dev_url: String,
    /// Registry host and repository name.
    pub registry_uri: String,
    /// Name of the image repository.
    pub registry_name: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Name of the ECS cluster.
    pub cluster: String,
    /// ARN of prod's listener.
    pub prod_listener: String,
    /// ARN of dev's listener.
    pub dev_listener: String,
    /// ARNs of the target groups.
    pub blue_target_group: String,
    /// ARNs of the target groups.
    pub green_target_group: String,
    /// Log groups by color.
    pub blue_log_group: String,
    /// Log groups by color.
    pub green_log_group: String,
    /// ARN of the blue service, if an image is deployed to it.
    pub blue_service: Option<String>,
    /// ARN of the green service, if an image is deployed to it.
    pub green_service: Option<String>,
    /// Name of the cutover function, if its code is deployed.
    pub function: Option<String>,
}

impl Outputs {
    /// Reads the outputs from their names and values. An error is the name of a missing output.
    pub fn read(mut values: BTreeMap<String, String>) -> Result<Self, &'static str> {
        let mut take = |key: &'static str| values.remove(key).ok_or(key);
        Ok(Self {
            prod_url: take(PROD_URL)?,
            dev_url: take(DEV_URL)?,
            registry_uri: take(REGISTRY_URI)?,
            registry_name: take(REGISTRY_NAME)?,
            bucket: take(BUCKET)?,
            cluster: take(CLUSTER)?,
            prod_listener: take(PROD_LISTENER)?,
            dev_listener: take(DEV_LISTENER)?,
            blue_target_group: take(TARGET_GROUPS.blue)?,
            green_target_group: take(TARGET_GROUPS.green)?,
            blue_log_group: take(LOG_GROUPS.blue)?,
            green_log_group: take(LOG_GROUPS.green)?,
            blue_service: take(SERVICES.blue).ok(),
            green_service: take(SERVICES.green).ok(),
            function: take(FUNCTION).ok(),
        })
    }

    /// The target group of an environment.
    pub fn target_group(&self, color: Color) -> &str {
        match color {
            Color::Blue => &self.blue_target_group,
            Color::Green => &self.green_target_group,
        }
    }

    /// The log group of an environment.
    pub fn log_group(&self, color: Color) -> &str {
        match color {
            Color::Blue => &self.blue_log_group,
            Color::Green => &self.green_log_group,
        }
    }

    /// The service of an environment, if an image is deployed to it.
    pub fn service(&self, color: Color) -> Option<&str> {
        match color {
            Color::Blue => self.blue_service.as_deref(),
            Color::Green => self.green_service.as_deref(),
        }
    }

    /// The environment that this target group belongs to.
    pub fn color_of(&self, target_group: &str) -> Option<Color> {
        [Color::Blue, Color::Green].into_iter().find(|color| self.target_group(*color) == target_group)
    }
}
