//! The software bill of materials of a program: which packages are in the binary, in CycloneDX 1.6. The same sources give
//! the same bytes. Must not know its destination.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lock::Lock;

/// The media type of a CycloneDX document.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";
/// What [`document`] expects of `cargo tree`: package, licence.
pub(super) const TREE_FORMAT: &str = "\t{p}\t{l}\t";

/// What the document is about.
pub(super) struct Subject<'a> {
    /// The program.
    pub program: &'a str,
    /// Its version label.
    pub version: &'a str,
    /// The Rust target it was built for.
    pub target: &'a str,
    /// What `rustc -vV` says.
    pub compiler: &'a str,
    /// The C library that is linked in, if known.
    pub libc: Option<&'a str>,
}

/// A package in the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Component {
    name: String,
    version: String,
    license: String,
}

impl Component {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// The document. `tree` is what `cargo tree --prefix depth --format TREE_FORMAT` says of the program's package: what is in
/// the binary, for its target and its features, without what only builds it.
pub(super) fn document(subject: &Subject<'_>, tree: &str, lock: &Lock) -> Value {
    let (components, edges) = read(tree);
    let own = components.first().map(Component::purl).unwrap_or_default();
    let mut parts: BTreeMap<String, Value> =
        components.iter().skip(1).map(|component| (component.purl(), described(component, lock))).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = edges;
    for built_in in built_in(subject) {
        let purl = built_in["purl"].as_str().unwrap_or_default().to_owned();
        edges.entry(own.clone()).or_default().insert(purl.clone());
        parts.insert(purl, built_in);
    }
    let dependencies: Vec<_> = edges
        .iter()
        .map(|(from, to)| json!({"ref": if *from == own { subject.program } else { from }, "dependsOn": to}))
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": subject.program,
                "name": subject.program,
                "version": subject.version,
            },
            "properties": [{"name": "cdx:rustc:sbom:target:triple", "value": subject.target}],
        },
        "components": parts.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    })
}

/// What is in every Rust program and in no tree.
fn built_in(subject: &Subject<'_>) -> Vec<Value> {
    let release = subject.compiler.lines().find_map(|line| line.strip_prefix("release: "));
    let library = |name: &str, version: &str, license: &str| {
        let purl = format!("pkg:generic/{name}@{version}");
        json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "licenses": [{"expression": license}],
        })
    };
    let std = release.map(|version| library("rust-std", version, "MIT OR Apache-2.0"));
    let libc = subject.libc.and_then(|libc| libc.split_once(' '));
    let libc = libc.map(|(name, version)| library(name, version, "LGPL-2.1-or-later"));
    std.into_iter().chain(libc).collect()
}

