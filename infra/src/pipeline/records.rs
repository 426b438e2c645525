//! The records of releases: one begins before a release is deployed, and ends with what came of it.

use deploy::releases::{NewRelease, ReleaseLedger, ReleaseOutcome, ReleaseRecord};

use super::Job;
use super::spec::Releases;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::runs::caller;

/// The records of releases whose deployment has started.
pub(super) struct ReleaseRecords {
    ledger: ReleaseLedger,
    records: Vec<ReleaseRecord>,
}

impl ReleaseRecords {
    /// None yet.
    pub(super) const fn new(ledger: ReleaseLedger) -> Self {
        Self { ledger, records: Vec::new() }
    }

    /// Records the start of every release of a change.
    pub(super) async fn begin(&mut self, job: Job<'_>, releases: &Releases) -> Result<()> {
        let changed = releases.changed();
        if changed.is_empty() {
            return Ok(());
        }
        let by = caller(job.cloud).await;
        for color in changed {
            let Some(release) = releases.after.of(color) else { continue };
            let Some(number) = release.number else { continue };
            let new = NewRelease {
                color,
                version: release.version.clone(),
                image: release.image.clone(),
                settings: job.context.settings.release_part(),
                by: by.clone(),
            };
            self.records.push(self.ledger.begin(number, new).await?);
        }
        Ok(())
    }

    /// Records their results. The deployment itself is over: a failure to record is a warning.
    pub(super) async fn end(self, context: &Context, error: Option<&Error>) {
        let outcome = match error.map(Error::kind) {
            None => ReleaseOutcome::Deployed,
            Some(Kind::RolledBack | Kind::Refused) => ReleaseOutcome::RolledBack,
            Some(_) => ReleaseOutcome::Failed,
        };
        let reason = error.map(|error| error.causes().first().map_or(error.message(), String::as_str).to_owned());
        for record in self.records {
            if let Err(error) = self.ledger.end(record, outcome, reason.clone()).await {
                context.listener.warn(format!("{error}"));
            }
        }
    }
}
