//! Any service: a program other than the sample, in an image of another tool, deployed on the local cloud with only a
//! `bluegreen.toml`. It reports no version, so the probes check only the status.

use std::path::Path;
use std::process::Command;

use crate::support::outside::Outside;
use crate::support::{Cloud, get, project};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The server as a static program.
fn program(folder: &Path) -> Vec<u8> {
    let file = folder.join("server");
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition",
            "2024",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "opt-level=s",
            "-C",
            "strip=symbols",
            "-o",
        ])
        .arg(&file)
        .arg(project().join("infra/tests/it/plain/server.rs"))
        .status()
        .unwrap();
    assert!(built.success());
    std::fs::read(file).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn put(tar: &mut tar::Builder<impl std::io::Write>, path: &str, mode: u32, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes).unwrap();
}

/// The program in an OCI layout, as `skopeo copy ... oci-archive:FILE` writes one.
fn archive(file: &Path, program: &[u8], greeting: &str) {
    let mut layer = tar::Builder::new(Vec::new());
    put(&mut layer, "server", 0o755, program);
    let layer = layer.into_inner().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, &layer).unwrap();
    let packed = gzip.finish().unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/server"], "Env": [format!("GREETING={greeting}")], "User": "1000:1000" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
    })
    .to_string()
    .into_bytes();
    let described = |kind: &str, bytes: &[u8]| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len() })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config), "layers": [described("layer.v1.tar+gzip", &packed)],
    })
    .to_string()
    .into_bytes();
    let index = json!({ "schemaVersion": 2, "manifests": [described("manifest.v1+json", &manifest)] }).to_string();
    let mut tar = tar::Builder::new(std::fs::File::create(file).unwrap());
    put(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    put(&mut tar, "index.json", 0o644, index.as_bytes());
    for blob in [&packed, &config, &manifest] {
        put(&mut tar, &format!("blobs/sha256/{}", sha256(blob)), 0o644, blob);
    }
    tar.finish().unwrap();
}

/// The settings of such a service, without other files of a project.
fn settings(folder: &Path, image: &str, ports: [u16; 2]) {
    let [prod, dev] = ports;
    let text = format!(
        "[app]\nimage = \"{image}\"\nversion_header = \"\"\ncount = 1\n[health_check]\npath = \"/\"\n\
         [prod]\nport = {prod}\n[dev]\nport = {dev}\n"
    );
    std::fs::write(folder.join("bluegreen.toml"), text).unwrap();
}

/// The image in the registry of a stack with the tag of the version.
pub fn digest_in(cloud: &Cloud, stack: &str, version: &str) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = cloud.sdk_config().await;
        let described = aws_sdk_cloudformation::Client::new(&config).describe_stacks().stack_name(stack).send().await;
        let outputs = described.unwrap().stacks.unwrap().swap_remove(0).outputs.unwrap();
        let name = outputs.iter().find(|output| output.output_key() == Some("RegistryName")).unwrap();
        let name = name.output_value().unwrap().to_owned();
        let images = aws_sdk_ecr::Client::new(&config).list_images().repository_name(&name).send().await.unwrap();
        let is_it = |tag: Option<&str>| tag.is_some_and(|tag| tag.starts_with(&format!("v{version}-")));
        let found = images.image_ids().iter().find(|id| is_it(id.image_tag())).unwrap_or_else(|| panic!("{images:?}"));
        (name, found.image_digest().unwrap().to_owned())
    })
}

#[test]
fn an_image_that_others_made_is_deployed_and_cut_over_through_its_settings_alone() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    for version in ["1", "2"] {
        archive(&folder.path().join(format!("plain-{version}.tar")), &program, &format!("plain {version}"));
    }
    settings(folder.path(), "plain-{version}.tar", [90, 91]);
    let cloud = Cloud::start([90, 91]);
    let run = |arguments: &[&str]| {
        let mut command = cloud.command(arguments);
        // The function comes from the project; the service does not.
        command.current_dir(folder.path()).env("DOCKER_CONFIG", folder.path());
        crate::support::Said::of(command.output().unwrap())
    };
    run(&["deploy"]).expect(0);
    run(&["deploy", "--version", "2"]).expect(0);
    assert_eq!(get(&cloud.address(0), "/").body, "plain 1");
    assert_eq!(get(&cloud.address(1), "/").body, "plain 2");

    let outside = Outside::start(&cloud.address(0));
    let record = run(&["--json", "cutover"]).expect(0).json();
    let seen = outside.leave();
    assert!(seen.failures.is_empty() && seen.requests > 500, "{seen:?}");
    assert_eq!(record["outcome"], "done", "{record:#}");
    assert_eq!(
        (&record["probes"]["counts"]["failed"], &record["versions"]["new"]),
        (&json!(0), &Value::Null),
        "{record:#}"
    );
    assert_eq!(get(&cloud.address(0), "/").body, "plain 2");
    assert_eq!(get(&cloud.address(1), "/").body, "plain 1");

    // If a cutover expects a version and the service reports none, the error says so, and no traffic moves.
    let refused = run(&["cutover", "--version", "1"]);
    assert!(refused.code != 0 && refused.err.contains("no header that tells"), "{refused:?}");
    assert_eq!(get(&cloud.address(0), "/").body, "plain 2");
    run(&["rollback"]).expect(0);
    assert_eq!(get(&cloud.address(0), "/").body, "plain 1");

    // The same image from a registry: copied to the registry of another stack, without Docker.
    let (repository, digest) = digest_in(&cloud, "bluegreen", "2");
    let host = cloud.endpoint().trim_start_matches("http://").to_owned();
    cloud.log_in(folder.path());
    settings(folder.path(), &format!("{host}/{repository}@{digest}"), [92, 93]);
    run(&["--stack", "copied", "deploy"]).expect(0);
    let (other, copied) = digest_in(&cloud, "copied", "1");
    assert_ne!(other, repository);
    assert_eq!(copied, digest);
}
