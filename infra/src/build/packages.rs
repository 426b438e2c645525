//! Cargo's metadata of a workspace: its packages, what they depend on, and their programs. Must not know what is deployed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, TargetKind};

use crate::error::{Doing as _, Error, Result};

/// The workspace that a folder is in, without the packages of others; Cargo is asked once for each folder.
pub(super) fn workspace(folder: &Path) -> Result<Metadata> {
    static KNOWN: Mutex<BTreeMap<PathBuf, Metadata>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metadata) = known.get(folder) {
        return Ok(metadata.clone());
    }
    let metadata = ask(folder, MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]))?;
    known.insert(folder.to_owned(), metadata.clone());
    Ok(metadata)
}

/// The workspace that a folder is in, with every package that it may be built from for a Rust target. Cargo may have to
/// fetch packages that only tests use.
pub(super) fn resolved(folder: &Path, target: &str) -> Result<Metadata> {
    let options = ["--locked", "--filter-platform", target].map(str::to_owned);
    ask(folder, MetadataCommand::new().other_options(options))
}

fn ask(folder: &Path, command: &mut MetadataCommand) -> Result<Metadata> {
    match command.cargo_path("cargo").current_dir(folder).exec() {
        Err(cargo_metadata::Error::CargoMetadata { stderr }) => {
            Err(Error::failed(format!("cargo cannot read the project in {}", folder.display())).because(stderr.trim()))
        }
        Err(cargo_metadata::Error::Io(error)) => Err(Error::failed("cannot run cargo metadata")
            .because(format!("cannot start cargo: {error}"))
            .hint("install Rust from rustup.rs")),
        other => other.doing(|| "parse the output of cargo metadata".to_owned()),
    }
}

/// The workspace around the current folder, if it is in a Cargo project.
pub fn project_here() -> Result<Option<Metadata>> {
    let here = current_folder()?;
    if is_in_project(&here) { workspace(&here).map(Some) } else { Ok(None) }
}

/// Whether a folder is in a Cargo project.
pub(super) fn is_in_project(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join("Cargo.toml").is_file())
}

/// The package in the current folder itself.
pub fn package_here(workspace: &Metadata) -> Option<String> {
    let manifest = current_folder().ok()?.join("Cargo.toml").canonicalize().ok()?;
    let is_here =
        |package: &&Package| package.manifest_path.as_std_path().canonicalize().is_ok_and(|it| it == manifest);
    workspace.packages.iter().find(is_here).map(|package| package.name.to_string())
}

/// The names of the packages that have a program.
pub fn packages_with_programs(workspace: &Metadata) -> Vec<String> {
    let has_program = |package: &&Package| programs(package).next().is_some();
    workspace.packages.iter().filter(has_program).map(|package| package.name.to_string()).collect()
}

pub(super) fn current_folder() -> Result<PathBuf> {
    std::env::current_dir().doing(|| "find the current folder".to_owned())
}

/// The package of this name.
pub(super) fn package<'a>(workspace: &'a Metadata, name: &str) -> Option<&'a Package> {
    workspace.packages.iter().find(|package| package.name == name)
}

/// The folders of a package and of the workspace's packages that it is built from; `None` if one of them is outside the
/// workspace, or has a build script: then only Cargo knows what has changed.
pub(super) fn folders<'a>(workspace: &'a Metadata, package: &'a Package) -> Option<Vec<&'a Path>> {
    let mut found = vec![package];
    let mut next = 0;
    while let Some(package) = found.get(next).copied() {
        next += 1;
        if package.targets.iter().any(|target| target.is_kind(TargetKind::CustomBuild)) {
            return None;
        }
        let built_from = package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
        for path in built_from.filter_map(|dependency| dependency.path.as_deref()) {
            let other = workspace.packages.iter().find(|package| package.manifest_path.parent() == Some(path))?;
            if !found.iter().any(|known| known.id == other.id) {
                found.push(other);
            }
        }
    }
    found
        .into_iter()
        .map(|package| package.manifest_path.parent().map(cargo_metadata::camino::Utf8Path::as_std_path))
        .collect()
}

/// The names of a package's programs.
pub(super) fn programs(package: &Package) -> impl Iterator<Item = &str> {
    package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Metadata {
        let package = |name: &str, kinds: &[&str], dependencies: serde_json::Value| {
            let target = |kind: &&str| json!({"name": name, "kind": [kind], "src_path": "/w/main.rs"});
            let targets: Vec<_> = kinds.iter().map(target).collect();
            json!({
                "name": name, "version": "0.1.0", "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
                "targets": targets, "dependencies": dependencies, "features": {},
            })
        };
        let on = |path: Option<&str>, kind: Option<&str>| {
            json!({
                "name": "x", "path": path, "kind": kind, "req": "*", "optional": false, "uses_default_features": true,
                "features": [],
            })
        };
        serde_json::from_value(json!({
            "workspace_root": "/w", "target_directory": "/w/target", "version": 1, "workspace_members": [],
            "packages": [
                package("app", &["bin", "lib"], json!([on(Some("/w/common"), None), on(Some("/w/tests"), Some("dev"))])),
                package("common", &["lib"], json!([on(None, None)])),
                package("generated", &["bin", "custom-build"], json!([])),
                package("outside", &["bin"], json!([on(Some("/elsewhere"), None)])),
                package("tests", &["lib"], json!([])),
            ],
        }))
        .unwrap()
    }

    fn folders_of(name: &str) -> Option<Vec<PathBuf>> {
        let metadata = metadata();
        let folders = folders(&metadata, package(&metadata, name).unwrap())?;
        Some(folders.into_iter().map(Path::to_owned).collect())
    }

    #[test]
    fn a_package_is_built_from_its_own_folder_and_those_it_depends_on() {
        assert_eq!(folders_of("app").unwrap(), [Path::new("/w/app"), Path::new("/w/common")]);
    }

    #[test]
    fn what_only_cargo_can_know_is_not_guessed() {
        assert_eq!(folders_of("generated"), None);
        assert_eq!(folders_of("outside"), None);
    }

    #[test]
    fn programs_are_told_from_libraries() {
        let metadata = metadata();
        assert_eq!(programs(package(&metadata, "app").unwrap()).collect::<Vec<_>>(), ["app"]);
        assert_eq!(programs(package(&metadata, "common").unwrap()).count(), 0);
    }

    #[test]
    fn a_folder_without_a_project_is_named_with_cargos_own_reason() {
        let folder = tempfile::tempdir().unwrap();
        let error = workspace(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error:?}");
        assert!(error.causes()[0].contains("could not find `Cargo.toml`"), "{error:?}");
    }
}
