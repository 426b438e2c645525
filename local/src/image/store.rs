//! The pulled images: blobs on disk by digest, so that nothing is downloaded twice, and names in memory.

use super::reference::Reference;
use super::registry::{Registry, digest_of, host_architecture};
use super::unpack::unpack_layer;
use crate::error::{Context, Error, Result};
use crate::http_client;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// An image with all its blobs on disk.
#[derive(Debug)]
pub(crate) struct Image {
    /// The digest of its manifest.
    pub(crate) digest: String,
    /// The digest of its configuration, which Docker calls the image id.
    pub(crate) id: String,
    /// The name by which it was pulled.
    pub(crate) name: String,
    pub(crate) config: ImageConfig,
    layers: Vec<(String, PathBuf)>,
}

/// The part of the image configuration that defines how to run it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageConfig {
    pub(crate) user: Option<String>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) volumes: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct ConfigFile {
    architecture: Option<String>,
    #[serde(default)]
    config: Option<ImageConfig>,
}

/// Pulls and stores images.
#[derive(Debug)]
pub(crate) struct ImageStore {
    blobs: PathBuf,
    registry: Registry,
    by_name: Mutex<BTreeMap<String, Arc<Image>>>,
}

impl ImageStore {
    /// A store in `dir` that pulls from the registry at `endpoint`.
    pub(crate) fn new(dir: &Path, endpoint: String) -> Result<Self> {
        let blobs = dir.join("sha256");
        std::fs::create_dir_all(&blobs).context(|| format!("cannot create {}", blobs.display()))?;
        let registry = Registry { endpoint, client: http_client::client() };
        Ok(Self { blobs, registry, by_name: Mutex::default() })
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
        let reference = Self::local_reference(name)?;
        Ok(self.registry.manifest(&reference).await?.0)
    }

    /// Pulls an image: its manifest, its configuration, and missing layers.
    pub(crate) async fn pull(&self, name: &str) -> Result<Arc<Image>> {
        let reference = Self::local_reference(name)?;
        let (digest, manifest) = self.registry.manifest(&reference).await?;
        let Some(config) = manifest.config else {
            return Err(Error::new(format!("{reference} is not an image: its manifest has no configuration")));
        };
        let config_path = self.blob(&reference, &config.digest).await?;
        let text = tokio::fs::read(&config_path).await.context(|| format!("cannot read {}", config_path.display()))?;
        debug_assert_eq!(digest_of(&text), config.digest);
        let file: ConfigFile =
            serde_json::from_slice(&text).context(|| format!("cannot parse the configuration of {reference}"))?;
        if let Some(architecture) = file.architecture.as_deref().filter(|arch| *arch != host_architecture()) {
            let host = host_architecture();
            return Err(Error::new(format!("{reference} is built for {architecture}, but this machine is {host}"))
                .hint("build the image for the architecture of this machine"));
        }
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            layers.push((layer.media_type.clone(), self.blob(&reference, &layer.digest).await?));
        }
        let image = Arc::new(Image {
            digest,
            id: config.digest,
            name: reference.to_string(),
            config: file.config.unwrap_or_default(),
            layers,
        });
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.to_string(), Arc::clone(&image));
        Ok(image)
    }

    fn local_reference(name: &str) -> Result<Reference> {
        let reference = Reference::parse(name)?;
        if reference.is_local() {
            return Ok(reference);
        }
        Err(Error::new(format!("{name} is in a registry outside the local cloud"))
            .hint("push the image to the registry of the local cloud as ACCOUNT.dkr.ecr.REGION.amazonaws.com/..."))
    }

    async fn blob(&self, reference: &Reference, digest: &str) -> Result<PathBuf> {
        let path = self.blobs.join(digest.trim_start_matches("sha256:"));
        // Only verified blobs get their final name, so an existing file is valid.
        if !super::reference::is_digest(digest) || !path.is_file() {
            self.registry.blob_to(reference, digest, &path).await?;
        }
        Ok(path)
    }
}

impl Image {
    /// Unpacks the layers, lowest first, into an empty directory. Blocking.
    pub(crate) fn unpack(&self, root: &Path) -> Result<()> {
        std::fs::create_dir_all(root).context(|| format!("cannot create {}", root.display()))?;
        for (media_type, layer) in &self.layers {
            unpack_layer(media_type, layer, root)
                .map_err(|error| Error::new(format!("cannot unpack a layer of {}: {}", self.name, error.message())))?;
        }
        Ok(())
    }

    /// The TCP ports that the image exposes.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let exposed = self.config.exposed_ports.iter().flat_map(BTreeMap::keys);
        exposed.filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok()).collect()
    }
}
