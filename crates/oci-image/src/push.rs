//! Sends an image to a registry, and only what the registry does not have. Must not know how the image was made.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_client::client::{Client, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use crate::attachment::{Attachment, referrers};
use crate::client::{client, from_io, http};
use crate::content::Blob;
use crate::digest::Digest;
use crate::error::{Operation, Result, Step};
use crate::image::Image;
use crate::login::check_demand;
use crate::manifest::Manifest;
use crate::registry::Registry;
use crate::registry_error::{ErrorFacts, failed};
use crate::retry::{Failed, TRIES, Tries};

/// Blobs that are sent at the same time.
const AT_ONCE: usize = 4;

/// What a push did. It tells a program what to deploy ([`reference`](Self::reference)), and a person what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image by digest: repository URI, `@sha256:` and 64 hexadecimal digits.
    pub reference: String,
    /// The tag.
    pub tag: String,
    /// How many bytes of blobs and manifest went to the registry.
    pub bytes_sent: u64,
    /// How many blobs (layers, the config) went to the registry.
    pub blobs_sent: usize,
    /// How many blobs the registry had already.
    pub blobs_present: usize,
    /// Whether the registry had the whole image under this tag already; then nothing was sent.
    pub manifest_present: bool,
    /// The references of attachments that cannot be found by the image's name: the registry keeps no list of them, and
    /// does not allow a tag that does.
    pub unlisted: Vec<String>,
}

/// Pushes an image under a tag, with its attachments. Sends only what the registry does not have, and repeats what fails
/// for a moment (a dropped connection, 429, 5xx).
///
/// If the process has no default TLS provider of `rustls` yet, this makes ring the default.
///
/// # Errors
///
/// [`Error::Registry`](crate::Error::Registry) if the registry cannot be reached or does not take the image, or if a layer
/// cannot be read from the registry that the image comes from.
///
/// ```no_run
/// use oci_image::{Credentials, ErrorKind, Image, Registry, push};
///
/// # async fn example(image: Image) -> oci_image::Result<()> {
/// let registry = Registry::new("registry.example/team/app", Credentials::new("user", "password"))?;
/// match push(&image, &registry, &image.tag("1")).await {
///     Ok(pushed) => println!("{}: {} bytes sent", pushed.reference, pushed.bytes_sent),
///     Err(error) if error.kind() == ErrorKind::Unauthorized => println!("log in first"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
pub async fn push(image: &Image, registry: &Registry, tag: &str) -> Result<Pushed> {
    push_with(image, registry, tag, TRIES).await
}

