//! A hash of everything that a program is built from, so that what was built before can be taken again without asking a
//! compiler. If it cannot see everything, it says so. Must not know what is built.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use cargo_metadata::cargo_platform::Cfg;
use cargo_metadata::{Metadata, Package};
use sha2::{Digest as _, Sha256};

use super::lock::Lock;
use super::packages;
use crate::error::{Doing as _, Error, Result};

/// Variables that change what a compiler makes, and what the names of further ones begin with.
const VARIABLES: [&str; 5] = ["CC", "CFLAGS", "AR", "LD", "RUSTC"];
const FAMILIES: [&str; 7] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUSTC_", "CC_", "CFLAGS_", "AR_"];
/// Of those, where files go.
const PLACES: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_TARGET_TMPDIR"];
/// Folders of a package that its programs are not built from.
const NOT_BUILT: [&str; 4] = ["target", "tests", "benches", "examples"];

/// The hash of what `package` is built from with these arguments; `None` if only Cargo knows.
///
/// `listing` is the file in which the compiler listed what it read (`.d`), if there is one: it may name files
/// outside the package's folders.
pub(super) fn hash(
    metadata: &Metadata,
    package: &Package,
    arguments: &[&str],
    listing: Option<&Path>,
) -> Result<Option<String>> {
    let Some(folders) = packages::folders(metadata, package) else { return Ok(None) };
    let root = metadata.workspace_root.as_std_path();
    let mut files = BTreeSet::from([root.join("Cargo.toml")]);
    files.extend(configurations(root));
    for folder in folders {
        collect(folder, &mut files)?;
    }
    files.extend(listing.map(read_by_compiler).unwrap_or_default());

    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    };
    for argument in arguments {
        add(argument.as_bytes());
    }
    add(&compiler(root)?);
    for (name, value) in variables() {
        add(format!("{name}={value}").as_bytes());
    }
    for line in Lock::read(root)?.closure(&package.name) {
        add(line.as_bytes());
    }
    for file in &files {
        add(file.as_os_str().as_encoded_bytes());
        // A file that the compiler read and that is gone is a change too.
        add(&std::fs::read(file).unwrap_or_default());
    }
    Ok(Some(hex::encode(hash.finalize())))
}

/// Which compiler it is. It stays the same while this command runs, so each project's is asked once.
pub(super) fn compiler(root: &Path) -> Result<Vec<u8>> {
    static KNOWN: Mutex<BTreeMap<PathBuf, Vec<u8>>> = Mutex::new(BTreeMap::new());
    // Held during the call: other callers wait for the same result.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiler) = known.get(root) {
        return Ok(compiler.clone());
    }
    let output = rustc(root).arg("-vV").output();
    let compiler = output.doing(|| "read the version of the compiler".to_owned())?.stdout;
    known.insert(root.to_owned(), compiler.clone());
    Ok(compiler)
}

/// The conditions that hold for a target, as `cfg(...)` in a manifest asks for them.
pub(super) fn conditions(root: &Path, target: &str) -> Result<Vec<Cfg>> {
    let doing = || format!("list the conditions of target {target}");
    let output = rustc(root).args(["--print", "cfg", "--target", target]).output().doing(doing)?;
    if !output.status.success() {
        return Err(
            Error::failed(format!("cannot {}", doing())).because(String::from_utf8_lossy(&output.stderr).trim())
        );
    }
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().doing(doing)).collect()
}

fn rustc(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(root);
    command
}

fn variables() -> BTreeSet<(String, String)> {
    let relevant = |name: &str| {
        let known = VARIABLES.contains(&name) || FAMILIES.iter().any(|start| name.starts_with(start));
        known && !PLACES.contains(&name)
    };
    std::env::vars().filter(|(name, _)| relevant(name)).collect()
}

/// Cargo's configuration files: of the folders above the project, and of the user.
fn configurations(root: &Path) -> impl Iterator<Item = PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let folders = root.ancestors().map(|folder| folder.join(".cargo")).chain(home);
    let files = folders.flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(name)));
    files.filter(|file| file.is_file()).collect::<Vec<_>>().into_iter()
}

/// Adds every file below a package's folder that it may be built from.
fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let listing = || format!("list {}", folder.display());
    for entry in std::fs::read_dir(folder).doing(listing)? {
        let path = entry.doing(listing)?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if !path.is_dir() {
            files.insert(path);
        } else if !name.starts_with('.') && !NOT_BUILT.contains(&name) && !path.join("Cargo.toml").is_file() {
            collect(&path, files)?;
        }
    }
    Ok(())
}

/// The files that a compiler wrote down as read: `target: file file ...`, blanks within a name escaped.
fn read_by_compiler(listing: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(listing).unwrap_or_default();
    let Some((_, files)) = text.lines().next().and_then(|line| line.split_once(": ")) else { return Vec::new() };
    let files = files.replace("\\ ", "\0");
    files.split(' ').filter(|file| !file.is_empty()).map(|file| file.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A workspace of two packages in a separate folder.
    fn project() -> (tempfile::TempDir, Metadata) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"other\"]\n");
        write("Cargo.lock", "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n");
        for name in ["app", "other"] {
            let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
            write(&format!("{name}/Cargo.toml"), &manifest);
            write(&format!("{name}/src/main.rs"), "fn main() {}\n");
        }
        let metadata = packages::workspace(folder.path()).unwrap();
        (folder, metadata)
    }

    fn hash_of(metadata: &Metadata, arguments: &[&str]) -> String {
        let listing = metadata.workspace_root.join("app.d");
        hash(metadata, packages::package(metadata, "app").unwrap(), arguments, Some(listing.as_std_path()))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_change_of_what_it_is_built_from_is_seen_and_no_other() {
        let (folder, metadata) = project();
        let before = hash_of(&metadata, &[]);
        for (path, seen) in [
            ("app/src/main.rs", true),
            ("app/src/page.html", true),
            ("app/Cargo.toml", true),
            ("Cargo.toml", true),
            (".cargo/config.toml", true),
            ("app/tests/it.rs", false),
            ("app/target/debug/app", false),
            ("other/src/main.rs", false),
        ] {
            let path = folder.path().join(path);
            let original = fs::read(&path).ok();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "# changed\n").unwrap();
            assert_eq!(hash_of(&metadata, &[]) != before, seen, "{}", path.display());
            match original {
                Some(original) => fs::write(&path, original).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
        }
        assert_eq!(hash_of(&metadata, &[]), before);
        assert_ne!(hash_of(&metadata, &["--target", "arm64"]), before);
    }

    #[test]
    fn a_file_that_the_compiler_read_elsewhere_counts() {
        let (folder, metadata) = project();
        let outside = folder.path().join("a file.txt");
        fs::write(&outside, "one").unwrap();
        let line = format!("app: app/src/main.rs {}\n", outside.display().to_string().replace(' ', "\\ "));
        fs::write(folder.path().join("app.d"), line).unwrap();
        let before = hash_of(&metadata, &[]);
        fs::write(&outside, "two").unwrap();
        assert_ne!(hash_of(&metadata, &[]), before);
    }
}
