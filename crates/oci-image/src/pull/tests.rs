//! Pulling, and sending on to another registry, both in this process.

use serde_json::json;

use super::*;
use crate::content::Blob;
use crate::elf::tests::program;
use crate::fake_registry::{FakeRegistry, Fault};
use crate::{ErrorKind, ImageSpec, push};

fn image(architecture: Architecture) -> Image {
    let spec = ImageSpec { name: "app", version: "1", architecture, port: 8080 };
    Image::from_static_binary(&spec, &program(architecture, None)).unwrap()
}

/// A registry that has the image for two processors under the tag `1`.
fn registry() -> (FakeRegistry, Image) {
    let fake = FakeRegistry::start();
    let images = [image(Architecture::Arm64), image(Architecture::Amd64)];
    let entries = images.each_ref().map(|image| {
        let architecture = if *image == images[0] { "arm64" } else { "amd64" };
        json!({
            "mediaType": image.manifest.media_type, "digest": image.digest(), "size": image.manifest.blob.size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    });
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
    let index = Blob::new(serde_json::to_vec(&index).unwrap());
    let mut state = fake.state.lock().unwrap();
    state.public = true;
    state.tags.insert("1".to_owned(), index.digest.as_str().to_owned());
    let blobs = images.iter().flat_map(|image| image.blobs().into_iter().chain([&image.manifest.blob]));
    for blob in blobs.chain([&index]) {
        state.stored.insert(blob.digest.as_str().to_owned(), blob.bytes().unwrap().to_vec());
    }
    drop(state);
    let [_, amd64] = images;
    (fake, amd64)
}

async fn pulled(fake: &FakeRegistry, tag: &str, auth: RegistryAuth) -> Result<Image> {
    let name = format!("{}/test:{tag}", fake.address.trim_start_matches("http://"));
    let origin = Origin::connect(&name.parse().unwrap(), auth, Tries::AT_ONCE).await?;
    assemble(&name, &origin, origin.root().await?, Architecture::Amd64).await
}

#[tokio::test]
async fn the_image_for_the_wanted_processor_is_copied_as_it_is() {
    let ((from, original), to) = (registry(), FakeRegistry::start());
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    assert_eq!(image, original);

    let pushed = push(&image, &to.registry("secret"), "v1").await.unwrap();
    assert_eq!((pushed.blobs_sent, pushed.bytes_sent), (2, original.size()));
    let state = to.state.lock().unwrap();
    assert_eq!(state.stored[original.layers[0].digest.as_str()], &original.layers[0].bytes().unwrap()[..]);
    assert_eq!(state.tags["v1"], original.digest().as_str());
}

#[tokio::test]
async fn layers_are_read_only_if_they_are_missing() {
    let ((from, original), to) = (registry(), FakeRegistry::start());
    push(&original, &to.registry("secret"), "v1").await.unwrap();
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    assert_eq!(push(&image, &to.registry("secret"), "v1").await.unwrap().bytes_sent, 0);
    let layer = format!("GET /v2/test/blobs/{}", original.layers[0].digest.as_str());
    assert!(!from.state.lock().unwrap().requests.contains(&layer));
}

#[tokio::test]
async fn a_copy_that_broke_off_reads_the_layer_again_from_its_beginning() {
    let ((from, original), to) = (registry(), FakeRegistry::start());
    to.state.lock().unwrap().upload_faults.extend([Fault::Status(503), Fault::HangUp]);
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    assert_eq!(push(&image, &to.registry("secret"), "v1").await.unwrap().bytes_sent, original.size());
}

#[tokio::test]
async fn a_token_is_requested_if_the_registry_requires_one() {
    let (from, original) = registry();
    let realm = format!("{}/token", from.address);
    from.state.lock().unwrap().token_realm = Some(realm);
    assert_eq!(pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap(), original);

    from.state.lock().unwrap().public = false;
    let user = RegistryAuth::Basic("AWS".to_owned(), "secret".to_owned());
    assert_eq!(pulled(&from, "1", user).await.unwrap(), original);
    let error = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
}

#[tokio::test]
async fn layers_in_another_place_are_read_without_the_login() {
    let ((front, original), (store, _)) = (registry(), registry());
    store.state.lock().unwrap().refuses_logins = true;
    {
        let mut state = front.state.lock().unwrap();
        (state.public, state.blobs_elsewhere) = (false, Some(store.address.replace("127.0.0.1", "localhost")));
    }
    let user = RegistryAuth::Basic("AWS".to_owned(), "secret".to_owned());
    let image = pulled(&front, "1", user).await.unwrap();
    let chunks: Vec<_> = image.layers[0].chunks().await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.concat()[..], original.layers[0].bytes().unwrap()[..]);
    let layer = format!("GET /v2/test/blobs/{}", original.layers[0].digest.as_str());
    assert!(store.state.lock().unwrap().requests.contains(&layer));
}

#[tokio::test]
async fn a_tag_that_does_not_exist_is_not_found() {
    let error = pulled(&registry().0, "9", RegistryAuth::Anonymous).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let Error::Registry(error) = error else { panic!("{error:?}") };
    let Operation::Pull { image, host } = &error.operation else { panic!("{error:?}") };
    assert!(*image == format!("{host}/test:9") && error.step == Step::Read, "{error:?}");
}

#[tokio::test]
async fn a_config_with_another_content_than_its_digest_is_rejected() {
    let (from, original) = registry();
    let digest = original.config.digest.as_str().to_owned();
    from.state.lock().unwrap().stored.insert(digest, b"{}".to_vec());
    let error = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceDigestMismatch, "{error:?}");
}

