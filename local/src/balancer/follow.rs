//! Reads the state of the load balancers from the adapter of MiniStack.

use super::model::Snapshot;
use crate::error::{Context, Error, Result};
use crate::http_client::{HttpClient, get};
use http_body_util::BodyExt;
use std::time::Duration;

/// Longer than the adapter holds a request that waits for a change.
const PATIENCE: Duration = Duration::from_secs(30);

/// The current state. With `after`: waits until the version differs, up to a time limit.
pub(super) async fn read(client: &HttpClient, source: &str, after: Option<i64>) -> Result<Snapshot> {
    let url = after.map_or_else(|| source.to_owned(), |version| format!("{source}?after={version}"));
    let asked = async {
        let response = get(client, &url, &[]).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context(|| format!("cannot read the response of {url}"))?;
        if !status.is_success() {
            return Err(Error::new(format!("{url} answered {status}")));
        }
        serde_json::from_slice(&body.to_bytes()).context(|| format!("cannot parse the response of {url}"))
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Error::new(format!("{url} does not answer"))))
}
