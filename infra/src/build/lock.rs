//! Reads `Cargo.lock`: which packages a package is made of, and their checksums. Must not know what for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A lock file.
#[derive(Debug, Deserialize)]
pub(super) struct Lock {
    #[serde(rename = "package", default)]
    packages: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Everything that a package of the workspace may be built from, one line each, in order: name, version, source and
    /// checksum. It holds more than one build uses (other systems' dependencies, tests'), never less.
    pub fn closure(&self, name: &str) -> BTreeSet<String> {
        let mut by_name: BTreeMap<&str, Vec<&Locked>> = BTreeMap::new();
        for package in &self.packages {
            by_name.entry(&package.name).or_default().push(package);
        }
        let own = self.packages.iter().filter(|package| package.name == name && package.source.is_none());
        let mut left: Vec<&Locked> = own.collect();
        let mut lines = BTreeSet::new();
        while let Some(package) = left.pop() {
            let Locked { name, version, source, checksum, .. } = package;
            let (source, checksum) = (source.as_deref().unwrap_or_default(), checksum.as_deref().unwrap_or_default());
            if lines.insert(format!("{name} {version} {source} {checksum}")) {
                for dependency in &package.dependencies {
                    // "name", or, if that is ambiguous, "name version" or "name version (source)".
                    let mut words = dependency.split(' ');
                    let candidates = words.next().and_then(|name| by_name.get(name)).into_iter().flatten();
                    let version = words.next();
                    left.extend(candidates.filter(|it| version.is_none_or(|version| it.version == version)));
                }
            }
        }
        lines
    }

    /// The SHA-256 of a package as the registry has it.
    pub fn checksum(&self, name: &str, version: &str) -> Option<&str> {
        let found = self.packages.iter().find(|package| package.name == name && package.version == version);
        found.and_then(|package| package.checksum.as_deref())
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
        source = "registry"
        checksum = "old"
        [[package]]
        name = "http"
        version = "1.0.0"
        source = "registry"
        checksum = "new"
        dependencies = ["app"]
        [[package]]
        name = "unrelated"
        version = "9.0.0"
    "#;

    #[test]
    fn a_package_is_made_of_what_it_names_in_that_version_and_nothing_else() {
        let lines: Vec<_> = Lock::parse(LOCK).unwrap().closure("app").into_iter().collect();
        assert_eq!(lines, ["app 0.1.0  ", "common 0.1.0  ", "http 1.0.0 registry new"]);
    }

    #[test]
    fn a_checksum_is_that_of_the_version() {
        let lock = Lock::parse(LOCK).unwrap();
        assert_eq!(lock.checksum("http", "0.2.0"), Some("old"));
        assert_eq!(lock.checksum("app", "0.1.0"), None);
    }
}
