//! The template of a deployment to an existing stack: a release changes one environment, a deployment of the stack
//! none.
//!
//! Pure functions on JSON, of the current settings and the deployed template.

use std::collections::BTreeSet;

use model::color::Color;
use serde_json::{Map, Value, json};

use super::assembly::{AssemblyError, Half, Lacking, join};
use super::load_balancer::title;
use super::network::groups::TASKS;
use super::part::METADATA;
use super::settings::{OWN_VARIABLES, SettingsError};
use super::{Both, Kept, Settings, synthesize_over};
use cfn_kit::SynthError;

/// The version of the metadata format.
const FORMAT: u64 = 2;

/// The table of the variables of the service.
const ENVIRONMENT: &str = "environment";

/// Properties of a target group that stay as deployed: a change would replace the target group, and tasks do not depend
/// on them.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-elasticloadbalancingv2-targetgroup.html>
const TARGET_GROUP_STAYS: [&str; 3] = ["Port", "Protocol", "VpcId"];

/// Why the template of a deployment cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The release needs resources that the rest of the stack does not have yet; `bluegreen deploy` adds them.
    #[error("this release needs resources that the stack does not have yet ({}); first run: bluegreen deploy", what.join(", "))]
    DeployFirst {
        /// What is missing: logical ids, or a port.
        what: Vec<String>,
    },
    /// The settings name another VPC than that of the target groups. A stack cannot move to another VPC.
    #[error("a deployed stack cannot move to another VPC (network.vpc); create a new stack there")]
    Moved,
    /// The current release settings contradict the deployed settings of the stack.
    #[error("the settings of the release contradict the deployed settings of the stack: {0}")]
    Settings(#[source] SettingsError),
    /// The parts do not fit together.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// No valid template can be created from the settings.
    #[error("cannot create a template from the settings: {0:?}")]
    Synthesis(Vec<SynthError>),
    /// The template cannot be written as JSON.
    #[error("cannot write the template as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The metadata of the template: the settings of each part.
///
/// Environment variables are left out, because the size of a template is limited: [`recorded_release`] reads them from
/// the task definition. CloudFormation updates metadata only together with a resource, so a setting that changes no
/// resource is recorded with the next setting that does.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/metadata-section-structure.html>
pub(super) fn metadata(settings: &Settings) -> Value {
    let mut release = settings.release_part();
    release.as_object_mut().map(|tables| tables.remove(ENVIRONMENT));
    json!({ "format": FORMAT, "stack": settings.stack_part(), "blue": release, "green": release })
}

/// The template for a release to `color`: that environment is rendered from the current release settings, everything
/// else is as deployed.
///
/// The settings of the stack that an environment depends on (such as the subnets of tasks) are those recorded in the
/// deployed template; if it records none, the current ones.
pub fn render_release(settings: &Settings, deployed: &Value, color: Color) -> Result<Value, RenderError> {
    let stack = recorded(deployed, "stack").cloned().unwrap_or_else(|| settings.stack_part());
    let wanted = Settings::from_parts(&stack, &settings.release_part()).map_err(RenderError::Settings)?;
    let wanted = Settings { extension: settings.extension, ..wanted };
    let mut fresh = synthesized(&wanted, &Kept::half(deployed, color.other()))?;
    keep_target_group(&mut fresh, deployed, color);
    let half = |each: Color| {
        if each == color {
            Half { template: &fresh, lacking: Lacking::Report }
        } else {
            Half { template: deployed, lacking: Lacking::Carry }
        }
    };
    let whole = join(deployed, &Both::make(half)).map_err(|error| match error {
        AssemblyError::Missing { ids, .. } => RenderError::DeployFirst { what: ids },
        error => error.into(),
    })?;
    let closed = closed_ports(deployed, &fresh, wanted.app.port.get().into());
    if closed.is_empty() { Ok(whole) } else { Err(RenderError::DeployFirst { what: closed }) }
}

/// The template for a deployment without a release: the shared part is rendered from the current settings, both
/// environments are as deployed. Only `empty` environments, which run nothing yet, are rendered too.
pub fn render_stack(settings: &Settings, deployed: &Value, empty: &[Color]) -> Result<Value, RenderError> {
    let fresh = synthesized(settings, &Kept::of(deployed))?;
    let vpc = |template: &Value, color| properties(template, &target_group(color)).get("VpcId").cloned();
    let moved = |color| vpc(deployed, color).is_some_and(|id| Some(id) != vpc(&fresh, color));
    if Color::ALL.into_iter().any(moved) {
        return Err(RenderError::Moved);
    }
    let half = |color: Color| {
        if empty.contains(&color) {
            Half { template: &fresh, lacking: Lacking::Report }
        } else {
            Half { template: deployed, lacking: Lacking::Carry }
        }
    };
    Ok(join(&fresh, &Both::make(half))?)
}

/// Keys of settings that differ from the deployed ones, such as `app.port`, in order. Without values, which may be
/// confidential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Those that the next release to the environment changes; `None` if the deployed template does not record them.
    pub release: Option<Vec<String>>,
    /// Those that the next deployment of the stack changes; `None` if the deployed template does not record them.
    pub stack: Option<Vec<String>>,
}