#[tokio::test]
async fn a_layer_with_another_content_than_its_digest_is_not_passed_on() {
    let ((from, original), to) = (registry(), FakeRegistry::start());
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    let layer = &original.layers[0];
    let other = vec![0; layer.bytes().unwrap().len()];
    from.state.lock().unwrap().stored.insert(layer.digest.as_str().to_owned(), other);
    let error = push(&image, &to.registry("secret"), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceDigestMismatch, "{error:?}");
    assert!(to.state.lock().unwrap().tags.is_empty());
}

#[tokio::test]
async fn an_archive_of_an_image_whose_registry_fails_says_what_the_registry_did() {
    let (from, original) = registry();
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.tar");
    assert_eq!(&image.write_archive(&path, &[]).await.unwrap(), original.digest());

    let layer = &original.layers[0];
    let other = vec![0; layer.bytes().unwrap().len()];
    for (stored, kind) in [(Some(other), ErrorKind::SourceDigestMismatch), (None, ErrorKind::NotFound)] {
        {
            let digest = layer.digest.as_str().to_owned();
            let mut state = from.state.lock().unwrap();
            state.stored.remove(&digest);
            state.stored.extend(stored.map(|bytes| (digest, bytes)));
        }
        let error = image.write_archive(&path, &[]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let Error::Registry(error) = error else { panic!("{error:?}") };
        assert!(matches!(error.operation, Operation::Pull { .. }) && error.step == Step::Read, "{error:?}");
    }

    let nowhere = folder.path().join("missing/copy.tar");
    assert_eq!(image.write_archive(&nowhere, &[]).await.unwrap_err().kind(), ErrorKind::Io);
}

#[tokio::test]
async fn a_manifest_without_an_end_is_not_read_to_its_end() {
    let (from, _) = registry();
    from.state.lock().unwrap().endless_manifests = true;
    let error = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap_err();
    let is_limit =
        matches!(&error, Error::Unusable { reason: ImageError::OverLimit { limit: DOCUMENT_LIMIT, .. }, .. });
    assert!(is_limit, "{error:?}");
}

#[tokio::test]
async fn a_password_is_not_sent_without_tls_to_another_place() {
    let (from, _) = registry();
    from.state.lock().unwrap().token_realm = Some("http://registry.invalid/token".to_owned());
    let user = RegistryAuth::Basic("AWS".to_owned(), "secret".to_owned());
    let error = pulled(&from, "1", user).await.unwrap_err();
    let Error::Registry(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind, crate::RegistryErrorKind::InsecureLogin, "{error:?}");
    assert!(error.reason().contains("http://registry.invalid/token"), "{error:?}");
}

#[tokio::test]
async fn a_token_that_has_expired_is_requested_again() {
    let (from, original) = registry();
    let realm = format!("{}/token", from.address);
    from.state.lock().unwrap().token_realm = Some(realm);
    let image = pulled(&from, "1", RegistryAuth::Anonymous).await.unwrap();
    from.state.lock().unwrap().token = "another-token".to_owned();
    let chunks: Vec<_> = image.layers[0].chunks().await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.concat()[..], original.layers[0].bytes().unwrap()[..]);
}

#[tokio::test]
async fn an_image_is_pulled_by_digest_and_nothing_else_is_accepted_for_it() {
    let (from, original) = registry();
    let host = from.address.trim_start_matches("http://");
    let open = async |digest: &Digest| {
        let name = format!("{host}/test@{digest}");
        let origin = Origin::connect(&name.parse().unwrap(), RegistryAuth::Anonymous, Tries::AT_ONCE).await?;
        assemble(&name, &origin, origin.root().await?, Architecture::Amd64).await
    };
    assert_eq!(open(original.digest()).await.unwrap(), original);
    let other = Digest::of(b"other");
    let manifest = original.manifest.blob.bytes().unwrap().to_vec();
    from.state.lock().unwrap().stored.insert(other.as_str().to_owned(), manifest);
    assert_eq!(open(&other).await.unwrap_err().kind(), ErrorKind::SourceDigestMismatch);
}
