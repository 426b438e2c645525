//! Deployments on the local cloud: previews, confirmations, and clean-up.

use std::collections::BTreeSet;

use crate::support::function::Function;
use crate::support::{Cloud, User, project};
use aws_sdk_ecr::types::ImageIdentifier;
use serde_json::Value;

/// The media type of an image layer.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[test]
fn a_deployment_is_seen_coming_and_what_replaces_anything_needs_a_person_s_word() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let run = |arguments: &[&str]| cloud.run_in(&faulty, arguments);

    let before = run(&["diff"]).expect(0);
    assert!(before.out.contains("will be created") && before.out.contains("prod will be green"), "{}", before.out);
    run(&["deploy", "--expect-no-changes"]).expect(3);
    run(&["deploy"]).expect(0);
    run(&["deploy", "--expect-no-changes"]).expect(0);

    let user = User::of(cloud.address(0), "/");
    let diff = run(&["diff", "--version", "4"]).expect(0);
    assert!(diff.out.contains("prod stays on green (v1); blue (idle) goes v1 -> v4"), "{}", diff.out);
    assert!(diff.out.contains("BlueTaskDefinition") && diff.out.contains("a new revision"), "{}", diff.out);
    assert!(!diff.out.contains("GreenService"), "{}", diff.out);
    run(&["diff", "--version", "4", "--expect-no-changes"]).expect(3);

    // Another address range is another network, which replaces everything in it.
    let other = tempfile::NamedTempFile::new().unwrap();
    let settings = std::fs::read_to_string(faulty.join("bluegreen.toml")).unwrap();
    std::fs::write(other.path(), format!("{settings}\n[network]\ncidr = \"10.1.0.0/16\"\n")).unwrap();
    let config = other.path().to_str().unwrap();
    let refused = run(&["--config", config, "deploy"]).expect(3);
    assert!(refused.err.contains("Vpc (AWS::EC2::VPC)") && refused.err.contains("--yes"), "{}", refused.err);
    let live = run(&["--config", config, "deploy", "--yes"]).expect(3);
    assert!(live.err.contains("--allow-live-changes"), "{}", live.err);

    // Another port needs open security groups first, which needs a confirmation; a target group has no separate port.
    std::fs::write(other.path(), settings.replace("[app]", "[app]\nport = 9090")).unwrap();
    let closed = run(&["--config", config, "deploy", "--version", "1"]).expect(3);
    assert!(closed.err.contains("port 9090") && closed.err.contains("bluegreen deploy"), "{}", closed.err);
    let asked = run(&["--config", config, "deploy"]).expect(3);
    assert!(asked.err.contains("TaskSecurityGroup now lets in tcp 9090"), "{}", asked.err);
    run(&["--config", config, "deploy", "--yes"]).expect(0);
    run(&["--config", config, "deploy", "--version", "1"]).expect(0);

    run(&["doctor"]).expect(0);
    let url = run(&["open", "prod"]).expect(0);
    assert!(url.out.contains(&cloud.address(0)), "{}", url.out);
    run(&["logs", "blue", "--since", "1h"]).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1"]);
    run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}

/// The content of a registry: the digest and the manifest of each image; empty if the registry is deleted.
fn manifests(cloud: &Cloud, repository: &str) -> Vec<(String, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = aws_sdk_ecr::Client::new(&cloud.sdk_config().await);
        let images = match client.describe_images().repository_name(repository).send().await {
            Ok(answer) => answer.image_details.unwrap_or_default(),
            Err(error) if error.as_service_error().is_some_and(|it| it.is_repository_not_found_exception()) => {
                Vec::new()
            }
            Err(error) => panic!("{error:?}"),
        };
        let digests: BTreeSet<String> = images.into_iter().filter_map(|image| image.image_digest).collect();
        let mut found = Vec::new();
        for digest in digests {
            let id = ImageIdentifier::builder().image_digest(&digest).build();
            let answer = client.batch_get_image().repository_name(repository).image_ids(id).send().await.unwrap();
            let manifest = answer.images()[0].image_manifest().unwrap();
            found.push((digest, serde_json::from_str(manifest).unwrap()));
        }
        found
    })
}

#[test]
fn the_bill_of_materials_of_an_image_stays_as_long_as_the_image_and_goes_with_it() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let run = |arguments: &[&str]| cloud.run_in(&faulty, arguments);
    run(&["deploy"]).expect(0);
    run(&["deploy", "--version", "4"]).expect(0);
    let repository = Function::of(&cloud).outputs["RegistryName"].clone();
    let there = manifests(&cloud, &repository);
    let images: Vec<&String> =
        there.iter().filter(|(_, it)| it["layers"][0]["mediaType"] == LAYER).map(|(it, _)| it).collect();
    assert_eq!(images.len(), 2, "{there:#?}");
    for image in images {
        let about = there.iter().filter(|(_, it)| it["subject"]["digest"] == **image);
        let types: Vec<&Value> = about.map(|(_, manifest)| &manifest["artifactType"]).collect();
        assert_eq!(types, ["application/vnd.cyclonedx+json"], "{image} of {there:#?}");
    }
    run(&["destroy", "--confirm", "bluegreen"]).expect(0);
    assert_eq!(manifests(&cloud, &repository), []);
}
