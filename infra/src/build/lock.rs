//! What `Cargo.lock` says: which packages a package is made of, and their checksums. Must not know what for.

use std::collections::BTreeSet;
use std::path::Path;

use cargo_lock::{Checksum, Lockfile, Package};

use crate::error::{Doing as _, Result};

/// The lock file of a workspace.
#[derive(Debug)]
pub(super) struct Lock(Lockfile);

impl Lock {
    /// Reads the lock file in the root folder of a workspace.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("Cargo.lock");
        let text = std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        Self::parse(&text).doing(|| format!("read {}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self, cargo_lock::Error> {
        text.parse().map(Self)
    }

    /// Everything that a package of the workspace may be built from, one line each, in order: name, version, source and
    /// checksum. It holds more than one build uses (other systems' dependencies, tests'), never less.
    pub fn closure(&self, name: &str) -> BTreeSet<String> {
        let Self(lock) = self;
        let is_own = |package: &&Package| package.name.as_str() == name && package.source.is_none();
        let mut left: Vec<&Package> = lock.packages.iter().filter(is_own).collect();
        let mut lines = BTreeSet::new();
        while let Some(package) = left.pop() {
            let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
            let checksum = package.checksum.as_ref().map(ToString::to_string).unwrap_or_default();
            if lines.insert(format!("{} {} {source} {checksum}", package.name, package.version)) {
                let dependencies = package.dependencies.iter();
                left.extend(dependencies.flat_map(|one| lock.packages.iter().filter(|package| one.matches(package))));
            }
        }
        lines
    }

    /// The SHA-256 of a package as the registry has it.
    pub fn checksum(&self, name: &str, version: &cargo_metadata::semver::Version) -> Option<&Checksum> {
        let mut packages = self.0.packages.iter();
        packages.find(|it| it.name.as_str() == name && it.version == *version)?.checksum.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "app"
        version = "0.1.0"
        dependencies = ["http 1.0.0", "common"]
        [[package]]
        name = "common"
        version = "0.1.0"
        [[package]]
        name = "http"
        version = "0.2.0"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        checksum = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        [[package]]
        name = "http"
        version = "1.0.0"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        checksum = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfefff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
        dependencies = ["app"]
        [[package]]
        name = "unrelated"
        version = "9.0.0"
    "#;

    #[test]
    fn a_package_is_made_of_what_it_names_in_that_version_and_nothing_else() {
        let lines: Vec<_> = Lock::parse(LOCK).unwrap().closure("app").into_iter().collect();
        let http = "http 1.0.0 registry+https://github.com/rust-lang/crates.io-index \
                    f0f1f2f3f4f5f6f7f8f9fafbfcfdfefff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        assert_eq!(lines, ["app 0.1.0  ", "common 0.1.0  ", http]);
    }

    #[test]
    fn a_checksum_is_that_of_the_version() {
        let lock = Lock::parse(LOCK).unwrap();
        let checksum = |name, version: &str| lock.checksum(name, &version.parse().unwrap()).map(ToString::to_string);
        let old = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        assert_eq!(checksum("http", "0.2.0").as_deref(), Some(old));
        assert_eq!(checksum("app", "0.1.0"), None);
    }

    #[test]
    fn a_lock_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Cargo.lock"), "[[package]]\nname = 1\n").unwrap();
        let error = Lock::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("Cargo.lock"), "{error:?}");
    }
}
