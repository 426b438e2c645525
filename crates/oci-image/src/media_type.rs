//! The media types that images are made of: those of OCI and those of Docker.

/// An image manifest (OCI).
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests (OCI).
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest (Docker).
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A list of manifests (Docker).
#[cfg(feature = "registry")]
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The config of an artifact that has none.
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A compressed layer (OCI).
#[cfg(test)]
pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The manifests and indexes that this crate reads.
#[cfg(feature = "registry")]
pub(crate) const MANIFESTS: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// The layers that every container runtime unpacks.
pub(crate) const LAYERS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];
