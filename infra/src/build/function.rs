//! The cutover function's zip and its source: a given file, the one embedded in this command, or a build in the
//! project. A previous build of the same sources is reused.

use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;
use oci_image::Architecture;
use sha2::{Digest as _, Sha256};

use super::provenance::Built;
use super::{cargo, no_package, packages, sources};
use crate::error::{Doing as _, Error, Result};

/// The package and the binary of the cutover function.
const FUNCTION: (&str, &str) = ("cutover-lambda", "cutover");

/// The oldest glibc that Lambda's `provided.al2023` has.
const FUNCTION_GLIBC: &str = "2.34";

/// The variable that names a zip to deploy.
const VARIABLE: &str = "BLUEGREEN_FUNCTION";

/// The zip that was embedded in this command at build time; empty if none was.
static CARRIED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/function.zip"));

/// The folder of the project that this command was built in.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the program in the zip is called: Lambda's own runtimes look for this name.
const PROGRAM: &str = "bootstrap";

/// A zip for Lambda.
#[derive(Clone, Debug)]
pub struct FunctionZip {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes in lower-case hexadecimal: the same function always has the same.
    pub hash: String,
}

/// The source of the cutover function.
#[derive(Clone, Debug)]
pub enum FunctionSource {
    /// A zip that is there.
    Ready {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whose zip it is, for people.
        from: String,
    },
    /// A build in the project.
    Project(Box<Project>),
}

/// The project that has the function's sources.
#[derive(Clone, Debug)]
pub struct Project(Metadata);

impl FunctionSource {
    /// What `BLUEGREEN_FUNCTION` names, or what this command carries; without either the project that the current
    /// folder is in, or else the one that this command was built in.
    pub fn find() -> Result<Self> {
        let here = std::env::current_dir().doing(|| "find the current folder".to_owned())?;
        if let Some(named) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(named);
            let bytes = std::fs::read(&path).doing(|| format!("read {VARIABLE}={}", path.display()))?;
            return Ok(Self::Ready { bytes, from: path.display().to_string() });
        }
        if let Some(bytes) = carried() {
            return Ok(Self::Ready { bytes: bytes.to_vec(), from: "embedded in this command".to_owned() });
        }
        let folders = here.ancestors().chain([Path::new(BUILT_IN)]);
        match folders.into_iter().find(|folder| folder.join(FUNCTION.0).join("Cargo.toml").is_file()) {
            Some(root) => Ok(Self::Project(Box::new(Project(packages::workspace(root)?)))),
            None => Err(nowhere()),
        }
    }

    /// The zip for an architecture: built, or looked at.
    pub async fn zip(&self, architecture: Architecture) -> Result<FunctionZip> {
        match self {
            Self::Ready { bytes, from } => ready(bytes, from, architecture),
            Self::Project(project) => project.build(architecture).await,
        }
    }

    /// The zip for an architecture, if it does not have to be built.
    pub fn kept(&self, architecture: Architecture) -> Result<Option<FunctionZip>> {
        match self {
            Self::Ready { bytes, from } => ready(bytes, from, architecture).map(Some),
            Self::Project(project) => project.kept(architecture),
        }
    }
}

fn carried() -> Option<&'static [u8]> {
    Some(CARRIED).filter(|zip| !zip.is_empty())
}

fn nowhere() -> Error {
    Error::usage("no cutover function to deploy")
        .because(format!("none is embedded in this command, and its source project is no longer at {BUILT_IN}"))
        .hint("install bluegreen with its function: run make install in the bluegreen project")
        .hint(format!("or set {VARIABLE}=/path/function.zip (create it with bluegreen function --out in the project)"))
}

/// A zip that others made, once it was looked into.
fn ready(bytes: &[u8], from: &str, architecture: Architecture) -> Result<FunctionZip> {
    let wrong = |why: String| {
        Error::usage(format!("the cutover function ({from}) cannot be deployed"))
            .because(why)
            .hint("create its zip in the bluegreen project: bluegreen function --out function.zip")
    };
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| wrong(format!("it is not a zip file: {error}")))?;
    let mut program =
        archive.by_name(PROGRAM).map_err(|error| wrong(format!("it does not contain {PROGRAM}: {error}")))?;
    // The processor is named in the first bytes.
    let mut head = Vec::new();
    program.by_ref().take(64).read_to_end(&mut head).map_err(|error| wrong(error.to_string()))?;
    match Architecture::of_program(&head) {
        Some(found) if found == architecture => {
            Ok(FunctionZip { bytes: bytes.to_vec(), hash: hex::encode(Sha256::digest(bytes)) })
        }
        Some(found) => Err(wrong(format!("it is built for {found}, and app.architecture is {architecture}"))),
        None => Err(wrong(format!("its {PROGRAM} is not a Linux program"))),
    }
}

