//! The demo, which is what a person runs first.

use crate::support::{BLUEGREEN, Cloud, get};

#[test]
fn the_demo_releases_the_sample_app_whatever_the_current_folder_describes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bluegreen.toml"), "name = \"mine\"\n[app]\ncargo = \"mine\"\n").unwrap();
    let cloud = Cloud::start([80, 81]);
    let demo = cloud.local_in(folder.path(), &["demo", "--bluegreen", BLUEGREEN, "--stack", "shown"]).expect(0);
    assert!(demo.out.contains("\"Bonjour World!\" on blue #09BBE8, version 2"), "{}", demo.out);
    let answers = [0, 1].map(|listener| get(&cloud.address(listener), "/").version);
    assert_eq!(answers, ["2", "1"].map(|version| Some(version.to_owned())), "prod, dev");
    // A second demo begins from nothing again.
    let again = cloud.local_in(folder.path(), &["demo", "--bluegreen", BLUEGREEN, "--stack", "shown"]).expect(0);
    assert!(again.out.contains("Deleting the stack of an earlier demo"), "{}", again.out);
}
