//! `bluegreen releases`: what was deployed to which environment, the newest first, with what did not come up.

mod text;

use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::session::Session;
use deploy::releases::{ReleaseRecord, changed_settings};
use deploy::{Cloud, DeployedStack};
use model::color::Color;

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
        session.show(&releases, |releases, style| text::render(releases, style))
    }
}

/// The last `limit` releases, the newest first.
pub async fn last(context: &Context, limit: usize) -> Result<Vec<Listed>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    // One more, to say what the last one changed.
    let records = cloud.releases(stack.bucket()?).list(limit.saturating_add(1)).await?;
    Ok(listed(records, limit, |color| stack.release_number(color)))
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
