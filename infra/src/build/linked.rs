//! Which packages are linked into a program, and which of them use which: what Cargo reported while it built the program,
//! with its metadata. Must not know what for.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::cargo_platform::Cfg;
use cargo_metadata::{Dependency, DependencyKind, Message, Metadata, Package, PackageId};

use crate::error::{Doing as _, Error, Result};

/// What a program is built for.
#[derive(Clone, Debug)]
pub(super) struct Platform<'a> {
    /// The Rust target.
    pub target: &'a str,
    /// The conditions that hold for it, as `rustc --print cfg` lists them.
    pub conditions: Vec<Cfg>,
}

/// A package that is linked into a program.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub package: &'a Package,
    /// The packages that its code uses. They are linked in too.
    pub uses: Vec<&'a Package>,
}

/// The packages that are linked into a program: those that Cargo compiled for the program's platform. What it compiles for
/// build scripts and macros is for this machine.
///
/// `messages` is what `cargo build --target TARGET --message-format json` printed. It names what was built before, too.
pub(super) fn parts<'a>(metadata: &'a Metadata, platform: &Platform<'_>, messages: &str) -> Result<Vec<Part<'a>>> {
    let graph = metadata.resolve.as_ref().ok_or_else(|| Error::failed("cargo metadata has no dependency graph"))?;
    let compiled = compiled(metadata, platform.target, messages)?;
    let linked: BTreeMap<&PackageId, &Package> = metadata
        .packages
        .iter()
        .filter(|package| compiled.contains_key(&package.id))
        .map(|package| (&package.id, package))
        .collect();
    let part = |(id, features): (&PackageId, &BTreeSet<String>)| {
        let package = linked.get(id).copied()?;
        let node = graph.nodes.iter().find(|node| node.id == *id)?;
        let uses = node.deps.iter().filter_map(|dependency| linked.get(&dependency.pkg).copied());
        Some(Part { package, uses: uses.filter(|other| uses_package(package, features, other, platform)).collect() })
    };
    Ok(compiled.iter().filter_map(part).collect())
}

/// The packages that were compiled for a target, with the features that they were compiled with.
fn compiled(metadata: &Metadata, target: &str, messages: &str) -> Result<BTreeMap<PackageId, BTreeSet<String>>> {
    let folders = [Some(&metadata.target_directory), metadata.build_directory.as_ref()];
    let mut found: BTreeMap<PackageId, BTreeSet<String>> = BTreeMap::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        let Message::CompilerArtifact(artifact) = message.doing(|| "read the messages of cargo build".to_owned())?
        else {
            continue;
        };
        let below = |file: &cargo_metadata::camino::Utf8PathBuf| {
            folders.iter().flatten().any(|folder| file.strip_prefix(folder).is_ok_and(|file| file.starts_with(target)))
        };
        if artifact.filenames.iter().any(below) {
            found.entry(artifact.package_id).or_default().extend(artifact.features);
        }
    }
    Ok(found)
}

/// Whether the code of a package uses another one, if it is built with these features for this platform. The graph of
/// `cargo metadata` cannot tell: it is made for all features and all programs of the workspace at once.
fn uses_package(package: &Package, features: &BTreeSet<String>, other: &Package, platform: &Platform<'_>) -> bool {
    package.dependencies.iter().any(|dependency| {
        dependency.name == *other.name
            && dependency.req.matches(&other.version)
            && dependency.kind == DependencyKind::Normal
            && dependency.target.as_ref().is_none_or(|it| it.matches(platform.target, &platform.conditions))
            && (!dependency.optional || is_enabled(package, features, dependency))
    })
}

/// Whether one of these features turns on an optional dependency: `dep:name`, or `name/feature`
/// (<https://doc.rust-lang.org/cargo/reference/features.html>).
fn is_enabled(package: &Package, features: &BTreeSet<String>, dependency: &Dependency) -> bool {
    let name = dependency.rename.as_deref().unwrap_or(&dependency.name);
    let enables = |value: &String| {
        value.strip_prefix("dep:") == Some(name) || value.split_once('/').is_some_and(|it| it.0 == name)
    };
    features.iter().filter_map(|feature| package.features.get(feature)).flatten().any(enables)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::build::{packages, sources};

    /// A workspace whose packages are linked into `app`, or are not, each for another reason.
    fn workspace(folder: &Path) {
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let package = |name: &str, rest: &str| {
            let head = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
            write(&format!("{name}/Cargo.toml"), &format!("{head}{rest}"));
            write(&format!("{name}/src/lib.rs"), "");
        };
        let on = |name: &str| format!("{name} = {{ path = \"../{name}\" }}\n");
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\nexclude = [\"target\"]\n");
        let app = [
            "[dependencies]\n",
            &on("linked"),
            &on("shared"),
            &on("macros"),
            "[build-dependencies]\n",
            &on("builds"),
            "[dev-dependencies]\n",
            &on("tests"),
            "[target.'cfg(windows)'.dependencies]\n",
            &on("windows"),
        ];
        package("app", &app.concat());
        write("app/src/main.rs", "fn main() {}\n");
        write("app/build.rs", "fn main() {}\n");
        let optional =
            "[dependencies]\nshared = { path = \"../shared\", optional = true }\n[features]\nmore = [\"dep:shared\"]\n";
        package("linked", optional);
        package("macros", &format!("[lib]\nproc-macro = true\n[dependencies]\n{}", on("builds")));
        // It turns on a feature of `linked` that the program is built without.
        package("other", "[dependencies]\nlinked = { path = \"../linked\", features = [\"more\"] }\n");
        for name in ["shared", "builds", "tests", "windows"] {
            package(name, "");
        }
    }

    fn cargo(folder: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("cargo");
        command.current_dir(folder).args(arguments).arg("--offline");
        for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(variable);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn only_what_is_compiled_for_the_platform_of_the_program_is_linked_into_it() {
        let folder = tempfile::tempdir().unwrap();
        workspace(folder.path());
        cargo(folder.path(), &["generate-lockfile"]);
        let compiler = String::from_utf8(sources::compiler(folder.path()).unwrap()).unwrap();
        let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let build = ["build", "--message-format=json", "-p", "app", "--bin", "app", "--target", host];
        let messages = cargo(folder.path(), &build);
        let metadata = packages::resolved(folder.path(), host).unwrap();
        let platform = Platform { target: host, conditions: sources::conditions(folder.path(), host).unwrap() };
        let seen = |messages: &str| {
            let parts = parts(&metadata, &platform, messages).unwrap();
            let names = |part: &Part<'_>| {
                let uses: Vec<String> = part.uses.iter().map(|it| it.name.to_string()).collect();
                (part.package.name.to_string(), uses)
            };
            parts.iter().map(names).collect::<BTreeMap<_, _>>()
        };
        let [app, linked, shared] = ["app", "linked", "shared"].map(str::to_owned);
        // `linked` does not use `shared` here: `other` does not belong to the program.
        let expected: BTreeMap<_, _> =
            [(app, vec![linked.clone(), shared.clone()]), (linked, Vec::new()), (shared, Vec::new())].into();
        assert_eq!(seen(&messages), expected);
        assert_eq!(seen(&cargo(folder.path(), &build)), expected, "a build that found everything built says the same");
    }
}