/// The changes that wait for the next release to `color`, and for the next deployment of the stack.
pub fn waiting(settings: &Settings, deployed: &Value, color: Color) -> Waiting {
    Waiting {
        release: recorded_release(deployed, color).map(|release| different_keys(&release, &settings.release_part())),
        stack: recorded(deployed, "stack").map(|stack| different_keys(stack, &settings.stack_part())),
    }
}

/// The release settings of an environment, if the deployed template records them: in its metadata, and variables in the
/// task definition.
pub fn recorded_release(deployed: &Value, color: Color) -> Option<Value> {
    let mut release = recorded(deployed, color.as_str())?.clone();
    let task = properties(deployed, &format!("{}TaskDefinition", title(color)));
    let variables = task["ContainerDefinitions"][0]["Environment"].as_array().into_iter().flatten();
    let variables: Map<String, Value> = variables
        .filter_map(|variable| Some((variable["Name"].as_str()?.to_owned(), variable["Value"].clone())))
        .filter(|(name, _)| !OWN_VARIABLES.contains(&name.as_str()))
        .collect();
    if !variables.is_empty() {
        release[ENVIRONMENT] = variables.into();
    }
    Some(release)
}

/// A part of the settings that is recorded in the deployed template.
fn recorded<'a>(deployed: &'a Value, part: &str) -> Option<&'a Value> {
    deployed["Metadata"][METADATA].get(part)
}

fn synthesized(settings: &Settings, kept: &Kept) -> Result<Value, RenderError> {
    let template = synthesize_over(settings, kept).map_err(RenderError::Synthesis)?;
    Ok(serde_json::to_value(template)?)
}

fn properties<'a>(template: &'a Value, id: &str) -> &'a Value {
    &template["Resources"][id]["Properties"]
}

fn target_group(color: Color) -> String {
    format!("{}TargetGroup", title(color))
}

/// Keeps the deployed values of properties whose change would replace the target group.
fn keep_target_group(fresh: &mut Value, deployed: &Value, color: Color) {
    let id = target_group(color);
    for name in TARGET_GROUP_STAYS {
        if let Some(value) = properties(deployed, &id).get(name) {
            fresh["Resources"][&id]["Properties"][name] = value.clone();
        }
    }
}

/// Ports of tasks that the load balancer cannot reach with the deployed security group of the tasks.
fn closed_ports(deployed: &Value, fresh: &Value, port: u64) -> Vec<String> {
    let open = |template: &Value| -> BTreeSet<u64> {
        let rules = properties(template, TASKS)["SecurityGroupIngress"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["FromPort"].as_u64()).collect()
    };
    let needed = open(fresh).contains(&port) && !open(deployed).contains(&port);
    needed.then(|| format!("port {port} in {TASKS}")).into_iter().collect()
}

/// The keys (with dots) whose values differ between two parts of settings.
fn different_keys(one: &Value, other: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    let names = |value: &Value| value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let all = |one: &Value, other: &Value| -> BTreeSet<String> {
        let (mut all, more): (BTreeSet<String>, BTreeSet<String>) = (names(one), names(other));
        all.extend(more);
        all
    };
    for name in all(one, other) {
        let (one, other) = (&one[&name], &other[&name]);
        if one.is_object() || other.is_object() {
            let keys = all(one, other).into_iter().filter(|key| one[key] != other[key]);
            found.extend(keys.map(|key| format!("{name}.{key}")));
        } else if one != other {
            found.insert(name);
        }
    }
    found.into_iter().collect()
}
