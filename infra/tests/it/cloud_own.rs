//! A user service in a folder outside this project, as in docs/how-to/own-service.md: a Cargo package, and an image.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::pages::blocks;
use crate::support::shell::Shell;
use crate::support::{BLUEGREEN, Cloud, Said, get, project};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The time that the README promises.
const PROMISE: Duration = Duration::from_mins(5);

/// The blocks of the page that do not run here: their start, and the reason.
const NOT_HERE: [(&str, &str); 4] = [
    ("make install", "it installs for the user; the commands of this build replace it"),
    ("bluegreen init --image", "its image does not exist; the test below builds one"),
    ("local-cloud up --engine docker", "it needs an engine; `cloud_engine` runs it"),
    ("bluegreen doctor", "the same steps on AWS"),
];

#[test]
fn whoever_follows_the_page_has_a_service_of_their_own_deployed_and_swapped_in_five_minutes() {
    let began = Instant::now();
    let page = std::fs::read_to_string(project().join("docs/how-to/own-service.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start([80, 81]);
    let mut shell = Shell::new(&cloud, folder.path());
    let mut said = String::new();
    let mut left_out = 0;
    for block in blocks(&page) {
        if NOT_HERE.iter().any(|(start, _)| block.starts_with(start)) {
            left_out += 1;
            continue;
        }
        if block.contains("destroy") {
            let page = std::fs::read_to_string(folder.path().join("hello/report.html")).unwrap();
            assert!(page.contains("Prod moved from green (version 1) to blue (version 2)"), "{} bytes", page.len());
            assert_eq!(get(&cloud.address(0), "/").version.as_deref(), Some("2"));
            // The test itself stops the local cloud.
            shell.run(&block.replace("local-cloud down", "true")).expect(0);
            break;
        }
        said += &shell.run(&block).expect(0).out;
    }
    assert_eq!(left_out, NOT_HERE.len());
    let hellos: Vec<&str> = said.lines().filter(|line| line.starts_with("Hello from")).collect();
    assert_eq!(hellos, ["Hello from version 1", "Hello from version 2", "Hello from version 2"], "{said}");
    assert!(began.elapsed() < PROMISE, "{:?}", began.elapsed());
}

#[test]
fn an_image_is_deployed_and_swapped_where_there_is_nothing_but_a_bluegreen_toml() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // The function for a machine without a compiler.
    let zip = path("function.zip");
    let made = Command::new(BLUEGREEN).args(["function", "--out"]).arg(&zip).current_dir(project()).output().unwrap();
    Said::of(made).expect(0);

    let cloud = Cloud::start([90, 91]);
    let run = |arguments: &[&str]| {
        let mut command = cloud.command(arguments);
        Said::of(command.current_dir(folder.path()).env("BLUEGREEN_FUNCTION", &zip).output().unwrap())
    };
    let init = ["init", "--image", "shop-{version}.tar", "--name", "shop", "--health-check", "/", "--port", "8080"];
    run(&init).expect(0);
    let settings = std::fs::read_to_string(path("bluegreen.toml")).unwrap();
    let settings = settings.replace("[app]\n", "[app]\ncount = 1\n") + "\n[prod]\nport = 90\n\n[dev]\nport = 91\n";
    std::fs::write(path("bluegreen.toml"), settings).unwrap();

    for version in ["1", "2"] {
        std::fs::write(path(&format!("shop-{version}.tar")), image(version)).unwrap();
    }
    let deployed = run(&["deploy"]).expect(0);
    assert!(deployed.err.contains("function.zip"), "{}", deployed.err);
    run(&["deploy", "--version", "2"]).expect(0);
    let record = run(&["--json", "cutover"]).expect(0).json();
    assert_eq!(record["outcome"], "done");
    assert_eq!(get(&cloud.address(0), "/").version.as_deref(), Some("2"));
    assert!(run(&["status"]).expect(0).out.contains("stack shop in"));
    let doctor = run(&["doctor"]).expect(0);
    assert!(doctor.out.contains("function.zip"), "{}", doctor.out);
}

/// An image archive (OCI layout, as any tool writes it) of a service that reports this version.
fn image(version: &str) -> Vec<u8> {
    let program = std::fs::read(program(version)).unwrap();
    let layer = tar(&[("shop".to_owned(), program)]);
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let described = |kind: &str, bytes: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len() });
    let text = |value: Value| value.to_string().into_bytes();
    let config = text(json!({
        "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/shop"], "User": "1000" },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    }));
    let manifest = text(json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config), "layers": [described("layer.v1.tar", &layer)],
    }));
    let index = text(json!({ "schemaVersion": 2, "manifests": [described("manifest.v1+json", &manifest)] }));
    let mut files = vec![
        ("oci-layout".to_owned(), text(json!({ "imageLayoutVersion": "1.0.0" }))),
        ("index.json".to_owned(), index),
    ];
    for blob in [layer, config, manifest] {
        files.push((format!("blobs/{}", digest(&blob).replace(':', "/")), blob));
    }
    tar(&files)
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o555);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The service of the page, as a static program of this version.
fn program(version: &str) -> PathBuf {
    let page = std::fs::read_to_string(project().join("docs/how-to/own-service.md")).unwrap();
    let source = page.split("<<'END'\n").nth(1).unwrap().split("\nEND\n").next().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shop-{version}"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("main.rs");
    std::fs::write(&file, source.replace("VERSION: &str = \"1\"", &format!("VERSION: &str = \"{version}\""))).unwrap();
    let program = folder.join("shop");
    let mut compiler = Command::new("rustc");
    compiler.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(&file);
    Said::of(compiler.args(["--target", "x86_64-unknown-linux-gnu"]).output().unwrap()).expect(0);
    program
}
