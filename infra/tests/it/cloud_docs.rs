//! Runs the commands of the documentation: page by page in a shell, on one local cloud, with a small separate service.
//! Commands that cannot run here are listed with the reason.

use std::path::Path;

use crate::support::pages::{commands, pages};
use crate::support::shell::Shell;
use crate::support::{Cloud, get, project};

/// The order of the pages. Pages that are not listed have no commands, or a separate test.
const ORDER: [&str; 10] = [
    "docs/how-to/ci.md",
    "docs/how-to/dashboard-and-report.md",
    "docs/how-to/disaster-recovery.md",
    "README.md",
    "docs/how-to/https.md",
    "docs/how-to/private-network.md",
    "docs/how-to/from-terraform.md",
    "docs/how-to/costs.md",
    "docs/how-to/rehearse.md",
    "docs/reference/bench.md",
];
const ELSEWHERE: [&str; 1] = ["docs/how-to/own-service.md"];

/// Commands that do not run: their start, and the reason.
const NOT_HERE: [(&str, &str); 8] = [
    ("make ", "a target runs one command, or a whole separate run; `docs` checks that each exists"),
    ("cd ", "the folder of the user"),
    ("bluegreen init", "`cloud_own` runs it"),
    ("aws ", "the AWS CLI is not installed; `cloud_requests` sends the same requests"),
    ("bluegreen rehearse", "it starts a separate local cloud; `cloud_rehearse` runs it"),
    ("bluegreen dashboard", "it runs until it is interrupted; `browser` opens it"),
    ("AWS_REGION=", "the local cloud is one region"),
    ("bluegreen synth", "it needs the settings of another page; `validate.sh` renders every profile"),
];

/// Changes in commands: text, replacement, and reason.
const CHANGED: [(&str, &str, &str); 1] = [("10:30s,50:30s", "10:1s,50:1s", "shorter pauses save time")];

/// Commands with an exit code other than 0, and the reason.
const ENDS: [(&str, i32, &str); 2] = [
    ("bluegreen destroy", 3, "it needs a confirmation, and stdin is not a terminal"),
    ("bluegreen abort", 3, "no run is in progress; `cloud_follow` aborts one"),
];

#[test]
fn every_command_of_the_documentation_does_what_it_says() {
    let cloud = Cloud::start([80, 81]);
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path());
    let mut shell = Shell::new(&cloud, folder.path());
    shell.run("local-cloud exec -- bluegreen deploy").expect(0);

    let pages = pages();
    let name = |path: &Path| path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned();
    for (path, text) in &pages {
        let known = ORDER.iter().chain(&ELSEWHERE).any(|page| *page == name(path));
        assert!(known || commands(text).is_empty(), "{}: nothing runs its commands", name(path));
    }
    let (mut left_out, mut ran) = (vec![0; NOT_HERE.len()], Vec::new());
    for page in ORDER {
        let (_, text) = pages.iter().find(|(path, _)| name(path) == page).unwrap_or_else(|| panic!("no page {page}"));
        for command in commands(text) {
            if let Some(index) = NOT_HERE.iter().position(|(start, _)| command.starts_with(start)) {
                left_out[index] += 1;
                continue;
            }
            let changed = CHANGED.iter().fold(command.clone(), |command, (from, to, _)| command.replace(from, to));
            let code = ENDS.iter().find(|(start, ..)| command.starts_with(start)).map_or(0, |(_, code, _)| *code);
            let said = shell.run(&format!("eval \"$(local-cloud env)\"\n{changed}"));
            assert_eq!(said.code, code, "{page}: {changed}\n{}\n{}", said.out, said.err);
            ran.push(changed);
        }
    }
    assert!(left_out.iter().all(|times| *times > 0), "no page has these any more: {left_out:?} of {NOT_HERE:?}");
    assert!(ran.len() > 20, "{ran:?}");
    for file in ["report.md", "report.html", "run.json"] {
        assert!(std::fs::metadata(folder.path().join(file)).unwrap().len() > 100, "{file}");
    }
    assert_eq!(get(&cloud.address(0), "/").status, 200);
    shell.run("local-cloud exec -- bluegreen destroy --confirm bluegreen").expect(0);
}

/// The service of docs/how-to/own-service.md in two versions, as a package in a folder.
fn shop(folder: &Path) {
    let page = std::fs::read_to_string(project().join("docs/how-to/own-service.md")).unwrap();
    let source = page.split("<<'END'\n").nth(1).unwrap().split("\nEND\n").next().unwrap();
    std::fs::create_dir_all(folder.join("src/bin")).unwrap();
    for version in ["1", "2"] {
        let source = source.replace("VERSION: &str = \"1\"", &format!("VERSION: &str = \"{version}\""));
        std::fs::write(folder.join(format!("src/bin/shop-v{version}.rs")), source).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n");
    write("bluegreen.toml", "[app]\ncargo = \"shop\"\ncount = 1\n");
}
