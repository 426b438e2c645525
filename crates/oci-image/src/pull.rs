//! Reads an image from the registry that others pushed it to, with the credentials that Docker's configuration has for it.
//! Must not know where the image goes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_client::client::{Client, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use crate::architecture::Architecture;
use crate::assemble::{PartSource, Root, assemble};
use crate::client::{client, into_io};
use crate::content::{BlobSource, Chunks};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{CredentialsError, Error, ImageError, Operation, Result, Step};
use crate::external::check_size;
use crate::image::Image;
use crate::limits::DOCUMENT_LIMIT;
use crate::media_type;
use crate::registry_error::failed;
use crate::retry::{Failed, TRIES, Tries};

/// What Docker's configuration calls Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl Image {
    /// Finds the image for `architecture` in a registry and reads what describes it. Its layers stay in the registry until
    /// a push sends them on. The credentials are those of Docker's configuration (`~/.docker/config.json`, or in
    /// `DOCKER_CONFIG`); a registry on this machine needs no TLS.
    ///
    /// If the process has no default TLS provider of `rustls` yet, this makes ring the default.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] if the registry cannot be reached, does not have the image, or does not allow reading it;
    /// [`Error::Credentials`] if Docker's configuration cannot be read; [`Error::Unusable`] if the image would not run on
    /// `architecture`, or if its content is not what its digests say.
    ///
    /// ```no_run
    /// use oci_image::{Architecture, Image};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let image = Image::pull(&"registry.example/team/app:1".parse()?, Architecture::Arm64).await?;
    /// println!("{} ({} bytes)", image.digest(), image.size());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pull(reference: &Reference, architecture: Architecture) -> Result<Self> {
        let auth = credentials(reference).await?;
        let origin = Origin::connect(reference, auth, TRIES).await?;
        let root = origin.root().await?;
        let name = reference.whole();
        assemble(&name, &origin, root, architecture).await?.require_command(&name)
    }
}

/// An image in a registry.
struct Origin {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    tries: Tries,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("reference", &self.reference.whole()).finish_non_exhaustive()
    }
}

impl Origin {
    /// Logs in to the registry that has the image.
    async fn connect(reference: &Reference, auth: RegistryAuth, tries: Tries) -> Result<Arc<Self>> {
        let explain = |error: Failed| failed(operation(reference), error);
        // As Docker does: a registry on this machine needs no TLS.
        let host = reference.resolve_registry();
        let plain = if is_loopback(host) { vec![host.to_owned()] } else { Vec::new() };
        let client = client(ClientProtocol::HttpsExcept(plain)).map_err(|error| explain((Step::Connect, error)))?;
        let origin = Self { client, reference: reference.clone(), auth, tries };
        let log_in = || origin.client.auth(reference, &origin.auth, RegistryOperation::Pull);
        origin.tries.attempt(Step::Connect, log_in).await.map_err(explain)?;
        Ok(Arc::new(origin))
    }

    /// The manifest or index that the name stands for.
    async fn root(&self) -> Result<Root> {
        Ok(Root { bytes: self.manifest(&self.reference).await?, media_type: media_type::MANIFEST.to_owned() })
    }

    async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>> {
        let get = || self.client.pull_manifest_raw(reference, &self.auth, &media_type::MANIFESTS);
        let (bytes, _) = self.tries.attempt(Step::Read, get).await.map_err(|error| self.explain(error))?;
        self.check_size(bytes.len() as u64)?;
        Ok(bytes.to_vec())
    }

    /// A blob from its beginning; the stream ends with an error if the content is not what the digest says.
    async fn stream(&self, digest: &Digest) -> Result<Chunks, OciDistributionError> {
        let stream = self.client.pull_blob_stream(&self.reference, digest.as_str()).await?;
        Ok(held_back(stream.boxed()))
    }

    async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, OciDistributionError> {
        let mut stream = self.stream(digest).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > size {
                break;
            }
        }
        Ok(bytes)
    }

    fn explain(&self, error: Failed) -> Error {
        failed(operation(&self.reference), error)
    }

    fn check_size(&self, size: u64) -> Result<()> {
        check_size("manifest", size, DOCUMENT_LIMIT).map_err(|reason| self.unusable(reason))
    }

    fn unusable(&self, reason: ImageError) -> Error {
        Error::unusable(&self.reference.whole(), reason)
    }
}

