//! Reads an image from the registry that others pushed it to, with the credentials that there are for it.
//! Must not know where the image goes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use oci_client::Reference;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode};

use crate::architecture::Architecture;
use crate::assemble::{PartSource, Root, assemble};
use crate::client::{from_io, http, into_io};
use crate::content::{BlobSource, Chunks};
use crate::credentials::credentials;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::{Error, ImageError, Operation, Result, Step};
use crate::external::check_size;
use crate::image::Image;
use crate::limits::{DOCUMENT_LIMIT, OverLimit};
use crate::login::{authorization, body, is_loopback, refusal};
use crate::media_type;
use crate::registry_error::failed;
use crate::retry::{Failed, TRIES, Tries};
use crate::stored::verified;

impl Image {
    /// Finds the image for `architecture` in a registry and reads what describes it. Its layers stay in the registry until
    /// a push sends them on. The credentials are those that Docker, Podman and Skopeo use: in `REGISTRY_AUTH_FILE`,
    /// `DOCKER_CONFIG`, `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`, or
    /// `~/.docker/config.json`, and in the credential helpers that these name. A registry on this machine needs no TLS.
    ///
    /// If the process has no default TLS provider of `rustls` yet, this makes ring the default.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] if the registry cannot be reached, does not have the image, or does not allow reading it;
    /// [`Error::Credentials`] if the credentials cannot be read; [`Error::Unusable`] if the image would not run on
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
    http: Client,
    /// Scheme and authority.
    base: String,
    reference: Reference,
    auth: RegistryAuth,
    /// What the registry accepted last.
    login: Mutex<Option<HeaderValue>>,
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
        let http = http().map_err(|error| explain((Step::Connect, error)))?;
        // As Docker does: a registry on this machine needs no TLS.
        let host = reference.resolve_registry();
        let base = format!("{}://{host}", if is_loopback(host) { "http" } else { "https" });
        let login = Mutex::default();
        let origin = Self { http, base, reference: reference.clone(), auth, login, tries };
        origin.tries.attempt(Step::Connect, || origin.log_in()).await.map_err(explain)?;
        Ok(Arc::new(origin))
    }

    async fn log_in(&self) -> Result<(), OciDistributionError> {
        let login = authorization(&self.http, &self.base, self.reference.repository(), &self.auth).await?;
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = login;
        Ok(())
    }

    /// A successful answer; after a token has expired, with a new one.
    async fn get(&self, path: &str) -> Result<Response, OciDistributionError> {
        let url = format!("{}/v2/{}/{path}", self.base, self.reference.repository());
        let send = async || {
            let mut request = self.http.get(&url).header(ACCEPT, media_type::MANIFESTS.join(", "));
            let login = self.login.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(login) = login {
                request = request.header(AUTHORIZATION, login);
            }
            request.send().await
        };
        let mut response = send().await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.log_in().await?;
            response = send().await?;
        }
        let code = response.status().as_u16();
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED => Err(OciDistributionError::UnauthorizedError { url }),
            _ => Err(OciDistributionError::ServerError { code, url, message: refusal(response).await }),
        }
    }

    /// The manifest or index that the name stands for.
    async fn root(&self) -> Result<Root> {
        let bytes =
            self.document("manifests", self.reference.digest().or(self.reference.tag()).unwrap_or("latest")).await?;
        if let Some(expected) = self.reference.digest() {
            let expected = expected.to_owned().try_into().map_err(ImageError::InvalidDigest);
            self.check(&bytes, &expected.map_err(|reason| self.unusable(reason))?, true)?;
        }
        Ok(Root { bytes, media_type: media_type::MANIFEST.to_owned() })
    }

    /// A whole document, up to the limit.
    async fn document(&self, kind: &str, name: &str) -> Result<Vec<u8>> {
        let get = async || body(self.get(&format!("{kind}/{name}")).await?, "a document from the registry").await;
        let read = self.tries.attempt(Step::Read, get).await;
        read.map_err(|(step, error)| match into_io(error) {
            error if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) => {
                self.unusable(ImageError::of_io(error, ImageError::Unreadable))
            }
            error => failed(operation(&self.reference), (step, from_io(error))),
        })
    }

    fn check(&self, bytes: &[u8], expected: &Digest, is_manifest: bool) -> Result<()> {
        let found = Digest::of(bytes);
        if found == *expected {
            return Ok(());
        }
        let part = if is_manifest { "its manifest" } else { "its config" }.to_owned();
        let (expected, found) = (Box::new(expected.clone()), Box::new(found));
        Err(self.unusable(ImageError::DigestMismatch { part, expected, found }))
    }

    fn unusable(&self, reason: ImageError) -> Error {
        Error::unusable(&self.reference.whole(), reason)
    }
}

fn operation(reference: &Reference) -> Operation {
    Operation::Pull { image: reference.whole(), host: reference.registry().to_owned() }
}

/// A layer in a registry.
#[derive(Debug)]
struct RemoteLayer {
    origin: Arc<Origin>,
    size: u64,
}

impl BlobSource for RemoteLayer {
    fn chunks<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Chunks>> {
        Box::pin(async move {
            let response = self.origin.get(&format!("blobs/{digest}")).await.map_err(into_io)?;
            let chunks = response.bytes_stream().map_err(|error| into_io(error.into())).boxed();
            Ok(verified(chunks, digest.clone(), self.size))
        })
    }

    fn explain(&self, _: &Digest, error: io::Error) -> Error {
        failed(operation(&self.origin.reference), (Step::Read, from_io(error)))
    }
}

/// The layers stay in the registry until they are sent on.
impl PartSource for Arc<Origin> {
    async fn read(&self, descriptor: &Descriptor, is_manifest: bool) -> Result<Vec<u8>> {
        let part = if is_manifest { "manifest" } else { "config" };
        check_size(part, descriptor.size, DOCUMENT_LIMIT).map_err(|reason| self.unusable(reason))?;
        let kind = if is_manifest { "manifests" } else { "blobs" };
        let bytes = self.document(kind, descriptor.digest.as_str()).await?;
        self.check(&bytes, &descriptor.digest, is_manifest)?;
        Ok(bytes)
    }

    async fn layer(&self, descriptor: &Descriptor) -> Result<Arc<dyn BlobSource>> {
        Ok(Arc::new(RemoteLayer { origin: Self::clone(self), size: descriptor.size }))
    }
}

#[cfg(test)]
#[path = "pull/tests.rs"]
mod tests;
