//! Builds what is deployed: the sample app's static binaries and the cutover function's zip, both with Cargo.

mod provenance;

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

use provenance::{Built, hex};

/// The package and the binary of the cutover function.
const FUNCTION: (&str, &str) = ("cutover-lambda", "cutover");

/// The oldest glibc that Lambda's `provided.al2023` has.
const FUNCTION_GLIBC: &str = "2.34";

/// Lines of a failed build that are shown.
const LINES_SHOWN: usize = 30;

const INSTALL_RUST: &str = "install Rust from rustup.rs";

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
        let built = Built::at(self.target_folder().join(target).join("release").join(&binary));
        let toolchain = self.toolchain().await?;
        let how = || [&[toolchain.as_str()], &arguments[..]].concat();
        let known = provenance::sources_of(&built.path).map(|files| provenance::digest(&self.root, &how(), files));
        if let Some(bytes) = known.transpose()?.and_then(|sources| built.of(&sources)) {
            return Ok(bytes);
        }
        self.run(&arguments, &binary).await?;
        // What it was built from is known only now: Cargo says so.
        match provenance::sources_of(&built.path) {
            Some(files) => built.remember(&provenance::digest(&self.root, &how(), files)?),
            None => tokio::fs::read(&built.path).await.doing(|| format!("read {}", built.path.display())),
        }
    }

    /// The compiler in words: another one is another way to build.
    async fn toolchain(&self) -> Result<String> {
        let mut rustc = Command::new("rustc");
        let output = rustc.arg("-vV").current_dir(&self.root).stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| {
            Error::failed("cannot build anything").because(format!("rustc does not start: {error}")).hint(INSTALL_RUST)
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Builds the cutover function and packs it.
    ///
    /// cargo-lambda looks for its compilers for three seconds even where there is nothing to build, so what it was built
    /// from is remembered.
    pub async fn function(&self, architecture: Architecture) -> Result<FunctionZip> {
        let (package, binary) = FUNCTION;
        let folder = self.target_folder().join("lambda").join(binary);
        let built = Built::at(folder.join("bootstrap"));
        let mut files = Vec::new();
        collect_files(&self.root.join(package).join("src"), &mut files)?;
        let target = format!("{}.{FUNCTION_GLIBC}", architecture.rust_target());
        let toolchain = self.toolchain().await?;
        let sources = provenance::digest(&self.root, &[&toolchain, &target], files)?;
        let bootstrap = if let Some(bytes) = built.of(&sources) {
            bytes
        } else {
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
            self.run(&arguments, "the cutover function").await?;
            built.remember(&sources)?
        };
        let zip = Built::at(folder.join("bootstrap.zip"));
        tokio::task::spawn_blocking(move || pack_once(&bootstrap, &zip))
            .await
            .doing(|| "pack the cutover function".to_owned())?
    }

    fn target_folder(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }

    /// Cargo, in this workspace and with the project's own tools.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).env("PATH", path_with_tools(&self.root));
        command
    }

    async fn run(&self, arguments: &[&str], what: &str) -> Result<()> {
        let program = "cargo";
        let output = self
            .cargo()
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
                    .because(format!("{program} does not start: {error}"))
                    .hint(INSTALL_RUST)
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

/// The search path with the project's own tools first.
fn path_with_tools(root: &Path) -> std::ffi::OsString {
    let own = root.join(".venv/bin");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).unwrap_or_else(|_| AsRef::<OsStr>::as_ref(&inherited).to_owned())
}

/// Packs the binary, unless the zip beside it is that of this binary already: compressing takes longer than all else.
fn pack_once(bootstrap: &[u8], zip: &Built) -> Result<FunctionZip> {
    let binary = hex(&Sha256::digest(bootstrap));
    if let Some(bytes) = zip.of(&binary) {
        let hash = hex(&Sha256::digest(&bytes));
        return Ok(FunctionZip { bytes, hash });
    }
    let packed = pack(bootstrap)?;
    std::fs::write(&zip.path, &packed.bytes).doing(|| format!("write {}", zip.path.display()))?;
    zip.remember(&binary)?;
    Ok(packed)
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
    fn a_function_is_packed_once() {
        let folder = tempfile::tempdir().unwrap();
        let zip = Built::at(folder.path().join("bootstrap.zip"));
        let first = pack_once(b"binary", &zip).unwrap();
        let written = std::fs::metadata(&zip.path).unwrap().modified().unwrap();
        let second = pack_once(b"binary", &zip).unwrap();
        assert_eq!((first.bytes, first.hash), (second.bytes, second.hash));
        assert_eq!(std::fs::metadata(&zip.path).unwrap().modified().unwrap(), written);
        assert_eq!(pack_once(b"other", &zip).unwrap().hash, pack(b"other").unwrap().hash);
    }

    #[test]
    fn a_version_without_a_binary_is_named_with_those_that_exist() {
        let error = Workspace::find("greeter").unwrap().check_version("9").unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert_eq!(error.causes(), ["there are: 1, 2"]);
    }
}
