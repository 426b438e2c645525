//! Sends an image to a registry, and only what the registry does not have. Must not know how the image was made.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::attachment::{Attachment, INDEX_TYPE};
use super::content::{Blob, Content};
use super::image::{Image, Manifest};
use super::registry::Registry;
use super::registry_error::{Refusal, Step};
use super::retry::{Failed, TRIES, Tries};
use crate::error::Result;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer; a layer of some megabytes is stored within seconds.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Blobs that are sent at the same time.
const AT_ONCE: usize = 4;

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image by digest: repository URI, `@sha256:` and 64 hexadecimal digits.
    pub reference: String,
    /// The tag under which it can be found.
    pub tag: String,
    /// How many bytes of blobs and manifest went to the registry.
    pub bytes_sent: u64,
    /// How many blobs (layers, the config) went to the registry.
    pub blobs_sent: usize,
    /// How many blobs the registry had already.
    pub blobs_present: usize,
    /// Whether the registry had the whole image under this tag already; then nothing was sent.
    pub manifest_present: bool,
    /// The documents about the image that nobody can find by its name: the registry keeps no list of them, and does not
    /// let this one be kept in a tag.
    pub unlisted: Vec<String>,
}

/// Pushes an image under a tag. What the registry has already is not sent again; what fails for a moment (a dropped
/// connection, 429, 5xx) is tried again. Needs a rustls crypto provider to be installed in the process.
pub async fn push(image: &Image, registry: &Registry, tag: &str) -> Result<Pushed> {
    push_with(image, registry, tag, TRIES).await
}

