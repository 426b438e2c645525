//! What a file was built from, remembered beside it: so that a second deployment does not wait for Cargo to find out that
//! there is nothing to build. Knows sources and digests, not what is built.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};

/// A build result, and the file that records its sources.
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

    /// The bytes of the file, if it is still the recorded one, built from these sources.
    pub fn of(&self, sources: &str) -> Option<Vec<u8>> {
        let known = std::fs::read_to_string(&self.mark).ok()?;
        let bytes = std::fs::read(&self.path).ok()?;
        (known == mark(sources, &bytes)).then_some(bytes)
    }

    /// Remembers that the file was built from these sources, and returns its bytes.
    pub fn remember(&self, sources: &str) -> Result<Vec<u8>> {
        let bytes = self.read()?;
        std::fs::write(&self.mark, mark(sources, &bytes)).doing(|| format!("write {}", self.mark.display()))?;
        Ok(bytes)
    }

    /// The file's bytes, whatever they were built from.
    pub fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.path).doing(|| format!("read {}", self.path.display()))
    }
}

/// Both: the same file can be built from the same sources in another way.
fn mark(sources: &str, bytes: &[u8]) -> String {
    format!("{sources}\n{}\n", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
