//! Pushing, against a registry in this process.

use super::*;
use crate::elf::tests::program;
use crate::fake_registry::{FakeRegistry, Fault};
use crate::{Architecture, Credentials, Error, ErrorKind, ImageSpec, RegistryError};

fn image(content: &str) -> Image {
    let spec = ImageSpec { name: "app", version: "1", architecture: Architecture::Amd64, port: 8080 };
    let mut binary = program(Architecture::Amd64, None);
    binary.extend_from_slice(content.as_bytes());
    Image::from_static_binary(&spec, &binary).unwrap()
}

async fn push(fake: &FakeRegistry, image: &Image, tag: &str) -> Result<Pushed> {
    push_with(image, &fake.registry("secret"), tag, Tries::AT_ONCE).await
}

fn registry_error(error: Error) -> RegistryError {
    let Error::Registry(error) = error else { panic!("{error:?}") };
    let Operation::Push { repository, tag, .. } = &error.operation else { panic!("{error:?}") };
    assert_eq!((repository.as_str(), tag.as_str()), ("registry.example/test", "v1"));
    *error
}

#[tokio::test]
async fn a_first_push_sends_layer_config_and_manifest() {
    let (fake, image) = (FakeRegistry::start(), image(""));
    let pushed = push(&fake, &image, "v1").await.unwrap();

    assert_eq!(pushed.reference, format!("registry.example/test@{}", image.digest()));
    assert_eq!((pushed.blobs_sent, pushed.blobs_present, pushed.manifest_present), (2, 0, false));
    assert_eq!(pushed.bytes_sent, image.size());
    let state = fake.state.lock().unwrap();
    assert_eq!(state.bytes_received, image.size());
    assert_eq!(state.tags["v1"], image.digest().as_str());
    for blob in [&image.layers[0], &image.config, &image.manifest.blob] {
        assert_eq!(state.stored[blob.digest.as_str()], &blob.bytes().unwrap()[..]);
    }
}

#[tokio::test]
async fn a_second_push_sends_nothing() {
    let (fake, image) = (FakeRegistry::start(), image(""));
    let first = push(&fake, &image, "v1").await.unwrap();
    let second = push(&fake, &image, "v1").await.unwrap();

    assert_eq!(second.reference, first.reference);
    assert_eq!((second.bytes_sent, second.blobs_sent, second.manifest_present), (0, 0, true));
    assert_eq!(fake.state.lock().unwrap().bytes_received, first.bytes_sent);
}

#[tokio::test]
async fn another_tag_of_the_same_image_sends_only_the_manifest() {
    let (fake, image) = (FakeRegistry::start(), image(""));
    push(&fake, &image, "v1").await.unwrap();
    let other = push(&fake, &image, "v1-again").await.unwrap();

    assert_eq!((other.blobs_sent, other.blobs_present, other.manifest_present), (0, 2, false));
    assert_eq!(other.bytes_sent, image.manifest.blob.size);
}

#[tokio::test]
async fn a_push_that_broke_off_goes_on_where_it_was() {
    let (fake, image) = (FakeRegistry::start(), image(""));
    let layer = &image.layers[0];
    fake.state.lock().unwrap().stored.insert(layer.digest.as_str().to_owned(), layer.bytes().unwrap().to_vec());

    let pushed = push(&fake, &image, "v1").await.unwrap();
    assert_eq!((pushed.blobs_sent, pushed.blobs_present), (1, 1));
    assert_eq!(pushed.bytes_sent, image.size() - layer.size);
}

#[tokio::test]
async fn a_failure_of_a_moment_is_tried_again() {
    for fault in [Fault::HangUp, Fault::Status(429), Fault::Status(500), Fault::Status(503)] {
        let fake = FakeRegistry::start();
        fake.state.lock().unwrap().upload_faults.extend([fault, fault]);
        assert_eq!(push(&fake, &image(""), "v1").await.unwrap().blobs_sent, 2);
    }
}

#[tokio::test]
async fn a_failure_that_stays_is_given_up() {
    let fake = FakeRegistry::start();
    fake.state.lock().unwrap().upload_faults.extend([Fault::Status(503); 20]);
    let error = push(&fake, &image(""), "v1").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Busy && error.is_transient(), "{error:?}");
    assert_eq!(registry_error(error).step, Step::Upload);
}

