//! What the project installs and runs from elsewhere is pinned by its content.

use crate::support::project;

fn read(name: &str) -> String {
    std::fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The requirements of a file (`name==version`), with the rest of each.
fn requirements(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (requirement, rest) = line.split_once(' ').unwrap_or((line, ""));
            (requirement.to_ascii_lowercase(), rest.to_owned())
        })
        .collect()
}

#[test]
fn every_python_package_is_installed_by_its_hash() {
    for (direct, lock) in [
        (Some("local/requirements.txt"), "local/requirements.lock"),
        (None, "local/requirements-installed.lock"),
        (Some("infra/tests/requirements-checkov.txt"), "infra/tests/requirements-checkov.lock"),
        (None, "infra/tests/requirements-deny.lock"),
    ] {
        let locked = requirements(&read(lock));
        assert!(!locked.is_empty(), "{lock}");
        for (requirement, rest) in &locked {
            assert!(requirement.contains("==") && rest.contains("--hash=sha256:"), "{lock}: {requirement} {rest}");
        }
        for (requirement, _) in direct.map(|file| requirements(&read(file))).unwrap_or_default() {
            assert!(locked.iter().any(|(found, _)| *found == requirement), "{requirement} is not in {lock}");
        }
    }
    let all = requirements(&read("local/requirements.lock"));
    for installed in requirements(&read("local/requirements-installed.lock")) {
        assert!(
            installed.0.starts_with("pywin32==") || all.contains(&installed),
            "{installed:?} is tested as another one"
        );
    }
    for line in read("Makefile").lines().filter(|line| line.contains("pip install") || line.contains("PIP_INSTALL")) {
        let pinned = line.contains("--require-hashes") || line.contains(".lock");
        assert!(pinned, "{line}");
    }
}

#[test]
fn every_action_is_pinned_by_commit_and_no_job_with_an_identity_compiles() {
    for entry in std::fs::read_dir(project().join(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display();
        for line in text.lines().filter(|line| line.contains("uses:")) {
            let commit = line.split_once('@').and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("");
            assert!(commit.len() == 40 && commit.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}: {line}");
        }
        let checkouts = text.matches("actions/checkout@").count();
        assert_eq!(text.matches("persist-credentials: false").count(), checkouts, "{name}");
        // Jobs begin with two blanks.
        let jobs = text.split_once("\njobs:\n").unwrap().1;
        let mut job = String::new();
        for line in jobs.lines().chain(["  end:"]) {
            if line.starts_with("  ") && !line[2..].starts_with([' ', '#']) {
                let compiles = ["make build", "make test", "cargo ", ".ci/run"].iter().any(|word| job.contains(word));
                assert!(!(compiles && job.contains("id-token")), "{name}: {job}");
                job.clear();
            }
            job.push_str(line);
            job.push('\n');
        }
    }
}
