//! Builds what is deployed: the service's static binaries as images, and the cutover function's zip, both with Cargo; or
//! finds them where others put them. What was built before from the same sources is taken again.

mod function;
mod linked;
mod lock;
mod packages;
mod program;
mod provenance;
pub mod sbom;
mod sources;

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cargo_metadata::Metadata;
use oci_image::{Architecture, Image, ImageSource};
use tokio::process::Command;

use crate::error::{Doing, Error, Result};
pub use function::{FunctionSource, FunctionZip};
pub use packages::{package_here, packages_with_programs, project_here};
use program::Program;
use stack::App;
use stack::values::VersionLabel;

/// Lines of a failed build that are shown.
const LINES_SHOWN: usize = 30;

/// Longer than a signal that ended a build takes to be seen here as well.
const INTERRUPTION: Duration = Duration::from_secs(1);

/// The service to deploy and its sources.
#[derive(Clone, Debug)]
pub struct Workspace {
    function: FunctionSource,
    service: Service,
}

/// What the service is made from.
#[derive(Clone, Debug)]
enum Service {
    /// An image that others made. Its name may hold the version: `{version}`.
    Image(String),
    /// A package with a program for each version, `<package>-v<version>`, or with one program whatever the version.
    Cargo { workspace: Box<Metadata>, package: String, programs: Programs },
}

#[derive(Clone, Debug)]
enum Programs {
    OfVersions(Vec<VersionLabel>),
    One(String),
}

impl Workspace {
    /// What the settings name, seen from the current folder.
    pub fn find(app: &App) -> Result<Self> {
        let here = packages::current_folder()?;
        let service = match &app.image {
            Some(image) => Service::Image(image.as_str().to_owned()),
            None if !packages::is_in_project(&here) => return Err(no_service(&here)),
            None => Service::of_package(described(&here)?, app.cargo.as_str())?,
        };
        Ok(Self { function: FunctionSource::find()?, service })
    }

    /// What is deployed as a version: the program's name, or the image's.
    pub fn name(&self, version: &VersionLabel) -> String {
        match &self.service {
            Service::Image(image) => image.replace("{version}", version.as_str()),
            Service::Cargo { programs: Programs::One(program), .. } => program.clone(),
            Service::Cargo { package, .. } => format!("{package}-v{version}"),
        }
    }

    /// The versions that can be built here, in order; the versions of an external image are unknown.
    pub fn versions(&self) -> Vec<VersionLabel> {
        match &self.service {
            Service::Image(_) => Vec::new(),
            Service::Cargo { programs: Programs::One(_), .. } => VersionLabel::try_from("1").into_iter().collect(),
            Service::Cargo { programs: Programs::OfVersions(versions), .. } => versions.clone(),
        }
    }

    /// Refuses a version without a program, before anything is begun.
    pub fn check_version(&self, version: &VersionLabel) -> Result<()> {
        match &self.service {
            Service::Cargo { package, programs: Programs::OfVersions(versions), .. } if !versions.contains(version) => {
                let known: Vec<&str> = versions.iter().map(VersionLabel::as_str).collect();
                Err(Error::usage(format!("package {package} has no version {:?}", version.as_str()))
                    .because(format!("its versions: {}", known.join(", ")))
                    .hint(format!("use one of those, or add a binary {}", self.name(version))))
            }
            _ => Ok(()),
        }
    }

    /// The image of a version: built here, or found where others put it.
    pub async fn image(&self, version: &VersionLabel, architecture: Architecture, port: u16) -> Result<Image> {
        match &self.service {
            Service::Image(_) => {
                let source: ImageSource = self.name(version).parse()?;
                Ok(source.open(architecture).await?)
            }
            Service::Cargo { workspace, package, .. } => {
                let (this, kept) = (self.clone(), version.clone());
                // It reads many files: on a separate thread, so that other tasks can continue.
                let kept = tokio::task::spawn_blocking(move || this.kept_image(&kept, architecture, port)).await;
                if let Some(image) = kept.doing(|| "find previous builds".to_owned())?? {
                    return Ok(image);
                }
                let name = self.name(version);
                let package = packages::package(workspace, package).ok_or_else(|| no_package(workspace, package))?;
                let program = Program { workspace, package, name: &name, version: version.as_str(), architecture };
                program.build(port).await
            }
        }
    }

