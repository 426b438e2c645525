//! Reads the load balancers' state from the adapter beside MiniStack.

use super::model::Snapshot;
use crate::error::{Context, Error, Result};
use crate::http_client::{HttpClient, get};
use http_body_util::BodyExt;
use std::time::Duration;

/// Longer than the adapter holds a question that waits for a change.
const PATIENCE: Duration = Duration::from_secs(30);

/// The present state; with `after`, once it is another than that version's, or after a while.
pub(super) async fn read(client: &HttpClient, source: &str, after: Option<i64>) -> Result<Snapshot> {
    let url = after.map_or_else(|| source.to_owned(), |version| format!("{source}?after={version}"));
    let asked = async {
        let response = get(client, &url, &[]).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context(|| format!("the answer of {url} broke off"))?;
        if !status.is_success() {
            return Err(Error::new(format!("{url} answered {status}")));
        }
        serde_json::from_slice(&body.to_bytes()).context(|| format!("{url} answered what cannot be read"))
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Error::new(format!("{url} does not answer"))))
}
