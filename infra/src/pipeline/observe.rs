//! What there is before a deployment: the stack, its template, what its environments run, and where traffic goes.

use std::collections::BTreeMap;

use model::color::Color;
use serde_json::Value;

use deploy::{Cloud, DeployedStack, Traffic};

use crate::artifacts::Release;
use crate::error::Result;
use stack::outputs::Outputs;
use stack::{Both, parameter};

/// Where a deployment starts.
pub(super) enum Start {
    /// There is no stack.
    Nothing,
    /// Only the beginning of a stack is there: its bucket.
    Begun(DeployedStack),
    /// There is a stack.
    Stands(DeployedStack),
}

impl Start {
    /// Where a deployment to this stack starts.
    pub(super) fn of(stack: Option<DeployedStack>) -> Self {
        match stack {
            None => Self::Nothing,
            Some(stack) if stack.begun().is_some() => Self::Begun(stack),
            Some(stack) => Self::Stands(stack),
        }
    }
}

/// A stack as it was at a moment.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) stack: DeployedStack,
    pub(super) outputs: Outputs,
    pub(super) traffic: Traffic,
    /// The template that it was last deployed with, to the letter.
    pub(super) text: String,
    pub(super) template: Value,
}

impl Observed {
    /// Looks at this stack.
    pub(super) async fn look(cloud: &Cloud, stack: DeployedStack) -> Result<Self> {
        let outputs = stack.outputs()?;
        let (traffic, text) = tokio::try_join!(cloud.traffic(&stack.name, &outputs), stack.template_text(cloud))?;
        let template = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { stack, outputs, traffic, text, template })
    }

    /// What each environment runs, according to the stack.
    pub(super) fn releases(&self) -> Both<Option<Release>> {
        Both::make(|color| {
            let of = |name: &str| self.stack.parameter(name).to_owned();
            let image = of(parameter::image(color));
            (!image.is_empty()).then(|| Release {
                image,
                version: of(parameter::version(color)),
                number: of(parameter::release(color)).parse().ok(),
            })
        })
    }

    /// The environments that nothing was deployed to yet.
    pub(super) fn empty(&self) -> Vec<Color> {
        Color::ALL.into_iter().filter(|color| self.stack.parameter(parameter::image(*color)).is_empty()).collect()
    }

    /// The highest number of a release that runs.
    pub(super) fn highest_number(&self) -> u64 {
        let releases = self.releases();
        Color::ALL.iter().filter_map(|color| releases.of(*color).as_ref()?.number).max().unwrap_or(0)
    }

    /// Whether an older version of this command created the stack, whose listeners forward by default actions.
    pub(super) fn is_of_an_older_version(&self) -> bool {
        !self.traffic.by_rules && self.traffic.prod.route().is_some()
    }

    /// Whether the stack is in the desired state: a change set would be empty.
    pub(super) fn is(&self, template: &Value, parameters: &BTreeMap<String, String>) -> bool {
        self.stack.state.is_settled() && *template == self.template && self.stack.parameters == *parameters
    }
}
