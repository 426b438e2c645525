//! Reads manifests and blobs from the registry of the local cloud, and verifies every digest.

use super::reference::{Reference, is_digest};
use crate::error::{Context, Error, Result};
use crate::http_client::{HttpClient, get};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use tokio::io::AsyncWriteExt;

const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";
/// The largest manifest that the distribution specification requires a registry to accept.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// A registry that speaks the OCI distribution protocol over plain HTTP.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    /// `http://127.0.0.1:PORT`
    pub(super) endpoint: String,
    pub(super) client: HttpClient,
}

/// A manifest of an image, or an index of several platforms.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// A pointer to a blob or a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// The architecture of this machine, as images name it.
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Registry {
    /// The digest of a name and the manifest of the image; of several platforms, that of this machine.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<(String, Manifest)> {
        let (digest, manifest) = self.one_manifest(reference, &reference.version).await?;
        if manifest.config.is_some() {
            return Ok((digest, manifest));
        }
        let arch = host_architecture();
        let ours = manifest.manifests.iter().find(|candidate| {
            candidate.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == arch)
        });
        let Some(ours) = ours else {
            return Err(Error::new(format!("{reference} has no image for linux/{arch}")));
        };
        let (_, manifest) = self.one_manifest(reference, &ours.digest).await?;
        Ok((digest, manifest))
    }

    async fn one_manifest(&self, reference: &Reference, version: &str) -> Result<(String, Manifest)> {
        let url = format!("{}/v2/{}/manifests/{version}", self.endpoint, reference.repository);
        let response = get(&self.client, &url, &[("accept", ACCEPT)]).await?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MANIFEST_LIMIT)
            .collect()
            .await
            .map_err(|error| Error::new(format!("cannot read the manifest of {reference}: {error}")))?;
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(refusal(reference, "manifest", status, &body));
        }
        let digest = digest_of(&body);
        if is_digest(version) && digest != version {
            return Err(Error::new(format!(
                "the manifest of {reference} has the digest {digest}, not the requested one"
            )));
        }
        let manifest: Manifest =
            serde_json::from_slice(&body).context(|| format!("cannot parse the manifest of {reference}"))?;
        Ok((digest, manifest))
    }

    /// Downloads a blob to a file. The file appears only if its content has the expected digest.
    pub(super) async fn blob_to(&self, reference: &Reference, digest: &str, file: &Path) -> Result<()> {
        if !is_digest(digest) {
            return Err(Error::new(format!(
                "{reference} refers to a blob by {digest:?}, which is not a sha256 digest"
            )));
        }
        let url = format!("{}/v2/{}/blobs/{digest}", self.endpoint, reference.repository);
        let response = get(&self.client, &url, &[]).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(refusal(reference, &format!("blob {digest}"), status, &text));
        }
        let staged = file.with_extension(format!("{}.part", next_part()));
        let write = async {
            let mut out =
                tokio::fs::File::create(&staged).await.context(|| format!("cannot write {}", staged.display()))?;
            let mut hash = Sha256::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.context(|| format!("cannot read blob {digest} of {reference}"))?;
                if let Some(data) = frame.data_ref() {
                    hash.update(data);
                    out.write_all(data).await.context(|| format!("cannot write {}", staged.display()))?;
                }
            }
            out.flush().await.context(|| format!("cannot write {}", staged.display()))?;
            let actual = format!("sha256:{}", hex::encode(hash.finalize()));
            if actual != digest {
                return Err(Error::new(format!("a blob of {reference} has the digest {actual}, expected {digest}")));
            }
            tokio::fs::rename(&staged, file).await.context(|| format!("cannot write {}", file.display()))
        };
        let written = write.await;
        if written.is_err() {
            let _ = tokio::fs::remove_file(&staged).await;
        }
        written
    }
}

/// A unique number of a download in this process, for the names of partial files.
fn next_part() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn refusal(reference: &Reference, what: &str, status: http::StatusCode, body: &Bytes) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        message: String,
    }
    let reason = serde_json::from_slice::<Refusal>(body)
        .ok()
        .and_then(|refusal| refusal.errors.into_iter().next())
        .map_or_else(|| status.to_string(), |reason| reason.message);
    Error::new(format!("{reference}: {what} not available from the registry: {reason}"))
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
