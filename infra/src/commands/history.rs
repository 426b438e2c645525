//! `bluegreen history`: the runs in the ledger, the newest first.

use model::Record;

use super::Context;
use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Error, Result};
use stack::outputs::Outputs;

/// The last `limit` runs, the newest first.
pub async fn run(context: &Context, limit: usize) -> Result<Vec<Record>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let outputs = DeployedStack::require(&cloud, &context.stack).await?.outputs()?;
    read(&cloud, &outputs, limit).await
}

pub(super) async fn read(cloud: &Cloud, outputs: &Outputs, limit: usize) -> Result<Vec<Record>> {
    let ledger = cloud.ledger(&outputs.bucket);
    ledger.list(limit).await.map_err(|error| Error::failed("cannot read the history of cutovers").because(error))
}
