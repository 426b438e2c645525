//! A document about an image, stored beside it: an OCI artefact that names the image as its subject, so that a registry
//! lists it among the image's referrers (OCI image and distribution specifications 1.1). Must not know what it says.

use serde::Serialize;
use serde_json::{Value, json};

use super::content::{Blob, Digest};
use super::image::{MANIFEST_TYPE, Manifest};
use crate::error::{Doing as _, Result};

/// The type of the config of an artefact that has none, and of the list of referrers in a tag.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A document that belongs to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub(super) media_type: &'static str,
    pub(super) content: Blob,
    pub(super) config: Blob,
    pub(super) manifest: Manifest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    schema_version: u8,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Value,
    layers: [Value; 1],
    subject: Value,
}

impl Attachment {
    /// A document of this type about the image that has this manifest.
    pub(super) fn new(media_type: &'static str, content: Vec<u8>, subject: &Manifest) -> Result<Self> {
        let (content, config) = (Blob::new(content), Blob::new(b"{}".to_vec()));
        let file = File {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            artifact_type: media_type,
            config: pointer(EMPTY_TYPE, &config),
            layers: [pointer(media_type, &content)],
            subject: pointer(&subject.media_type, &subject.blob),
        };
        let file = serde_json::to_vec(&file).doing(|| "write the manifest of an attachment".to_owned())?;
        let manifest = Manifest { media_type: MANIFEST_TYPE.to_owned(), blob: Blob::new(file) };
        Ok(Self { media_type, content, config, manifest })
    }

    /// The digest by which a registry knows it.
    pub fn digest(&self) -> &str {
        self.manifest.blob.digest.as_str()
    }

    /// The tag under which registries without a list of referrers keep one, as clients look for it.
    pub(super) fn list_tag(subject: &Digest) -> String {
        subject.as_str().replace(':', "-")
    }

    /// The list of referrers with this one added to those that are there.
    pub(super) fn listed_with(&self, there: &[Value]) -> Blob {
        let mut own = pointer(MANIFEST_TYPE, &self.manifest.blob);
        own["artifactType"] = self.media_type.into();
        let others = there.iter().filter(|other| other["digest"] != own["digest"]).cloned();
        let manifests: Vec<_> = others.chain([own.clone()]).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
        Blob::new(index.to_string().into_bytes())
    }
}

fn pointer(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest.as_str(), "size": blob.size})
}
