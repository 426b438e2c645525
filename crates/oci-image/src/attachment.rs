//! A document about an image, stored beside it: an OCI artifact that names the image as its subject, so that a registry
//! lists it among the image's referrers (OCI image and distribution specifications 1.1). Must not know what it says.

use serde::Serialize;

use crate::content::Blob;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::media_type;

/// A document that belongs to an image, such as its bill of materials. A push stores it beside the image, where
/// scanners find it; [`Image::with_attachment`](crate::Image::with_attachment) adds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    media_type: String,
    pub(crate) content: Blob,
    pub(crate) config: Blob,
    pub(crate) manifest: Manifest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    schema_version: u8,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Pointer<'a>,
    layers: [Pointer<'a>; 1],
    subject: Pointer<'a>,
}

/// A descriptor, its fields in the order that keeps the bytes of what older versions wrote.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pointer<'a> {
    digest: &'a Digest,
    media_type: &'a str,
    size: u64,
}

impl<'a> Pointer<'a> {
    fn new(media_type: &'a str, blob: &'a Blob) -> Self {
        Self { digest: &blob.digest, media_type, size: blob.size }
    }
}

impl Attachment {
    /// A document of this type about the image that has this manifest.
    pub(crate) fn new(media_type: String, content: Vec<u8>, subject: &Manifest) -> Result<Self> {
        let (content, config) = (Blob::new(content), Blob::new(b"{}".to_vec()));
        let file = File {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            artifact_type: &media_type,
            config: Pointer::new(media_type::EMPTY, &config),
            layers: [Pointer::new(&media_type, &content)],
            subject: Pointer::new(&subject.media_type, &subject.blob),
        };
        let file =
            serde_json::to_vec(&file).map_err(|error| Error::io("write the manifest of an attachment", error))?;
        let manifest = Manifest::new(media_type::MANIFEST, file);
        Ok(Self { media_type, content, config, manifest })
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The digest by which a registry knows it.
    pub fn digest(&self) -> &Digest {
        &self.manifest.blob.digest
    }
}

/// The list of referrers that clients keep under a tag if the registry keeps none itself.
#[cfg(feature = "registry")]
pub(crate) mod referrers {
    use serde_json::{Value, json};

    use super::Attachment;
    use crate::digest::Digest;
    use crate::manifest::Manifest;
    use crate::media_type;

    /// The tag that clients look for (OCI distribution specification 1.1, "Referrers Tag Schema").
    pub fn tag(subject: &Digest) -> String {
        subject.as_str().replace(':', "-")
    }

    /// The list with `attachment` added to the entries that are there.
    pub fn with(attachment: &Attachment, there: &[Value]) -> Manifest {
        let blob = &attachment.manifest.blob;
        let added = json!({
            "artifactType": attachment.media_type, "digest": blob.digest, "mediaType": media_type::MANIFEST,
            "size": blob.size,
        });
        let others = there.iter().filter(|other| other["digest"] != added["digest"]).cloned();
        let manifests: Vec<_> = others.chain([added.clone()]).collect();
        let index = json!({"manifests": manifests, "mediaType": media_type::INDEX, "schemaVersion": 2});
        Manifest::new(media_type::INDEX, index.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_keeps_its_bytes() {
        let subject = Manifest::new(media_type::MANIFEST, b"{}".to_vec());
        let attachment = Attachment::new("text/plain".to_owned(), b"parts".to_vec(), &subject).unwrap();
        let pointer = |media_type: &str, content: &[u8]| {
            let (digest, size) = (Digest::of(content), content.len());
            format!(r#"{{"digest":"{digest}","mediaType":"{media_type}","size":{size}}}"#)
        };
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"text/plain","config":{},"layers":[{}],"subject":{}}}"#,
            media_type::MANIFEST,
            pointer(media_type::EMPTY, b"{}"),
            pointer("text/plain", b"parts"),
            pointer(media_type::MANIFEST, b"{}"),
        );
        assert_eq!(String::from_utf8_lossy(attachment.manifest.blob.bytes().unwrap()), expected);
    }
}
