//! What a file was built from, remembered beside it: so that a second deployment does not wait for Cargo to find out that
//! there is nothing to build. Knows sources and digests, not what is built.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};

/// Files that change what Cargo makes of sources, wherever in the workspace they are.
const CONFIGURATION: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain"];

/// Something built, and where it is remembered from what.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    mark: PathBuf,
}

impl Built {
    /// The file at `path`.
    pub fn at(path: PathBuf) -> Self {
        let mut mark = path.clone().into_os_string();
        mark.push(".built-from");
        Self { path, mark: mark.into() }
    }

    /// The file's bytes, where it is still the one that was remembered, and that of these sources.
    pub fn of(&self, sources: &str) -> Option<Vec<u8>> {
        let known = std::fs::read_to_string(&self.mark).ok()?;
        let bytes = std::fs::read(&self.path).ok()?;
        (known == mark(sources, &bytes)).then_some(bytes)
    }

    /// Remembers that the file was built from these sources, and returns its bytes.
    pub fn remember(&self, sources: &str) -> Result<Vec<u8>> {
        let bytes = std::fs::read(&self.path).doing(|| format!("read {}", self.path.display()))?;
        std::fs::write(&self.mark, mark(sources, &bytes)).doing(|| format!("write {}", self.mark.display()))?;
        Ok(bytes)
    }
}

/// Both: somebody may build the same file from the same sources in another way.
fn mark(sources: &str, bytes: &[u8]) -> String {
    format!("{sources}\n{}\n", hex(&Sha256::digest(bytes)))
}

/// A digest of everything that `files` are, together with `how` they are built and the workspace's configuration.
pub fn digest(root: &Path, how: &[&str], mut files: Vec<PathBuf>) -> Result<String> {
    let manifests: Vec<PathBuf> = files.iter().filter_map(|file| manifest(root, file)).collect();
    files.extend(manifests);
    files.extend(CONFIGURATION.iter().map(|name| root.join(name)).filter(|path| path.is_file()));
    files.sort();
    files.dedup();
    let mut hash = Sha256::new();
    for part in how {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    for file in &files {
        let bytes = std::fs::read(file).doing(|| format!("read {}", file.display()))?;
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    Ok(hex(&hash.finalize()))
}

/// The manifest of the package in this workspace that a file belongs to.
fn manifest(root: &Path, file: &Path) -> Option<PathBuf> {
    let folders = file.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    folders.map(|folder| folder.join("Cargo.toml")).find(|path| path.is_file())
}

/// The sources that Cargo says a file was built from (`<file>.d`, in Make's words); `None` where it was never built.
pub fn sources_of(file: &Path) -> Option<Vec<PathBuf>> {
    let mut path = file.to_path_buf().into_os_string();
    path.push(".d");
    let text = std::fs::read_to_string(path).ok()?;
    let (_, sources) = text.lines().next()?.split_once(": ")?;
    let sources: Vec<PathBuf> = words(sources).into_iter().map(PathBuf::from).collect();
    (!sources.is_empty() && sources.iter().all(|source| source.is_file())).then_some(sources)
}

/// Words of a Makefile's line: a space that belongs to a name stands behind a backslash.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for character in line.chars() {
        match character {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ' ' if !escaped => words.push(String::new()),
            other => {
                if let Some(word) = words.last_mut() {
                    word.push(other);
                }
            }
        }
        escaped = false;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_space_in_it() {
        assert_eq!(words("/a/b\\ c.rs /d.rs"), ["/a/b c.rs", "/d.rs"]);
    }

    #[test]
    fn what_was_built_is_known_until_it_or_its_sources_change() {
        let folder = tempfile::tempdir().unwrap();
        let built = Built::at(folder.path().join("app"));
        assert!(built.of("sources").is_none(), "it was never built");
        std::fs::write(&built.path, "binary").unwrap();
        built.remember("sources").unwrap();
        assert_eq!(built.of("sources").as_deref(), Some(&b"binary"[..]));
        assert!(built.of("other sources").is_none());
        std::fs::write(&built.path, "built in another way").unwrap();
        assert!(built.of("sources").is_none());
    }

    #[test]
    fn the_manifest_of_a_package_is_part_of_its_sources() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("app/src")).unwrap();
        std::fs::write(root.join("app/Cargo.toml"), "one").unwrap();
        std::fs::write(root.join("app/src/main.rs"), "fn main() {}").unwrap();
        let digest = || digest(root, &["release"], vec![root.join("app/src/main.rs")]).unwrap();
        let before = digest();
        assert_eq!(before, digest());
        std::fs::write(root.join("app/Cargo.toml"), "two").unwrap();
        assert_ne!(before, digest());
    }
}
