//! Builds what is deployed: the sample app's static binaries and the cutover function's zip, both with Cargo.

use std::ffi::OsStr;
use std::io::{Cursor, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::error::{Doing, Error, Result};
use crate::image::Architecture;

/// The package and the binary of the cutover function.
const FUNCTION: (&str, &str) = ("cutover-lambda", "cutover");

/// The oldest glibc that Lambda's `provided.al2023` has.
const FUNCTION_GLIBC: &str = "2.34";

/// Lines of a failed build that are shown.
const LINES_SHOWN: usize = 30;

/// Longer than a signal that ended a build takes to be seen here as well.
const INTERRUPTION: Duration = Duration::from_secs(1);

/// The Cargo workspace that things are built from.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    /// The package of the service, and what its binaries' names begin with.
    app: String,
    /// The folder of that package.
    folder: PathBuf,
}

/// A zip for Lambda.
#[derive(Clone, Debug)]
pub struct FunctionZip {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes in lower-case hexadecimal: the same function always has the same.
    pub hash: String,
}

impl Workspace {
    /// The workspace that the current folder is in, with the package `app`.
    pub fn find(app: &str) -> Result<Self> {
        let here = std::env::current_dir().doing(|| "tell the current folder".to_owned())?;
        let root = here.ancestors().find(|folder| folder.join(FUNCTION.0).join("Cargo.toml").is_file());
        let Some(root) = root else {
            return Err(Error::usage(format!("{} is not inside the project", here.display()))
                .hint("run the command in the folder that holds Cargo.toml and cutover-lambda/"));
        };
        let folder = [root.join(app), root.join("local").join(app)].into_iter().find(|it| it.join("src/bin").is_dir());
        match folder {
            Some(folder) => Ok(Self { root: root.to_owned(), app: app.to_owned(), folder }),
            None => Err(Error::usage(format!("there is no package {app} with src/bin in {}", root.display()))
                .hint("name the service's package in bluegreen.toml: [app] cargo = \"greeter\"")),
        }
    }

    /// The name of the binary of a version.
    pub fn binary(&self, version: &str) -> String {
        format!("{}-v{version}", self.app)
    }

