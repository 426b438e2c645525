//! Cargo's metadata of a workspace: the folders of its packages, and their programs. Must not know what is deployed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::error::{Doing as _, Error, Result};

/// A workspace as `cargo metadata` describes it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_root: PathBuf,
    pub target_directory: PathBuf,
}

/// A package of a workspace.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dependency {
    path: Option<PathBuf>,
    kind: Option<String>,
}

impl Metadata {
    /// Asks Cargo about the workspace that a folder is in; once for each folder.
    pub fn of(folder: &Path) -> Result<Self> {
        static KNOWN: Mutex<BTreeMap<PathBuf, Metadata>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metadata) = known.get(folder) {
            return Ok(metadata.clone());
        }
        let metadata = Self::ask(folder)?;
        known.insert(folder.to_owned(), metadata.clone());
        Ok(metadata)
    }

    fn ask(folder: &Path) -> Result<Self> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(folder)
            .output()
            .map_err(|error| {
                Error::failed("cannot run cargo metadata")
                    .because(format!("cannot start cargo: {error}"))
                    .hint("install Rust from rustup.rs")
            })?;
        if !output.status.success() {
            return Err(Error::failed(format!("cargo cannot read the project in {}", folder.display()))
                .because(String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).doing(|| "parse the output of cargo metadata".to_owned())
    }

    /// The package of this name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The folders of a package and of the workspace's packages that it is built from; `None` if one of them is
    /// outside the workspace, or has a build script: then only Cargo knows what has changed.
    pub fn folders<'a>(&'a self, package: &'a Package) -> Option<Vec<&'a Path>> {
        let mut found = vec![package];
        let mut next = 0;
        while let Some(package) = found.get(next).copied() {
            next += 1;
            if package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "custom-build")) {
                return None;
            }
            let built_from = package.dependencies.iter().filter(|it| it.kind.as_deref() != Some("dev"));
            for path in built_from.filter_map(|dependency| dependency.path.as_deref()) {
                let other = self.packages.iter().find(|package| package.folder() == path)?;
                if !found.iter().any(|known| known.name == other.name) {
                    found.push(other);
                }
            }
        }
        Some(found.into_iter().map(Package::folder).collect())
    }
}

impl Package {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The names of its programs.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let programs = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        programs.map(|target| target.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Metadata {
        let package = |name: &str, kinds: &[&str], dependencies: serde_json::Value| {
            let targets: Vec<_> = kinds.iter().map(|kind| json!({"name": name, "kind": [kind]})).collect();
            let manifest = format!("/w/{name}/Cargo.toml");
            json!({"name": name, "manifest_path": manifest, "targets": targets, "dependencies": dependencies})
        };
        let on = |path: &str, kind: Option<&str>| json!({"name": "x", "path": path, "kind": kind});
        serde_json::from_value(json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [
                package("app", &["bin", "lib"], json!([on("/w/common", None), on("/w/tests", Some("dev"))])),
                package("common", &["lib"], json!([{"name": "serde", "path": null, "kind": null}])),
                package("generated", &["bin", "custom-build"], json!([])),
                package("outside", &["bin"], json!([on("/elsewhere", None)])),
                package("tests", &["lib"], json!([])),
            ],
        }))
        .unwrap()
    }

    fn folders(name: &str) -> Option<Vec<PathBuf>> {
        let metadata = metadata();
        let folders = metadata.folders(metadata.package(name).unwrap())?;
        Some(folders.into_iter().map(Path::to_owned).collect())
    }

    #[test]
    fn a_package_is_built_from_its_own_folder_and_those_it_depends_on() {
        assert_eq!(folders("app").unwrap(), [Path::new("/w/app"), Path::new("/w/common")]);
    }

    #[test]
    fn what_only_cargo_can_know_is_not_guessed() {
        assert_eq!(folders("generated"), None);
        assert_eq!(folders("outside"), None);
    }

    #[test]
    fn programs_are_told_from_libraries() {
        let metadata = metadata();
        assert_eq!(metadata.package("app").unwrap().programs().collect::<Vec<_>>(), ["app"]);
        assert_eq!(metadata.package("common").unwrap().programs().count(), 0);
    }
}