impl Project {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.workspace_root.as_std_path()
    }

    /// Whether the current folder is in it.
    pub fn is_around(&self) -> bool {
        std::env::current_dir().is_ok_and(|here| here.starts_with(self.folder()))
    }

    /// Builds the function and packs it.
    ///
    /// What it was built from is remembered beside it: cargo-lambda looks for its compilers for three seconds even
    /// if there is nothing to build.
    async fn build(&self, architecture: Architecture) -> Result<FunctionZip> {
        let target = target(architecture);
        let (built, zip) = self.built();
        // cargo-lambda copies its program byte by byte over the one that is there, which nobody may read meanwhile.
        let _alone = self.alone().await?;
        let sources = self.sources(&target)?;
        let bootstrap = if let Some(bytes) = sources.as_deref().and_then(|sources| built.of(sources)) {
            bytes
        } else {
            cargo(self.folder(), &arguments(&target), "the cutover function").await?;
            // Where something was edited meanwhile, nobody knows which of both went in.
            let after = self.sources(&target)?;
            match sources {
                Some(sources) if after.as_ref() == Some(&sources) => built.remember(&sources)?,
                _ => built.read()?,
            }
        };
        tokio::task::spawn_blocking(move || pack_once(&bootstrap, &zip))
            .await
            .doing(|| "pack the cutover function".to_owned())?
    }

    /// The previous build, if nothing has changed.
    fn kept(&self, architecture: Architecture) -> Result<Option<FunctionZip>> {
        let (built, zip) = self.built();
        let bootstrap = self.sources(&target(architecture))?.and_then(|sources| built.of(&sources));
        bootstrap.map(|bootstrap| pack_once(&bootstrap, &zip)).transpose()
    }

    /// Waits until no other command builds the function here; no other does until the file is closed.
    async fn alone(&self) -> Result<File> {
        let path = self.0.target_directory.join("lambda.lock").into_std_path_buf();
        let locked = tokio::task::spawn_blocking(move || {
            let locking = || format!("lock {}", path.display());
            std::fs::create_dir_all(path.parent().unwrap_or(&path)).doing(locking)?;
            let file = File::create(&path).doing(locking)?;
            file.lock().doing(locking)?;
            Ok(file)
        });
        locked.await.doing(|| "wait for another build of the cutover function".to_owned())?
    }

    /// The program and its zip.
    fn built(&self) -> (Built, Built) {
        let folder = self.0.target_directory.join("lambda").join(FUNCTION.1).into_std_path_buf();
        (Built::at(folder.join(PROGRAM)), Built::at(folder.join("bootstrap.zip")))
    }

    fn sources(&self, target: &str) -> Result<Option<String>> {
        let Self(metadata) = self;
        let package = packages::package(metadata, FUNCTION.0).ok_or_else(|| no_package(metadata, FUNCTION.0))?;
        sources::hash(metadata, package, &arguments(target), None)
    }
}

fn target(architecture: Architecture) -> String {
    format!("{}.{FUNCTION_GLIBC}", architecture.rust_target())
}

fn arguments(target: &str) -> [&str; 11] {
    let (package, binary) = FUNCTION;
    ["lambda", "build", "--profile", "function", "--locked", "-p", package, "--bin", binary, "--target", target]
}

/// Packs the binary, unless the zip beside it is that of this binary already: compressing takes longer than all else.
fn pack_once(bootstrap: &[u8], zip: &Built) -> Result<FunctionZip> {
    let binary = hex::encode(Sha256::digest(bootstrap));
    if let Some(bytes) = zip.of(&binary) {
        let hash = hex::encode(Sha256::digest(&bytes));
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
    archive.start_file(PROGRAM, options).doing(doing)?;
    archive.write_all(bootstrap).doing(doing)?;
    let bytes = archive.finish().doing(doing)?.into_inner();
    let hash = hex::encode(Sha256::digest(&bytes));
    Ok(FunctionZip { bytes, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest file that passes for a program: the header of a 64-bit ELF file, with type and processor.
    fn program(architecture: Architecture) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = if architecture == Architecture::Amd64 { 62 } else { 183 };
        file
    }

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
    fn a_zip_that_is_there_is_taken_as_it_is() {
        let packed = pack(&program(Architecture::Amd64)).unwrap();
        let taken = ready(&packed.bytes, "function.zip", Architecture::Amd64).unwrap();
        assert_eq!((taken.bytes, taken.hash), (packed.bytes, packed.hash));
    }

    #[test]
    fn what_is_no_function_for_this_processor_is_refused() {
        let arm = pack(&program(Architecture::Arm64)).unwrap().bytes;
        let script = pack(b"#!/bin/sh\n").unwrap().bytes;
        for (bytes, why) in
            [(&b"no zip"[..], "not a zip file"), (&script, "not a Linux program"), (&arm, "it is built for arm64")]
        {
            let error = ready(bytes, "function.zip", Architecture::Amd64).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.causes()[0].contains(why), "{error:?}");
        }
    }
}