    /// The versions that there is a binary for, in order.
    pub fn versions(&self) -> Result<Vec<String>> {
        let folder = self.folder.join("src/bin");
        let entries = std::fs::read_dir(&folder).doing(|| format!("list {}", folder.display()))?;
        let prefix = self.binary("");
        let mut versions: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.strip_prefix(&prefix)?.to_owned()))
            .collect();
        versions.sort_by_key(|version| (version.len(), version.clone()));
        Ok(versions)
    }

    /// Refuses a version without a binary, before anything is begun.
    pub fn check_version(&self, version: &str) -> Result<()> {
        let versions = self.versions()?;
        if versions.iter().any(|known| known == version) {
            return Ok(());
        }
        Err(Error::usage(format!("there is no version {version:?} of {}", self.app))
            .because(format!("there are: {}", versions.join(", ")))
            .hint(format!("name one of those, or add a binary {}", self.binary(version))))
    }

    /// Builds a version of the service as a static binary and returns its bytes.
    pub async fn app(&self, version: &str, architecture: Architecture) -> Result<Vec<u8>> {
        let binary = self.binary(version);
        let target = architecture.rust_target();
        // Naming the target keeps the flag away from build scripts and macros.
        let flags = format!("target.{target}.rustflags=[\"-C\",\"target-feature=+crt-static\"]");
        let arguments = [
            "build",
            "--release",
            "--locked",
            "-p",
            &self.app,
            "--bin",
            &binary,
            "--target",
            target,
            "--config",
            &flags,
        ];
        self.run("cargo", &arguments, &binary).await?;
        let path = self.target_folder().join(target).join("release").join(&binary);
        tokio::fs::read(&path).await.doing(|| format!("read {}", path.display()))
    }

    /// Builds the cutover function and packs it.
    ///
    /// What it was built from is remembered beside it: cargo-lambda looks for its compilers for three seconds even
    /// where there is nothing to build.
    pub async fn function(&self, architecture: Architecture) -> Result<FunctionZip> {
        let (package, binary) = FUNCTION;
        let folder = self.target_folder().join("lambda").join(binary);
        let (path, mark) = (folder.join("bootstrap"), folder.join("built-from"));
        let sources = self.function_sources(architecture)?;
        let known = std::fs::read_to_string(&mark).is_ok_and(|known| known == sources) && path.is_file();
        if !known {
            let target = format!("{}.{FUNCTION_GLIBC}", architecture.rust_target());
            let arguments = [
                "lambda",
                "build",
                "--profile",
                "function",
                "--locked",
                "-p",
                package,
                "--bin",
                binary,
                "--target",
                &target,
            ];
            self.run("cargo", &arguments, "the cutover function").await?;
            std::fs::write(&mark, sources).doing(|| format!("write {}", mark.display()))?;
        }
        let bootstrap = tokio::fs::read(&path).await.doing(|| format!("read {}", path.display()))?;
        tokio::task::spawn_blocking(move || pack(&bootstrap)).await.doing(|| "pack the cutover function".to_owned())?
    }

    /// A hash of everything that the function is built from.
    fn function_sources(&self, architecture: Architecture) -> Result<String> {
        let mut files = vec![self.root.join("Cargo.toml"), self.root.join("Cargo.lock")];
        let package = self.root.join(FUNCTION.0);
        files.push(package.join("Cargo.toml"));
        collect_files(&package.join("src"), &mut files)?;
        files.sort();
        let mut hash = Sha256::new();
        hash.update(architecture.rust_target());
        for file in &files {
            let bytes = std::fs::read(file).doing(|| format!("read {}", file.display()))?;
            hash.update(file.as_os_str().as_encoded_bytes());
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        }
        Ok(hex(&hash.finalize()))
    }

    fn target_folder(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }

    async fn run(&self, program: &str, arguments: &[&str], what: &str) -> Result<()> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .env("PATH", path_with_tools(&self.root))
            // What a caller set for its own builds must not change what is deployed.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| {
                Error::failed(format!("cannot build {what}"))
                    .because(format!("{program} does not start: {error}"))
                    .hint("install Rust from rustup.rs")
            })?;
        if output.status.success() {
            return Ok(());
        }
        if output.status.signal().is_some() {
            // Ctrl-C on a terminal reaches this command too, which then says what it means; it only needs its turn.
            tokio::time::sleep(INTERRUPTION).await;
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = Error::failed(format!("cannot build {what}")).because(format!(
            "{program} {} ended with {}",
            arguments.join(" "),
            output.status
        ));
        if text.contains("no such command: `lambda`") {
            return Err(error.hint("cargo-lambda is missing: make setup installs it into .venv"));
        }
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        Err(error.because(lines[shown..].join("\n")))
    }
}

/// Adds every file below `folder`.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let listing = || format!("list {}", folder.display());
    for entry in std::fs::read_dir(folder).doing(listing)? {
        let path = entry.doing(listing)?.path();
        if path.is_dir() {
            collect_files(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The search path with the project's own tools first.
fn path_with_tools(root: &Path) -> std::ffi::OsString {
    let own = root.join(".venv/bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).unwrap_or_else(|_| AsRef::<OsStr>::as_ref(&inherited).to_owned())
}

/// Packs the binary as Lambda wants it. No clock and no name of a builder goes in, so the same binary gives the same
/// bytes.
fn pack(bootstrap: &[u8]) -> Result<FunctionZip> {
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o755);
    let doing = || "pack the cutover function".to_owned();
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("bootstrap", options).doing(doing)?;
    archive.write_all(bootstrap).doing(doing)?;
    let bytes = archive.finish().doing(doing)?.into_inner();
    let hash = hex(&Sha256::digest(&bytes));
    Ok(FunctionZip { bytes, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_function_is_the_same_zip() {
        let first = pack(b"binary").unwrap();
        let second = pack(b"binary").unwrap();
        assert_eq!(first.bytes, second.bytes);
        assert_eq!(first.hash.len(), 64);
        assert_ne!(first.hash, pack(b"other").unwrap().hash);
    }

    #[test]
    fn what_the_function_is_built_from_is_its_sources_and_its_processor() {
        let workspace = Workspace::find("greeter").unwrap();
        let sources = |architecture| workspace.function_sources(architecture).unwrap();
        assert_eq!(sources(Architecture::Amd64), sources(Architecture::Amd64));
        assert_ne!(sources(Architecture::Amd64), sources(Architecture::Arm64));
    }

    #[test]
    fn a_version_without_a_binary_is_named_with_those_that_exist() {
        let error = Workspace::find("greeter").unwrap().check_version("9").unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert_eq!(error.causes(), ["there are: 1, 2"]);
    }
}