async fn push_with(image: &Image, registry: &Registry, tag: &str, tries: Tries) -> Result<Pushed> {
    let session = Session::new(registry, tag, tries)
        .map_err(|error| Refusal::from(error).explain(Step::Connect, registry, tag))?;
    session.push(image).await.map_err(|(step, error)| Refusal::from(error).explain(step, registry, tag))
}

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
        self.tries
            .attempt(Step::Connect, || self.client.auth(&self.target, &self.auth, RegistryOperation::Push))
            .await?;

        let mut pushed = Pushed {
            reference: self.registry.reference(image.digest()),
            tag: self.tag.to_owned(),
            bytes_sent: 0,
            blobs_sent: 0,
            blobs_present: 0,
            manifest_present: false,
            unlisted: Vec::new(),
        };
        let (tagged, missing) = tokio::try_join!(self.digest_under_tag(), self.missing(&image.attachments))?;
        pushed.manifest_present = tagged.as_deref() == Some(image.digest());
        let blobs = if pushed.manifest_present { Vec::new() } else { image.blobs() };
        let documents: Vec<&Blob> = missing.iter().flat_map(|it| [&it.content, &it.config]).collect();
        let (sent, documents_sent) = tokio::try_join!(self.push_blobs(&blobs), self.push_blobs(&documents))?;
        pushed.blobs_sent = sent.iter().flatten().count();
        pushed.blobs_present = image.blobs().len() - pushed.blobs_sent;
        pushed.bytes_sent += sent.iter().chain(&documents_sent).flatten().sum::<u64>();
        if !pushed.manifest_present {
            pushed.bytes_sent += self.push_manifest(&self.target, &image.manifest).await?;
            self.require_digest(image.digest()).await?;
        }
        for attachment in missing {
            self.attach(image, attachment, &mut pushed).await?;
        }
        Ok(pushed)
    }

    /// Of each blob how many bytes went, or none where the registry has it.
    async fn push_blobs(&self, blobs: &[&Blob]) -> std::result::Result<Vec<Option<u64>>, Failed> {
        stream::iter(blobs).map(|blob| self.push_blob(blob)).buffered(AT_ONCE).try_collect().await
    }

    /// The documents that the registry does not have.
    async fn missing<'b>(&self, attachments: &'b [Attachment]) -> std::result::Result<Vec<&'b Attachment>, Failed> {
        let look = async |attachment: &'b Attachment| {
            let target = self.document(attachment);
            let there = self.tries.attempt(Step::Look, || self.client.fetch_manifest_digest(&target, &self.auth)).await;
            match there {
                Ok(_) => Ok(None),
                Err((_, error)) if Refusal::of(&error).is_not_found() => Ok(Some(attachment)),
                Err(failed) => Err(failed),
            }
        };
        let missing: Vec<Option<_>> = stream::iter(attachments).map(look).buffered(AT_ONCE).try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// Where a document about the image goes: by digest. As a tag it is the same to the registry, and the client then copes
    /// with ECR's missing `Location`.
    fn document(&self, attachment: &Attachment) -> Reference {
        self.tagged(attachment.digest())
    }

    /// Pushes a document about the image, the blobs of which are there, and sees to it that it is found by the image's
    /// digest.
    async fn attach(
        &self,
        image: &Image,
        attachment: &Attachment,
        pushed: &mut Pushed,
    ) -> std::result::Result<(), Failed> {
        let target = self.document(attachment);
        pushed.bytes_sent += self.push_manifest(&target, &attachment.manifest).await?;
        let subject = self.target.clone_with_digest(image.digest().to_owned());
        let referrers = self.tries.attempt(Step::Look, || self.client.pull_referrers(&subject, None)).await?;
        if referrers.manifests.iter().any(|it| it.digest == attachment.digest()) {
            return Ok(());
        }
        let there: Vec<_> = referrers.manifests.iter().filter_map(|it| serde_json::to_value(it).ok()).collect();
        let list = Manifest { media_type: INDEX_TYPE.to_owned(), blob: attachment.listed_with(&there) };
        let tag = self.tagged(&Attachment::list_tag(&image.manifest.blob.digest));
        match self.push_manifest(&tag, &list).await {
            Ok(sent) => pushed.bytes_sent += sent,
            Err((_, error)) if Refusal::of(&error).is_tag_taken() => {
                pushed.unlisted.push(self.registry.reference(attachment.digest()));
            }
            Err(failed) => return Err(failed),
        }
        Ok(())
    }

    /// Something else in the same repository.
    fn tagged(&self, tag: &str) -> Reference {
        let (registry, repository) = (self.target.registry(), self.target.repository());
        Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
    }

    /// The digest of the image that the tag names, where it names one.
    async fn digest_under_tag(&self) -> std::result::Result<Option<String>, Failed> {
        let answer =
            self.tries.attempt(Step::Look, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await;
        match answer {
            Ok(digest) => Ok(Some(digest)),
            // Nothing under this tag, or no such repository: which of both the first upload will tell.
            Err((_, error)) if Refusal::of(&error).is_not_found() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Sends a blob that the registry does not have: how many bytes went, or none where it has it.
    async fn push_blob(&self, blob: &Blob) -> std::result::Result<Option<u64>, Failed> {
        let digest = blob.digest.as_str();
        let exists = || self.client.blob_exists(&self.target, digest);
        if self.tries.attempt(Step::Look, exists).await? {
            return Ok(None);
        }
        let send = async || match &blob.content {
            Content::Memory(bytes) => self.client.push_blob(&self.target, bytes.clone(), digest).await,
            Content::File(_) | Content::Registry(_) => {
                let chunks = blob.chunks().await?;
                self.client.push_blob_stream(&self.target, chunks, digest, Some(blob.size)).await
            }
        };
        self.tries.attempt(Step::Upload, send).await?;
        Ok(Some(blob.size))
    }

    async fn push_manifest(&self, target: &Reference, manifest: &Manifest) -> std::result::Result<u64, Failed> {
        let Some(bytes) = manifest.blob.bytes() else { return Ok(0) };
        let send = async || {
            let media_type = &manifest.media_type;
            let media_type =
                media_type.parse().map_err(|_| OciDistributionError::UnsupportedMediaTypeError(media_type.clone()))?;
            self.client.push_manifest_raw(target, bytes.to_vec(), media_type).await
        };
        self.tries.attempt(Step::Manifest, send).await?;
        Ok(manifest.blob.size)
    }

    /// Makes sure that the registry names the image as we do, before anybody deploys it by that name.
    async fn require_digest(&self, ours: &str) -> std::result::Result<(), Failed> {
        let theirs =
            self.tries.attempt(Step::Verify, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await?;
        if theirs == ours {
            return Ok(());
        }
        let mismatch = oci_client::errors::DigestError::VerificationError { expected: ours.to_owned(), actual: theirs };
        Err((Step::Verify, mismatch.into()))
    }
}

#[cfg(test)]
mod tests;