fn described(component: &Component, lock: &Lock) -> Value {
    let Component { name, version, license } = component;
    let purl = component.purl();
    let mut described = json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required"});
    if !license.is_empty() {
        // Older packages separate alternatives with a slash.
        described["licenses"] =
            json!([{"expression": license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")}]);
    }
    if let Some(checksum) = lock.checksum(name, version) {
        described["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    described
}

/// The packages of a tree, the root first, and who depends on whom.
fn read(tree: &str) -> (Vec<Component>, BTreeMap<String, BTreeSet<String>>) {
    let mut components: Vec<Component> = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut columns = line.split('\t');
        let (Some(depth), Some(package), license) = (columns.next(), columns.next(), columns.next()) else { continue };
        let (Ok(depth), Some((name, rest))) = (depth.parse::<usize>(), package.split_once(" v")) else { continue };
        let version = rest.split(' ').next().unwrap_or_default();
        let component = Component {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.unwrap_or_default().to_owned(),
        };
        let purl = component.purl();
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().insert(purl.clone());
        }
        edges.entry(purl.clone()).or_default();
        above.push(purl);
        if !components.contains(&component) {
            components.push(component);
        }
    }
    (components, edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0\tapp v0.1.0 (/home/me/app)\tMIT\t\n\
                        1\thttp v1.5.0\tMIT OR Apache-2.0\t\n\
                        2\tbytes v1.12.2\tMIT\t\n\
                        1\tfnv v1.0.7\tApache-2.0 / MIT\t\n\
                        1\tbytes v1.12.2\tMIT\t (*)\n";

    fn made() -> Value {
        let lock = "version = 4\n[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\nchecksum = \"ab12\"\n";
        let subject = Subject {
            program: "app-v2",
            version: "2",
            target: "x86_64-unknown-linux-gnu",
            compiler: "rustc 1.95.0\nrelease: 1.95.0\n",
            libc: Some("glibc 2.36"),
        };
        document(&subject, TREE, &Lock::parse(lock).unwrap())
    }

    #[test]
    fn it_names_every_package_once_with_its_licence_and_its_checksum() {
        insta::assert_json_snapshot!(made()["components"], @r#"
        [
          {
            "bom-ref": "pkg:cargo/bytes@1.12.2",
            "hashes": [
              {
                "alg": "SHA-256",
                "content": "ab12"
              }
            ],
            "licenses": [
              {
                "expression": "MIT"
              }
            ],
            "name": "bytes",
            "purl": "pkg:cargo/bytes@1.12.2",
            "scope": "required",
            "type": "library",
            "version": "1.12.2"
          },
          {
            "bom-ref": "pkg:cargo/fnv@1.0.7",
            "licenses": [
              {
                "expression": "Apache-2.0 OR MIT"
              }
            ],
            "name": "fnv",
            "purl": "pkg:cargo/fnv@1.0.7",
            "scope": "required",
            "type": "library",
            "version": "1.0.7"
          },
          {
            "bom-ref": "pkg:cargo/http@1.5.0",
            "licenses": [
              {
                "expression": "MIT OR Apache-2.0"
              }
            ],
            "name": "http",
            "purl": "pkg:cargo/http@1.5.0",
            "scope": "required",
            "type": "library",
            "version": "1.5.0"
          },
          {
            "bom-ref": "pkg:generic/glibc@2.36",
            "licenses": [
              {
                "expression": "LGPL-2.1-or-later"
              }
            ],
            "name": "glibc",
            "purl": "pkg:generic/glibc@2.36",
            "type": "library",
            "version": "2.36"
          },
          {
            "bom-ref": "pkg:generic/rust-std@1.95.0",
            "licenses": [
              {
                "expression": "MIT OR Apache-2.0"
              }
            ],
            "name": "rust-std",
            "purl": "pkg:generic/rust-std@1.95.0",
            "type": "library",
            "version": "1.95.0"
          }
        ]
        "#);
    }

    #[test]
    fn it_says_who_depends_on_whom() {
        insta::assert_json_snapshot!(made()["dependencies"], @r#"
        [
          {
            "dependsOn": [
              "pkg:cargo/bytes@1.12.2",
              "pkg:cargo/fnv@1.0.7",
              "pkg:cargo/http@1.5.0",
              "pkg:generic/glibc@2.36",
              "pkg:generic/rust-std@1.95.0"
            ],
            "ref": "app-v2"
          },
          {
            "dependsOn": [],
            "ref": "pkg:cargo/bytes@1.12.2"
          },
          {
            "dependsOn": [],
            "ref": "pkg:cargo/fnv@1.0.7"
          },
          {
            "dependsOn": [
              "pkg:cargo/bytes@1.12.2"
            ],
            "ref": "pkg:cargo/http@1.5.0"
          }
        ]
        "#);
    }

    #[test]
    fn it_says_what_it_is_about_and_neither_when_nor_where_it_was_made() {
        let made = made();
        assert_eq!((&made["bomFormat"], &made["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
        assert_eq!(made["metadata"]["component"]["name"], "app-v2");
        assert!(made["metadata"]["timestamp"].is_null() && made["serialNumber"].is_null());
        assert!(!made.to_string().contains("/home/"), "{made}");
    }
}