async fn push_with(image: &Image, registry: &Registry, tag: &str, tries: Tries) -> Result<Pushed> {
    let explain = |error: Failed| {
        let repository = registry.repository_uri().to_owned();
        let operation = Operation::Push { repository, tag: tag.to_owned(), endpoint: registry.endpoint.to_string() };
        failed(operation, error)
    };
    let session = Session::new(registry, tag, tries).map_err(|error| explain((Step::Connect, error)))?;
    session.push(image).await.map_err(explain)
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
    fn new(registry: &'a Registry, tag: &'a str, tries: Tries) -> Result<Self, OciDistributionError> {
        let endpoint = &registry.endpoint;
        let client = client(if endpoint.is_tls() { ClientProtocol::Https } else { ClientProtocol::Http })?;
        let repository = registry.repository().to_owned();
        let target = Reference::with_tag(endpoint.authority().to_owned(), repository, tag.to_owned());
        let credentials = registry.credentials.clone();
        let auth = RegistryAuth::Basic(credentials.username, credentials.password);
        Ok(Self { client, target, auth, registry, tag, tries })
    }

    async fn push(&self, image: &Image) -> Result<Pushed, Failed> {
        let base = self.registry.endpoint.to_string();
        let http = http().map_err(|error| (Step::Connect, error))?;
        self.tries.attempt(Step::Connect, || check_demand(&http, &base)).await?;
        // A request by itself, because the client treats a failure here as "no credentials needed".
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
        pushed.manifest_present = tagged.as_deref() == Some(image.digest().as_str());
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

    /// For each blob how many bytes were sent; `None` if the registry has it.
    async fn push_blobs(&self, blobs: &[&Blob]) -> Result<Vec<Option<u64>>, Failed> {
        stream::iter(blobs).map(|blob| self.push_blob(blob)).buffered(AT_ONCE).try_collect().await
    }

    /// The attachments that the registry does not have.
    async fn missing<'b>(&self, attachments: &'b [Attachment]) -> Result<Vec<&'b Attachment>, Failed> {
        let look = async |attachment: &'b Attachment| {
            let target = self.document(attachment);
            let there = self.tries.attempt(Step::Read, || self.client.fetch_manifest_digest(&target, &self.auth)).await;
            match there {
                Ok(_) => Ok(None),
                Err((_, error)) if ErrorFacts::from(&error).is_not_found() => Ok(Some(attachment)),
                Err(failed) => Err(failed),
            }
        };
        let missing: Vec<Option<_>> = stream::iter(attachments).map(look).buffered(AT_ONCE).try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    /// The reference of an attachment: its digest, passed as a tag. For the registry it is the same, and the client then
    /// accepts that ECR sends no `Location`.
    fn document(&self, attachment: &Attachment) -> Reference {
        self.tagged(attachment.digest().as_str())
    }

    /// Pushes the manifest of an attachment, whose blobs are in the registry, and makes it findable by the image's digest.
    async fn attach(&self, image: &Image, attachment: &Attachment, pushed: &mut Pushed) -> Result<(), Failed> {
        let target = self.document(attachment);
        pushed.bytes_sent += self.push_manifest(&target, &attachment.manifest).await?;
        let subject = self.target.clone_with_digest(image.digest().to_string());
        let listed = self.tries.attempt(Step::Read, || self.client.pull_referrers(&subject, None)).await?;
        if listed.manifests.iter().any(|it| it.digest == attachment.digest().as_str()) {
            return Ok(());
        }
        let there: Vec<_> = listed.manifests.iter().filter_map(|it| serde_json::to_value(it).ok()).collect();
        let list = referrers::with(attachment, &there);
        let tag = self.tagged(&referrers::tag(image.digest()));
        match self.push_manifest(&tag, &list).await {
            Ok(sent) => pushed.bytes_sent += sent,
            Err((_, error)) if ErrorFacts::from(&error).is_tag_taken() => {
                pushed.unlisted.push(self.registry.reference(attachment.digest()));
            }
            Err(failed) => return Err(failed),
        }
        Ok(())
    }

    /// Another tag of the same repository.
    fn tagged(&self, tag: &str) -> Reference {
        let (registry, repository) = (self.target.registry(), self.target.repository());
        Reference::with_tag(registry.to_owned(), repository.to_owned(), tag.to_owned())
    }

    /// The digest of the image that the tag names, if it names one.
    async fn digest_under_tag(&self) -> Result<Option<String>, Failed> {
        let answer =
            self.tries.attempt(Step::Read, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await;
        match answer {
            Ok(digest) => Ok(Some(digest)),
            // No such tag, or no such repository: the first upload tells which.
            Err((_, error)) if ErrorFacts::from(&error).is_not_found() => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Sends a blob that the registry does not have. Returns how many bytes were sent; `None` if the registry has it.
    async fn push_blob(&self, blob: &Blob) -> Result<Option<u64>, Failed> {
        let digest = blob.digest.as_str();
        let exists = || self.client.blob_exists(&self.target, digest);
        if self.tries.attempt(Step::Read, exists).await? {
            return Ok(None);
        }
        let send = async || {
            if let Some(bytes) = blob.bytes() {
                return self.client.push_blob(&self.target, bytes.clone(), digest).await;
            }
            let chunks = blob.chunks().await.map_err(from_io)?.map_err(from_io);
            self.client.push_blob_stream(&self.target, chunks, digest, Some(blob.size)).await
        };
        self.tries.attempt(Step::Upload, send).await?;
        Ok(Some(blob.size))
    }

    async fn push_manifest(&self, target: &Reference, manifest: &Manifest) -> Result<u64, Failed> {
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

    /// Verifies that the registry knows the image by the same digest, before a deployment uses it.
    async fn require_digest(&self, ours: &Digest) -> Result<(), Failed> {
        let theirs =
            self.tries.attempt(Step::Verify, || self.client.fetch_manifest_digest(&self.target, &self.auth)).await?;
        if theirs == ours.as_str() {
            return Ok(());
        }
        let expected = ours.to_string();
        let mismatch = oci_client::errors::DigestError::VerificationError { expected, actual: theirs };
        Err((Step::Verify, mismatch.into()))
    }
}

#[cfg(test)]
mod tests;