fn operation(reference: &Reference) -> Operation {
    Operation::Pull { image: reference.whole(), host: reference.registry().to_owned() }
}

/// The chunks, each only when the next one has arrived. The stream reports at its end whether the digest is right; until
/// then the last chunk must not be passed on, because the receiver would have the whole blob.
fn held_back(chunks: Chunks) -> Chunks {
    // Polled again after its end, the stream would verify an empty content.
    let state = (chunks.fuse().boxed(), None);
    let next = async |(mut chunks, mut held): (Chunks, Option<bytes::Bytes>)| loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => {
                if let Some(chunk) = held.replace(chunk) {
                    return Ok(Some((chunk, (chunks, held))));
                }
            }
            Ok(None) => return Ok(held.map(|chunk| (chunk, (chunks, None)))),
            Err(error) => return Err(error),
        }
    };
    stream::try_unfold(state, next).boxed()
}

impl BlobSource for Origin {
    fn chunks<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(async move { self.stream(digest).await.map_err(into_io) })
    }
}

/// The layers stay in the registry until they are sent on.
impl PartSource for Arc<Origin> {
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>> {
        self.check_size(descriptor.size)?;
        let bytes = if is_manifest {
            self.manifest(&self.reference.clone_with_digest(descriptor.digest.as_str().to_owned())).await?
        } else {
            let get = || self.small_blob(&descriptor.digest, descriptor.size);
            self.tries.attempt(Step::Read, get).await.map_err(|error| self.explain(error))?
        };
        let found = Digest::of(&bytes);
        if (&found, bytes.len() as u64) == (&descriptor.digest, descriptor.size) {
            return Ok(bytes);
        }
        let part = if is_manifest { "its manifest" } else { "its config" }.to_owned();
        let (expected, found) = (Box::new(descriptor.digest.clone()), Box::new(found));
        Err(self.unusable(ImageError::DigestMismatch { part, expected, found }))
    }

    async fn layer(&self, _: &Descriptor) -> Result<Arc<dyn BlobSource>> {
        Ok(Self::clone(self))
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What Docker's configuration (`~/.docker/config.json`, or in `DOCKER_CONFIG`) has for the image's registry: a password,
/// or a helper program that knows one. Without an entry, the image must be public.
async fn credentials(reference: &Reference) -> Result<RegistryAuth> {
    use docker_credential::{CredentialRetrievalError as Missing, DockerCredential, get_credential};
    let server = match reference.resolve_registry() {
        "index.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    };
    let asked = server.clone();
    // A helper is a program, which may take seconds: use a thread that may block.
    let found = tokio::task::spawn_blocking(move || get_credential(&asked)).await;
    let reason = match found {
        Ok(Ok(DockerCredential::UsernamePassword(user, password))) => return Ok(RegistryAuth::Basic(user, password)),
        Ok(Ok(DockerCredential::IdentityToken(_))) => CredentialsError::IdentityToken { server },
        Ok(Err(Missing::ConfigNotFound | Missing::NoCredentialConfigured)) => return Ok(RegistryAuth::Anonymous),
        // The error is the same for a file that cannot be read and for one that does not exist.
        Ok(Err(Missing::ConfigReadError)) if !docker_configuration().is_some_and(|file| file.exists()) => {
            return Ok(RegistryAuth::Anonymous);
        }
        // What every helper says of a registry without a login.
        Ok(Err(Missing::HelperFailure { stdout, .. })) if stdout.contains("credentials not found") => {
            return Ok(RegistryAuth::Anonymous);
        }
        Ok(Err(error)) => CredentialsError::Unreadable { server, source: error.to_string().into() },
        Err(error) => CredentialsError::Unreadable { server, source: error.into() },
    };
    Err(Error::Credentials { image: reference.whole(), reason })
}

/// The path of Docker's configuration, if there is a home folder.
fn docker_configuration() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

#[cfg(test)]
#[path = "pull/tests.rs"]
mod tests;