    /// The image of a version, if the current sources were built before. Builds nothing.
    pub fn kept_image(&self, version: &VersionLabel, architecture: Architecture, port: u16) -> Result<Option<Image>> {
        let Service::Cargo { workspace, package, .. } = &self.service else { return Ok(None) };
        let name = self.name(version);
        let package = packages::package(workspace, package).ok_or_else(|| no_package(workspace, package))?;
        Program { workspace, package, name: &name, version: version.as_str(), architecture }.kept(port)
    }

    /// The source of the cutover function.
    pub fn function_source(&self) -> &FunctionSource {
        &self.function
    }

    /// Cargo with the tools of the project.
    pub fn cargo(&self) -> Command {
        match (&self.function, &self.service) {
            (FunctionSource::Project(project), _) => command(project.folder()),
            (_, Service::Cargo { workspace, .. }) => command(workspace.workspace_root.as_std_path()),
            _ => command(Path::new(".")),
        }
    }

    /// Whether the service is built here.
    pub fn builds_service(&self) -> bool {
        matches!(self.service, Service::Cargo { .. })
    }
}

impl Service {
    fn of_package(workspace: Metadata, name: &str) -> Result<Self> {
        let package = packages::package(&workspace, name).ok_or_else(|| no_package(&workspace, name))?;
        if !workspace.workspace_root.join("Cargo.lock").is_file() {
            return Err(Error::usage(format!("no Cargo.lock in {}", workspace.workspace_root))
                .because("without it, builds of the same sources can differ")
                .hint("create it: cargo generate-lockfile"));
        }
        let all: Vec<&str> = packages::programs(package).collect();
        let prefix = format!("{name}-v");
        let label = |program: &&str| VersionLabel::try_from(program.strip_prefix(&prefix)?).ok();
        let mut versions: Vec<VersionLabel> = all.iter().filter_map(label).collect();
        versions.sort_by_key(|version| (version.as_str().len(), version.clone()));
        let programs = match &all[..] {
            _ if !versions.is_empty() => Programs::OfVersions(versions),
            [only] => Programs::One((*only).to_owned()),
            [] => {
                return Err(Error::usage(format!("package {name} has no program, only a library"))
                    .because(programs_here(&workspace))
                    .hint("set app.cargo in bluegreen.toml to a package with a program"));
            }
            several if several.contains(&name) => Programs::One(name.to_owned()),
            several => {
                return Err(Error::usage(format!("cannot find the program of the service in package {name}"))
                    .because(format!("its programs: {}", several.join(", ")))
                    .hint(format!("rename the program to {name}, or its versions to {prefix}1, {prefix}2 ...")));
            }
        };
        Ok(Self::Cargo { package: name.to_owned(), programs, workspace: Box::new(workspace) })
    }
}

/// Cargo's metadata of the workspace around this folder. The compiler's version is needed next, and if the folder
/// is the workspace's own it is asked at the same time.
fn described(here: &Path) -> Result<Metadata> {
    std::thread::scope(|scope| {
        if here.join("Cargo.lock").is_file() {
            // Without a result, the caller that needs it asks again.
            scope.spawn(|| sources::compiler(here));
        }
        packages::workspace(here)
    })
}

fn no_service(here: &Path) -> Error {
    Error::usage(format!("no service to deploy in {}", here.display()))
        .because("the folder contains no Cargo project, and app.image of bluegreen.toml is not set")
        .hint("run the command in the folder of the service, or run bluegreen init")
}

fn no_package(workspace: &Metadata, name: &str) -> Error {
    Error::usage(format!("no package {name} in {}", workspace.workspace_root))
        .because(programs_here(workspace))
        .hint("set the package or image of the service in bluegreen.toml: [app] cargo = \"greeter\", or image = \"registry/app:{version}\"")
}

fn programs_here(workspace: &Metadata) -> String {
    match &packages_with_programs(workspace)[..] {
        [] => "no package in the workspace has a program".to_owned(),
        packages => format!("packages with a program: {}", packages.join(", ")),
    }
}

