//! The images that were pulled: their layers on disk by digest, so that nothing is downloaded twice; their unpacked trees,
//! so that nothing is unpacked twice; and their names in memory.

use super::reference::Reference;
use super::registry::Repository;
use crate::error::{Context, Error, Result};
use crate::http_client::{self, HttpClient};
use oci_image::{Architecture, ErrorKind, Limits, RootCache, RunConfig, StoredImage, UnpackedRoot};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long an unpacked tree stays that no task uses.
const TREES_KEPT: Duration = Duration::from_hours(1);

/// An image with all its layers on disk.
#[derive(Debug)]
pub(crate) struct Image {
    /// The digest of its manifest, or of the index that lists it.
    pub(crate) digest: String,
    /// The digest of its configuration, which Docker calls the image id.
    pub(crate) id: String,
    /// The name by which it was pulled.
    pub(crate) name: String,
    /// How it runs.
    pub(crate) config: RunConfig,
    content: oci_image::Image,
    roots: Arc<RootCache>,
}

/// Pulls and stores images.
#[derive(Debug)]
pub(crate) struct ImageStore {
    layers: PathBuf,
    endpoint: String,
    client: HttpClient,
    roots: Arc<RootCache>,
    by_name: Mutex<BTreeMap<String, Arc<Image>>>,
}

impl ImageStore {
    /// A store in `dir` that pulls from the registry at `endpoint`.
    pub(crate) fn new(dir: &Path, endpoint: String) -> Result<Self> {
        let layers = dir.join("sha256");
        std::fs::create_dir_all(&layers).context(|| format!("cannot create {}", layers.display()))?;
        let roots = RootCache::open(&dir.join("roots"), Limits::default()).map_err(|error| failed(&error))?;
        Ok(Self { layers, endpoint, client: http_client::client(), roots: Arc::new(roots), by_name: Mutex::default() })
    }

    /// The image with this name, if it was pulled.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Image>> {
        let key = Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.to_string());
        let images = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&key).or_else(|| images.values().find(|image| image.id == name || image.digest == name)).cloned()
    }

    /// Adds a name to an image.
    pub(crate) fn tag(&self, image: &Arc<Image>, name: &str) -> Result<()> {
        let key = Reference::parse(name)?.to_string();
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(image));
        Ok(())
    }

    /// The digest of the manifest of a name, without pulling the image.
    pub(crate) async fn resolve(&self, name: &str) -> Result<String> {
        Ok(self.open(&Self::local_reference(name)?).await?.named.to_string())
    }

    /// Pulls an image: its manifest, its configuration, and missing layers.
    pub(crate) async fn pull(&self, name: &str) -> Result<Arc<Image>> {
        let reference = Self::local_reference(name)?;
        let StoredImage { image, named } = self.open(&reference).await?;
        let image = image.with_layers_in(&self.layers).await.map_err(|error| failed(&error))?;
        let image = Arc::new(Image {
            digest: named.to_string(),
            id: image.config_digest().to_string(),
            name: reference.to_string(),
            config: image.run_config().clone(),
            content: image,
            roots: Arc::clone(&self.roots),
        });
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.to_string(), Arc::clone(&image));
        if let Err(error) = self.roots.remove_unused(TREES_KEPT).await {
            tracing::warn!("{}", failed(&error));
        }
        Ok(image)
    }

    async fn open(&self, reference: &Reference) -> Result<StoredImage> {
        let Some(host) = Architecture::of_host() else {
            return Err(Error::new(format!("images for {} are not supported", std::env::consts::ARCH)));
        };
        let (endpoint, name, client) = (self.endpoint.clone(), reference.repository.clone(), self.client.clone());
        let store = Arc::new(Repository { endpoint, name, client });
        let found = oci_image::Image::from_store(store, &reference.to_string(), &reference.version, host).await;
        found.map_err(|error| failed(&error))
    }

    fn local_reference(name: &str) -> Result<Reference> {
        let reference = Reference::parse(name)?;
        if reference.is_local() {
            return Ok(reference);
        }
        Err(Error::new(format!("{name} is in a registry outside the local cloud"))
            .hint("push the image to the registry of the local cloud as ACCOUNT.dkr.ecr.REGION.amazonaws.com/..."))
    }
}

impl Image {
    /// The unpacked image, which nobody may change. The first call for an image unpacks it; the tree stays as long as the
    /// value.
    pub(crate) async fn root(&self) -> Result<UnpackedRoot> {
        let unpacked = self.roots.root_of(&self.content).await;
        unpacked.map_err(|error| Error::new(format!("cannot unpack {}: {}", self.name, failed(&error).message())))
    }

    /// Writes the image to an archive (an OCI layout as a tar file); returns the digest of its manifest.
    pub(crate) async fn write_archive(&self, path: &Path) -> Result<String> {
        let written = self.content.write_archive(path, &[]).await;
        written.map(|digest| digest.to_string()).map_err(|error| failed(&error))
    }

    /// The TCP ports that the image exposes.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.config.tcp_ports()
    }
}

/// An error about an image, with what to do about it.
fn failed(error: &oci_image::Error) -> Error {
    let ours = Error::new(crate::error::chain(error));
    match error {
        oci_image::Error::Unusable { reason, .. } => match reason {
            oci_image::ImageError::PlatformMissing { .. } | oci_image::ImageError::OtherPlatform { .. } => {
                ours.hint("build the image for the architecture of this machine")
            }
            _ if error.kind() == ErrorKind::SourceDigestMismatch => ours.hint("push the image again: it is damaged"),
            _ => ours,
        },
        _ => ours,
    }
}
