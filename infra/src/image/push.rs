//! Sends an image to a registry, and only what the registry does not have. Must not know how the image was made.

use std::time::Duration;

use futures_util::future::try_join;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use tokio::time::sleep;

use super::oci::{Blob, Image, MANIFEST_TYPE};
use super::refusal::{Refusal, Step};
use super::registry::Registry;
use crate::error::Result;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer; a layer of some megabytes is stored within seconds.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Four tries within about 1.5 s: enough for a dropped connection or a throttled second, no more.
const TRIES: Tries = Tries { count: 4, first_pause: Duration::from_millis(200) };

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image by digest: repository URI, `@sha256:` and 64 hexadecimal digits.
    pub reference: String,
    /// The tag under which it can be found.
    pub tag: String,
    /// How many bytes of blobs and manifest went to the registry.
    pub bytes_sent: usize,
    /// How many blobs (the layer, the config) went to the registry.
    pub blobs_sent: usize,
    /// How many blobs the registry had already.
    pub blobs_present: usize,
    /// Whether the registry had the whole image under this tag already; then nothing was sent.
    pub manifest_present: bool,
}

/// Pushes an image under a tag. What the registry has already is not sent again; what fails for a moment (a dropped
/// connection, 429, 5xx) is tried again. Needs a rustls crypto provider to be installed in the process.
pub async fn push(image: &Image, registry: &Registry, tag: &str) -> Result<Pushed> {
    push_with(image, registry, tag, TRIES).await
}

/// How often to try, and how long to pause before the second try; each later pause is twice as long.
#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    first_pause: Duration,
}

async fn push_with(image: &Image, registry: &Registry, tag: &str, tries: Tries) -> Result<Pushed> {
    let session = Session::new(registry, tag, tries)
        .map_err(|error| Refusal::from(error).explain(Step::Connect, registry, tag))?;
    session.push(image).await.map_err(|(step, error)| Refusal::from(error).explain(step, registry, tag))
}

type Failed = (Step, OciDistributionError);

/// One push to one tag of one repository.
struct Session<'a> {
    client: Client,
    target: Reference,
    auth: RegistryAuth,
    registry: &'a Registry,
    tag: &'a str,
    tries: Tries,
}

impl<'a> Session<'a> {
    fn new(registry: &'a Registry, tag: &'a str, tries: Tries) -> std::result::Result<Self, OciDistributionError> {
        let endpoint = &registry.endpoint;
        let client = Client::try_from(ClientConfig {
            protocol: if endpoint.is_tls() { ClientProtocol::Https } else { ClientProtocol::Http },
            // ECR does not take a blob in several pieces (aws/containers-roadmap#2831).
            use_monolithic_push: true,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        })?;
        let repository = registry.repository().to_owned();
        let target = Reference::with_tag(endpoint.authority().to_owned(), repository, tag.to_owned());
        let credentials = registry.credentials.clone();
        let auth = RegistryAuth::Basic(credentials.username, credentials.password);
        Ok(Self { client, target, auth, registry, tag, tries })
    }

    async fn push(&self, image: &Image) -> std::result::Result<Pushed, Failed> {
        // Asked for by itself, because the client takes a failure here for "no credentials needed".
        self.attempt(Step::Connect, || self.client.auth(&self.target, &self.auth, RegistryOperation::Push)).await?;

        let mut pushed = Pushed {
            reference: self.registry.reference(image.digest()),
            tag: self.tag.to_owned(),
            bytes_sent: 0,
            blobs_sent: 0,
            blobs_present: 0,
            manifest_present: false,
        };
        if self.digest_under_tag().await?.as_deref() == Some(image.digest()) {
            return Ok(Pushed { manifest_present: true, blobs_present: 2, ..pushed });
        }
        let (layer, config) = try_join(self.push_blob(&image.layer), self.push_blob(&image.config)).await?;
        for sent in [layer, config] {
            pushed.bytes_sent += sent.unwrap_or_default();
            pushed.blobs_sent += usize::from(sent.is_some());
            pushed.blobs_present += usize::from(sent.is_none());
        }
        pushed.bytes_sent += self.push_manifest(&image.manifest).await?;
        self.require_digest(image.digest()).await?;
        Ok(pushed)
    }

    /// The digest of the image that the tag names, where it names one.
    async fn digest_under_tag(&self) -> std::result::Result<Option<String>, Failed> {
        let answer = self.attempt(Step::Look, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await;
        match answer {
            Ok(digest) => Ok(Some(digest)),
            // Nothing under this tag, or no such repository: which of both the first upload will tell.
            Err((_, error)) if Refusal::of(&error).is_not_found() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Sends a blob that the registry does not have: how many bytes went, or none where it has it.
    async fn push_blob(&self, blob: &Blob) -> std::result::Result<Option<usize>, Failed> {
        if self.attempt(Step::Look, || self.client.blob_exists(&self.target, &blob.digest)).await? {
            return Ok(None);
        }
        let send = || self.client.push_blob(&self.target, blob.bytes.clone(), &blob.digest);
        self.attempt(Step::Upload, send).await?;
        Ok(Some(blob.bytes.len()))
    }

    async fn push_manifest(&self, manifest: &Blob) -> std::result::Result<usize, Failed> {
        let send = async || {
            let media_type = MANIFEST_TYPE
                .parse()
                .map_err(|_| OciDistributionError::UnsupportedMediaTypeError(MANIFEST_TYPE.to_owned()))?;
            self.client.push_manifest_raw(&self.target, manifest.bytes.clone(), media_type).await
        };
        self.attempt(Step::Manifest, send).await?;
        Ok(manifest.bytes.len())
    }

    /// Makes sure that the registry names the image as we do, before anybody deploys it by that name.
    async fn require_digest(&self, ours: &str) -> std::result::Result<(), Failed> {
        let theirs = self.attempt(Step::Verify, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await?;
        if theirs == ours {
            return Ok(());
        }
        let mismatch = oci_client::errors::DigestError::VerificationError { expected: ours.to_owned(), actual: theirs };
        Err((Step::Verify, mismatch.into()))
    }

    /// Tries an operation until it succeeds, fails for good, or was tried often enough.
    async fn attempt<T>(
        &self,
        step: Step,
        operation: impl AsyncFn() -> std::result::Result<T, OciDistributionError>,
    ) -> std::result::Result<T, Failed> {
        let mut pause = self.tries.first_pause;
        let mut left = self.tries.count;
        loop {
            left -= 1;
            match operation().await {
                Err(error) if left > 0 && Refusal::of(&error).is_transient() => sleep(pause).await,
                outcome => return outcome.map_err(|error| (step, error)),
            }
            pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests;