fn command(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", path_with_tools(root));
    // Under `cargo run` and `cargo test` these describe another package. Build scripts watch some of them, and would
    // build everything anew because of who called.
    let of_cargo = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    for (name, _) in std::env::vars_os() {
        let removed = |name: &str| of_cargo.iter().any(|prefix| name.starts_with(prefix)) || is_secret(name);
        if removed(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a variable can hold a credential. The build scripts of every dependency run with the environment of Cargo.
fn is_secret(name: &str) -> bool {
    // Of a library in AWS's namespace, for its build script; and of Cargo itself, for a private registry.
    if name.starts_with("AWS_LC_") || name.starts_with("CARGO_REGISTRIES_") || name.starts_with("CARGO_REGISTRY_") {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let groups = ["AWS_", "GITHUB_", "GH_", "ACTIONS_", "GITLAB_", "CI_JOB_", "AZURE_", "GOOGLE_", "DOCKER_AUTH"];
    let words =
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "APIKEY"];
    groups.iter().any(|prefix| upper.starts_with(prefix)) || words.iter().any(|word| upper.contains(word))
}

/// Runs Cargo in a project and returns what it prints; `what` is what it is to build.
async fn cargo(root: &Path, arguments: &[&str], what: &str) -> Result<String> {
    let output = command(root)
        .args(arguments)
        // What a caller set for its own builds must not change what is deployed.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            Error::failed(format!("cannot build {what}"))
                .because(format!("cannot start cargo: {error}"))
                .hint("install Rust from rustup.rs")
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    if output.status.signal().is_some() {
        // Ctrl-C on a terminal reaches this command too, which then says what it means; it only needs its turn.
        tokio::time::sleep(INTERRUPTION).await;
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let error = Error::failed(format!("cannot build {what}")).because(format!(
        "cargo {} ended with {}",
        arguments.join(" "),
        output.status
    ));
    if text.contains("no such command: `lambda`") {
        return Err(error.hint(format!("install cargo-lambda with make setup in {}", root.display())));
    }
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(LINES_SHOWN);
    Err(error.because(lines[shown..].join("\n")))
}

/// The search path with the project's own tools first.
fn path_with_tools(root: &Path) -> std::ffi::OsString {
    let own = root.join(".venv/bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).unwrap_or_else(|_| AsRef::<OsStr>::as_ref(&inherited).to_owned())
}

/// The architecture of an image for tasks and functions on this processor.
pub const fn image_architecture(processor: cfn_kit::resources::lambda::Architecture) -> Architecture {
    match processor {
        cfn_kit::resources::lambda::Architecture::X86_64 => Architecture::Amd64,
        cfn_kit::resources::lambda::Architecture::Arm64 => Architecture::Arm64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_can_hold_a_credential_are_known_by_name() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "GH_TOKEN",
            "GITHUB_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "CI_JOB_JWT",
            "NPM_TOKEN",
            "db_password",
            "SIGNING_PRIVATE_KEY",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "RUSTFLAGS", "CARGO_HOME", "CARGO_REGISTRIES_OWN_TOKEN", "AWS_LC_SYS_CMAKE", "CC"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    fn label(text: &str) -> VersionLabel {
        VersionLabel::try_from(text).unwrap()
    }

    fn workspace(toml: &str) -> Result<Workspace> {
        Workspace::find(&stack::Settings::parse(toml).unwrap().app)
    }

    #[test]
    fn a_version_without_a_binary_is_named_with_those_that_exist() {
        let error = workspace("").unwrap().check_version(&label("9")).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert_eq!(error.causes(), ["its versions: 1, 2"]);
    }

    #[test]
    fn a_package_is_found_wherever_it_is_in_the_workspace() {
        let faulty = workspace("[app]\ncargo = \"faulty\"").unwrap();
        assert_eq!(
            (faulty.versions(), faulty.name(&label("3"))),
            (["1", "2", "3", "4"].map(label).into(), "faulty-v3".to_owned())
        );
        let error = workspace("[app]\ncargo = \"gone\"").unwrap_err();
        assert!(error.causes()[0].contains("greeter"), "{error:?}");
    }

    #[test]
    fn a_package_with_one_program_has_any_version() {
        let one = workspace("[app]\ncargo = \"local\"").unwrap();
        assert_eq!(one.name(&label("2026-11-24")), "local-cloud");
        assert!(one.check_version(&label("2026-11-24")).is_ok());
    }

    #[test]
    fn the_name_of_an_image_holds_the_version() {
        let image = workspace("[app]\nimage = \"registry.example/app:{version}\"").unwrap();
        assert_eq!(image.name(&label("1.4")), "registry.example/app:1.4");
        assert!(image.check_version(&label("1.4")).is_ok());
    }
}
