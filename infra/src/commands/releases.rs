//! `bluegreen releases`: what was deployed to which environment, the newest first, with what did not come up.

use serde::Serialize;

use super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::Result;
use crate::releases::{ReleaseRecord, changed_settings};
use crate::session::Session;
use crate::ui::render_releases;
use model::color::Color;
use stack::parameter;

/// A release as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its record.
    #[serde(flatten)]
    pub record: ReleaseRecord,
    /// Whether its environment runs it now.
    pub current: bool,
    /// The settings that differ from the release before it, by name; null for the first one.
    pub changed: Option<Vec<String>>,
}

/// The arguments of `releases`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Maximum number of releases to list, newest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

impl Args {
    /// Prints the last releases.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let releases = last(&session.context, self.limit).await?;
        session.show(&releases, |releases, style| render_releases(releases, style))
    }
}

/// The last `limit` releases, the newest first.
pub async fn last(context: &Context, limit: usize) -> Result<Vec<Listed>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    // One more, to say what the last one changed.
    let records = cloud.releases(stack.bucket()?).list(limit.saturating_add(1)).await?;
    Ok(listed(records, limit, |color| number_of(&stack, color)))
}

/// The number of the release that an environment runs; none for a stack of an older version.
pub(super) fn number_of(stack: &DeployedStack, color: Color) -> Option<u64> {
    stack.parameter(parameter::release(color)).parse().ok()
}

/// The settings in which a release differs from the one before it; nothing if one of them has no record.
pub(super) async fn changed(cloud: &Cloud, bucket: &str, number: Option<u64>) -> Result<Option<Vec<String>>> {
    let Some((number, before)) = number.and_then(|number| Some((number, number.checked_sub(1)?))) else {
        return Ok(None);
    };
    cloud.releases(bucket).changed(before, number).await
}

fn listed(records: Vec<ReleaseRecord>, limit: usize, current: impl Fn(Color) -> Option<u64>) -> Vec<Listed> {
    let before: Vec<Option<serde_json::Value>> =
        records.iter().skip(1).map(|record| Some(record.settings.clone())).chain([None]).collect();
    let listed = records.into_iter().zip(before).map(|(record, before)| Listed {
        current: current(record.color) == Some(record.number),
        changed: before.map(|before| changed_settings(&before, &record.settings)),
        record,
    });
    listed.take(limit).collect()
}