#[tokio::test]
async fn wrong_credentials_are_reported_and_not_tried_again() {
    let fake = FakeRegistry::start();
    let error = push_with(&image(""), &fake.registry("wrong"), "v1", Tries::AT_ONCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    let requests = &fake.state.lock().unwrap().requests;
    assert!(requests.len() <= 5 && !requests.iter().any(|request| request.starts_with("PUT")), "{requests:?}");
}

#[tokio::test]
async fn credentials_that_may_not_push_are_reported() {
    let fake = FakeRegistry::start();
    fake.state.lock().unwrap().read_only = true;
    let error = push(&fake, &image(""), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error:?}");
    assert_eq!(registry_error(error).step, Step::Upload);
}

#[tokio::test]
async fn a_repository_that_does_not_exist_is_named() {
    let fake = FakeRegistry::start();
    fake.state.lock().unwrap().no_repository = true;
    let error = push(&fake, &image(""), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(registry_error(error).reason().contains("has no repository test"));
}

#[tokio::test]
async fn an_immutable_tag_of_another_image_is_reported() {
    let fake = FakeRegistry::start();
    fake.state.lock().unwrap().immutable_tags = true;
    push(&fake, &image("one"), "v1").await.unwrap();
    let error = push(&fake, &image("two"), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TagTaken, "{error:?}");
}

#[tokio::test]
async fn a_registry_that_names_the_image_otherwise_is_not_trusted() {
    let fake = FakeRegistry::start();
    let other = format!("sha256:{}", "0".repeat(64));
    fake.state.lock().unwrap().wrong_digest = Some(other);
    let error = push(&fake, &image(""), "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error:?}");
    assert_eq!(registry_error(error).step, Step::Verify);
}

#[tokio::test]
async fn a_registry_that_does_not_run_is_reported_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let registry = Registry::new("registry.example/test", Credentials::new("AWS", "secret"))
        .unwrap()
        .reached_at(format!("http://{free}").parse().unwrap());
    let error = super::push(&image(""), &registry, "v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    let error = registry_error(error);
    assert_eq!(error.reason(), format!("the registry cannot be reached at http://{free}"));
    assert!(error.detail.contains("refused") && error.source.is_some(), "{error:?}");
}

/// The image with a document about it.
fn documented() -> Image {
    image("").with_attachment("text/plain", b"what is in it".to_vec()).unwrap()
}

#[tokio::test]
async fn a_document_about_the_image_is_pushed_with_it_once() {
    let (fake, image) = (FakeRegistry::start(), documented());
    fake.state.lock().unwrap().lists_referrers = true;
    let first = push(&fake, &image, "v1").await.unwrap();
    let second = push(&fake, &image, "v1").await.unwrap();

    assert!(first.bytes_sent > image.size() && first.unlisted.is_empty(), "{first:?}");
    assert_eq!((second.bytes_sent, second.manifest_present), (0, true));
    let state = fake.state.lock().unwrap();
    assert_eq!(state.tags.keys().collect::<Vec<_>>(), ["v1"]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&state.stored[image.attachments()[0].digest().as_str()]).unwrap();
    assert_eq!(manifest["subject"]["digest"], image.digest().as_str());
    assert_eq!(manifest["artifactType"], "text/plain");
    assert_eq!(state.stored[manifest["layers"][0]["digest"].as_str().unwrap()], b"what is in it");
}

#[tokio::test]
async fn a_document_that_is_missing_is_pushed_though_the_image_is_there() {
    let (fake, without, image) = (FakeRegistry::start(), image(""), documented());
    push(&fake, &without, "v1").await.unwrap();
    let pushed = push(&fake, &image, "v1").await.unwrap();
    assert!(pushed.manifest_present && pushed.bytes_sent > 0, "{pushed:?}");
}

#[tokio::test]
async fn a_registry_that_lists_no_referrers_keeps_the_list_in_a_tag() {
    let (fake, other, image) = (FakeRegistry::start(), image(""), documented());
    let other = other.with_attachment("text/html", b"another".to_vec()).unwrap();
    push(&fake, &image, "v1").await.unwrap();
    push(&fake, &other, "v1").await.unwrap();

    let state = fake.state.lock().unwrap();
    let list = &state.stored[&state.tags[&image.digest().as_str().replace(':', "-")]];
    let list: serde_json::Value = serde_json::from_slice(list).unwrap();
    let listed: Vec<_> =
        list["manifests"].as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap()).collect();
    assert_eq!(listed, [&image, &other].map(|image| image.attachments()[0].digest().as_str()));
    assert_eq!(list["manifests"][0]["artifactType"], "text/plain");
}

#[tokio::test]
async fn a_list_that_cannot_be_changed_is_reported_and_the_image_is_pushed() {
    let (fake, other, image) = (FakeRegistry::start(), image(""), documented());
    fake.state.lock().unwrap().immutable_tags = true;
    let other = other.with_attachment("text/html", b"another".to_vec()).unwrap();
    assert!(push(&fake, &image, "v1").await.unwrap().unlisted.is_empty());
    let second = push(&fake, &other, "v1").await.unwrap();
    assert_eq!(second.unlisted, [format!("registry.example/test@{}", other.attachments()[0].digest())]);
}
