//! Reads manifests and blobs from the registry of the local cloud. What it returns is verified by the crate `oci_image`.

use crate::http_client::{HttpClient, get};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, BodyStream, Limited};
use oci_image::{Chunks, ContentStore, Digest};
use serde::Deserialize;
use std::io;

const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";
/// The most that is read of an error document.
const REFUSAL_LIMIT: usize = 64 * 1024;

/// One repository of a registry that speaks the OCI distribution protocol over plain HTTP.
#[derive(Debug)]
pub(super) struct Repository {
    /// `http://127.0.0.1:PORT`
    pub(super) endpoint: String,
    pub(super) name: String,
    pub(super) client: HttpClient,
}

impl ContentStore for Repository {
    fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(self.read("manifests", name, &[("accept", ACCEPT)]))
    }

    fn blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(self.read("blobs", digest.as_str(), &[]))
    }
}

impl Repository {
    async fn read(&self, kind: &str, name: &str, headers: &[(&str, &str)]) -> io::Result<Chunks> {
        let url = format!("{}/v2/{}/{kind}/{name}", self.endpoint, self.name);
        let response = get(&self.client, &url, headers).await.map_err(io::Error::other)?;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), REFUSAL_LIMIT).collect().await;
            let reason = body.ok().and_then(|body| reason(&body.to_bytes()));
            return Err(io::Error::other(format!(
                "{name} is not available from the registry: {}",
                reason.unwrap_or_else(|| status.to_string())
            )));
        }
        let frames = BodyStream::new(response.into_body());
        let data = frames.filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(io::Error::other(error))),
        });
        Ok(data.boxed())
    }
}

/// What an error document of a registry says.
fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    Some(refusal.errors.into_iter().next()?.message)
}
