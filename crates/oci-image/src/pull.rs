//! Reads an image from the registry that it was pushed to by others, with the credentials that Docker's own configuration
//! has for it. Must not know where the image goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::content::{Chunks, Content, Digest};
use super::external::{DOCUMENT_LIMIT, Descriptor, MANIFEST_TYPES, check_size, refused};
use super::registry_error::{Refusal, Step};
use super::retry::{TRIES, Tries};
use super::source::{Parts, verify};
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// What Docker's configuration calls Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// An image in a registry.
pub(super) struct Origin {
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
    /// Logs in where the image is.
    pub async fn connect(reference: &Reference) -> Result<Arc<Self>> {
        // Whoever pulls may not have talked to AWS before.
        aws::install_tls();
        let auth = credentials(reference).await?;
        Self::connect_as(reference, auth, TRIES).await
    }

    async fn connect_as(reference: &Reference, auth: RegistryAuth, tries: Tries) -> Result<Arc<Self>> {
        let explain = |error: OciDistributionError| Refusal::from(error).explain_pull(reference);
        // As Docker does: a registry on this very machine needs no TLS.
        let host = reference.resolve_registry();
        let plain = if is_loopback(host) { vec![host.to_owned()] } else { Vec::new() };
        let client = Client::try_from(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientConfig::default()
        })
        .map_err(explain)?;
        let origin = Self { client, reference: reference.clone(), auth, tries };
        let log_in = || origin.client.auth(reference, &origin.auth, RegistryOperation::Pull);
        origin.tries.attempt(Step::Connect, log_in).await.map_err(|(_, error)| explain(error))?;
        Ok(Arc::new(origin))
    }

    /// The manifest or index that the name stands for, and the type by which the registry announced it.
    pub async fn root(&self) -> Result<(Vec<u8>, String)> {
        Ok((self.manifest(&self.reference).await?, MANIFEST_TYPES[0].to_owned()))
    }

    async fn manifest(&self, reference: &Reference) -> Result<Vec<u8>> {
        let get = || self.client.pull_manifest_raw(reference, &self.auth, &MANIFEST_TYPES);
        let (bytes, _) = self.tries.attempt(Step::Look, get).await.map_err(|(_, error)| self.explain(error))?;
        check_size(&self.reference.whole(), "manifest", bytes.len() as u64, DOCUMENT_LIMIT)?;
        Ok(bytes.to_vec())
    }

    /// A blob from its beginning; the stream ends with an error where the content is not what the digest says.
    pub async fn chunks(&self, digest: &Digest) -> Result<Chunks, OciDistributionError> {
        let stream = self.client.pull_blob_stream(&self.reference, digest.as_str()).await?;
        Ok(held_back(stream.map_err(OciDistributionError::from).boxed()))
    }

    async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, OciDistributionError> {
        let mut stream = self.chunks(digest).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > size {
                break;
            }
        }
        Ok(bytes)
    }

    fn explain(&self, error: OciDistributionError) -> Error {
        Refusal::from(error).explain_pull(&self.reference)
    }
}

/// The chunks, each only when the next is there. The stream tells at its end whether the digest was right; by then the
/// last chunk must not have gone, or the receiver would have the blob whole.
fn held_back(chunks: Chunks) -> Chunks {
    // Asked again after its end, the stream would take nothing for its content.
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

/// The content of a registry's blobs, known by its descriptor until it is sent on.
impl Parts for Arc<Origin> {
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>> {
        let name = self.reference.whole();
        check_size(&name, "manifest", descriptor.size, DOCUMENT_LIMIT)?;
        let bytes = if is_manifest {
            self.manifest(&self.reference.clone_with_digest(descriptor.digest.as_str().to_owned())).await?
        } else {
            let get = || self.small_blob(&descriptor.digest, descriptor.size);
            self.tries.attempt(Step::Look, get).await.map_err(|(_, error)| self.explain(error))?
        };
        verify(&name, descriptor, &bytes)?;
        Ok(bytes)
    }

    fn layer(&self, _: &Descriptor) -> Result<Content> {
        Ok(Content::Registry(Arc::clone(self)))
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What Docker's configuration (`~/.docker/config.json`, or in `DOCKER_CONFIG`) has for the image's registry: a password,
/// or a helper program that knows one. Nothing there means an image that everybody may pull.
async fn credentials(reference: &Reference) -> Result<RegistryAuth> {
    use docker_credential::{CredentialRetrievalError as Missing, DockerCredential, get_credential};
    let server = match reference.resolve_registry() {
        "index.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    };
    let asked = server.clone();
    // A helper is a program: it may take its time.
    let found = tokio::task::spawn_blocking(move || get_credential(&asked)).await;
    match found {
        Ok(Ok(DockerCredential::UsernamePassword(user, password))) => Ok(RegistryAuth::Basic(user, password)),
        Ok(Ok(DockerCredential::IdentityToken(_))) => Err(refused(
            &reference.whole(),
            format!("Docker's configuration has an identity token for {server}, which only Docker itself can use"),
        )
        .hint("log in with a user and a password or an access token: docker login -u USER")),
        Ok(Err(Missing::ConfigNotFound | Missing::NoCredentialConfigured)) => Ok(RegistryAuth::Anonymous),
        // It says the same of a file that cannot be read and of one that is not there, as where nobody ever logged in.
        Ok(Err(Missing::ConfigReadError)) if !docker_configuration().is_some_and(|file| file.exists()) => {
            Ok(RegistryAuth::Anonymous)
        }
        // What every helper says of a registry that nobody has logged in to.
        Ok(Err(Missing::HelperFailure { stdout, .. })) if stdout.contains("credentials not found") => {
            Ok(RegistryAuth::Anonymous)
        }
        Ok(Err(error)) => Err(refused(&reference.whole(), format!("no credentials for {server}: {error}"))
            .hint("check ~/.docker/config.json and the credential helper that it names, or log in again")),
        Err(error) => Err(refused(&reference.whole(), error.to_string())),
    }
}

/// Where Docker's configuration is, if there is any.
fn docker_configuration() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

#[cfg(test)]
#[path = "pull/tests.rs"]
mod tests;
