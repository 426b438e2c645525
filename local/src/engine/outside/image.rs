//! Brings an image of the local registry into the engine: as an archive that both Docker (`manifest.json`) and tools of OCI
//! images (`index.json`) read.

use super::Outside;
use crate::error::{Context, Error, Result, chain};
use crate::image::Image;
use bollard::query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{Seek, SeekFrom};
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The start of the line with the name of a loaded image.
const LOADED: &str = "Loaded image: ";
/// The size of a part of an archive, in bytes.
const PART: usize = 256 * 1024;
/// The size of the end of an archive, in bytes.
const END: i64 = 1024;

impl Outside {
    /// The name of an image in the engine. The first call for an image loads it.
    pub(super) async fn image(&self, image: &Image) -> Result<String> {
        let mut loaded = self.loaded.lock().await;
        if let Some(name) = loaded.get(&image.id) {
            return Ok(name.clone());
        }
        let archive = self.folder.join("image.tar");
        let manifest = image.write_archive(&archive).await?;
        let (repository, tag) = (repository(&self.owner), image.id.trim_start_matches("sha256:").to_owned());
        let (path, name) = (archive.clone(), format!("{repository}:{tag}"));
        let added = tokio::task::spawn_blocking({
            let name = name.clone();
            move || add_manifest(&path, &manifest, &name)
        });
        added
            .await
            .context(|| "cannot finish an archive".into())?
            .context(|| format!("cannot write {}", archive.display()))?;
        let loaded_as = self.load(&archive).await;
        if let Err(error) = tokio::fs::remove_file(&archive).await {
            tracing::warn!("cannot remove {}: {error}", archive.display());
        }
        let failed =
            |why: &str| Error::new(format!("the container engine cannot load the image {}: {why}", image.name));
        let loaded_as = loaded_as.map_err(|error| failed(error.message()))?;
        // Docker has read the name; Podman has not.
        let options = TagImageOptionsBuilder::default().repo(&repository).tag(&tag).build();
        let tagged = self.docker.tag_image(&loaded_as, Some(options)).await;
        tagged.map_err(|error| failed(&chain(&error)))?;
        loaded.insert(image.id.clone(), name.clone());
        Ok(name)
    }

    async fn load(&self, archive: &Path) -> Result<String> {
        let file = File::open(archive).await.context(|| format!("cannot open {}", archive.display()))?;
        let parts = stream::try_unfold(file, |mut file| async {
            let mut part = vec![0; PART];
            let read = file.read(&mut part).await?;
            part.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(part), file)))
        });
        let answers = self.docker.import_image_stream(ImportImageOptionsBuilder::default().build(), parts, None);
        let answers = answers.map(|answer| answer.map(|answer| answer.stream.unwrap_or_default()));
        let answers: Vec<String> = answers.try_collect().await.map_err(|error| Error::new(chain(&error)))?;
        let said = answers.concat();
        let name = said.lines().find_map(|line| line.trim().strip_prefix(LOADED));
        name.map(str::to_owned).ok_or_else(|| Error::new(format!("it says {said:?} instead of the name of the image")))
    }
}

/// Adds the list of images that Docker reads to an OCI layout:
/// <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>.
fn add_manifest(archive: &Path, manifest: &str, tag: &str) -> std::io::Result<()> {
    let path = |digest: &str| format!("blobs/{}", digest.replacen(':', "/", 1));
    let mut file = std::fs::File::options().read(true).write(true).open(archive)?;
    let wanted = path(manifest);
    let mut found = None;
    for entry in tar::Archive::new(&mut file).entries()? {
        let entry = entry?;
        if entry.path()?.to_str() == Some(&wanted) {
            found = Some(serde_json::from_reader::<_, Manifest>(entry)?);
            break;
        }
    }
    let found = found.ok_or_else(|| std::io::Error::other("the archive has no manifest"))?;
    let layers: Vec<String> = found.layers.iter().map(|layer| path(&layer.digest)).collect();
    let list = json!([{ "Config": path(&found.config.digest), "RepoTags": [tag], "Layers": layers }]).to_string();
    // The end of an archive is two empty blocks.
    file.seek(SeekFrom::End(-END))?;
    let mut archive = tar::Builder::new(file);
    let mut header = tar::Header::new_ustar();
    header.set_size(list.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "manifest.json", list.as_bytes())?;
    archive.finish()
}

/// The parts of a manifest that Docker's list names.
#[derive(Debug, Deserialize)]
struct Manifest {
    config: Described,
    layers: Vec<Described>,
}

#[derive(Debug, Deserialize)]
struct Described {
    digest: String,
}

/// The repository in the engine that has the images of a local cloud.
pub(super) fn repository(owner: &str) -> String {
    let digest = hex::encode(Sha256::digest(owner.as_bytes()));
    format!("local-cloud.internal/{}", &digest[..12])
}
