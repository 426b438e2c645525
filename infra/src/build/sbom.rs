//! The software bill of materials of a program: which packages are in the binary, in CycloneDX 1.5. The same sources give
//! the same bytes. Must not know its destination.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Package;
use cyclonedx_bom::models::component::{Classification, Scope};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::property::{Properties, Property};
use cyclonedx_bom::prelude::{Bom, Component, Components, Metadata, Purl, SpdxExpression, SpecVersion};

use super::linked::Part;
use super::lock::Lock;
use crate::error::{Doing as _, Result};

/// The media type of a CycloneDX document.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// What the document is about.
pub(super) struct Subject<'a> {
    /// The program.
    pub program: &'a str,
    /// The package that it belongs to.
    pub package: &'a Package,
    /// Its version label.
    pub version: &'a str,
    /// The Rust target it was built for.
    pub target: &'a str,
    /// What `rustc -vV` says.
    pub compiler: &'a str,
    /// The C library that is linked in, if known.
    pub libc: Option<&'a str>,
}

/// The document. Neither a clock nor a random number goes in.
pub(super) fn document(subject: &Subject<'_>, parts: &[Part<'_>], lock: &Lock) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bom(subject, parts, lock)?
        .output_as_json_v1_5(&mut bytes)
        .doing(|| format!("write the bill of materials of {}", subject.program))?;
    Ok(bytes)
}

fn bom(subject: &Subject<'_>, parts: &[Part<'_>], lock: &Lock) -> Result<Bom> {
    let mut components = BTreeMap::new();
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut own = BTreeSet::new();
    for component in built_in(subject)? {
        own.extend(component.bom_ref.clone());
        components.insert(component.bom_ref.clone(), component);
    }
    for part in parts {
        let uses = part.uses.iter().map(|package| reference(package)).collect::<Result<BTreeSet<_>>>()?;
        if part.package.id == subject.package.id {
            own.extend(uses);
            continue;
        }
        let component = described(part.package, lock)?;
        dependencies.insert(reference(part.package)?, uses);
        components.insert(component.bom_ref.clone(), component);
    }
    dependencies.insert(subject.program.to_owned(), own);
    let program = subject.program.to_owned();
    let application = Component::new(Classification::Application, subject.program, subject.version, Some(program));
    let property = Property::new("cdx:rustc:sbom:target:triple", subject.target);
    let metadata =
        Metadata { component: Some(application), properties: Some(Properties(vec![property])), ..Metadata::default() };
    let dependency = |(dependency_ref, dependencies): (String, BTreeSet<String>)| Dependency {
        dependency_ref,
        dependencies: dependencies.into_iter().collect(),
    };
    Ok(Bom {
        serial_number: None,
        spec_version: SpecVersion::V1_5,
        metadata: Some(metadata),
        components: Some(Components(components.into_values().collect())),
        dependencies: Some(Dependencies(dependencies.into_iter().map(dependency).collect())),
        ..Bom::default()
    })
}

/// What is in every Rust program, and in no list of Cargo's.
fn built_in(subject: &Subject<'_>) -> Result<Vec<Component>> {
    let release = subject.compiler.lines().find_map(|line| line.strip_prefix("release: "));
    let std = release.map(|version| ("rust-std", version, "MIT OR Apache-2.0"));
    let libc = subject.libc.and_then(|libc| libc.split_once(' '));
    let libc = libc.map(|(name, version)| (name, version, "LGPL-2.1-or-later"));
    let component = |(name, version, license)| {
        let mut component = library("generic", name, version)?;
        component.licenses = Some(licenses(license));
        Ok(component)
    };
    std.into_iter().chain(libc).map(component).collect()
}

fn described(package: &Package, lock: &Lock) -> Result<Component> {
    let mut component = library("cargo", &package.name, &package.version.to_string())?;
    component.scope = Some(Scope::Required);
    component.licenses = package.license.as_deref().map(licenses);
    component.hashes = lock
        .checksum(&package.name, &package.version)
        .map(|checksum| Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(checksum.to_string()) }]));
    Ok(component)
}

fn library(kind: &str, name: &str, version: &str) -> Result<Component> {
    let purl = purl(kind, name, version)?;
    let mut component = Component::new(Classification::Library, name, version, Some(purl.to_string()));
    component.purl = Some(purl);
    Ok(component)
}

/// The name of a package in the document.
fn reference(package: &Package) -> Result<String> {
    Ok(purl("cargo", &package.name, &package.version.to_string())?.to_string())
}

fn purl(kind: &str, name: &str, version: &str) -> Result<Purl> {
    Purl::new(kind, name, version).doing(|| format!("name package {name} {version}"))
}

/// Older packages separate alternatives with a slash. What is not a license expression at all is named as it is.
fn licenses(license: &str) -> Licenses {
    let expression = SpdxExpression::parse_lax(license.replace(" / ", "/"));
    let choice = expression.map_or_else(|_| LicenseChoice::license(license), LicenseChoice::Expression);
    Licenses(vec![choice])
}

#[cfg(test)]
mod tests {
    use cyclonedx_bom::prelude::Validate as _;
    use serde_json::{Value, json};

    use super::*;

    fn package(name: &str, version: &str, license: &str) -> Package {
        serde_json::from_value(json!({
            "name": name, "version": version, "id": format!("{name} {version}"), "license": license,
            "manifest_path": format!("/home/me/{name}/Cargo.toml"), "targets": [], "dependencies": [], "features": {},
        }))
        .unwrap()
    }

    fn made() -> Bom {
        let lock = "version = 4\n[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\n\
                    checksum = \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n";
        let app = package("app", "0.1.0", "MIT");
        let http = package("http", "1.5.0", "MIT OR Apache-2.0");
        let bytes = package("bytes", "1.12.2", "MIT");
        let fnv = package("fnv", "1.0.7", "Apache-2.0 / MIT");
        let toml = package("toml", "1.2.1+spec-1.1.0", "see the file");
        let parts = [
            Part { package: &http, uses: vec![&bytes] },
            Part { package: &app, uses: vec![&http, &fnv, &bytes, &toml] },
            Part { package: &bytes, uses: vec![] },
            Part { package: &toml, uses: vec![] },
            Part { package: &fnv, uses: vec![] },
        ];
        let subject = Subject {
            program: "app-v2",
            package: &app,
            version: "2",
            target: "x86_64-unknown-linux-gnu",
            compiler: "rustc 1.95.0\nrelease: 1.95.0\n",
            libc: Some("glibc 2.36"),
        };
        bom(&subject, &parts, &Lock::parse(lock).unwrap()).unwrap()
    }

    fn json_of(bom: Bom) -> Value {
        let mut bytes = Vec::new();
        bom.output_as_json_v1_5(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn it_names_every_package_once_with_its_licence_and_its_checksum() {
        insta::assert_json_snapshot!(json_of(made())["components"], @r#"
        [
          {
            "bom-ref": "pkg:cargo/bytes@1.12.2",
            "hashes": [
              {
                "alg": "SHA-256",
                "content": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
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
            "bom-ref": "pkg:cargo/toml@1.2.1+spec-1.1.0",
            "licenses": [
              {
                "license": {
                  "name": "see the file"
                }
              }
            ],
            "name": "toml",
            "purl": "pkg:cargo/toml@1.2.1+spec-1.1.0",
            "scope": "required",
            "type": "library",
            "version": "1.2.1+spec-1.1.0"
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
        insta::assert_json_snapshot!(json_of(made())["dependencies"], @r#"
        [
          {
            "dependsOn": [
              "pkg:cargo/bytes@1.12.2",
              "pkg:cargo/fnv@1.0.7",
              "pkg:cargo/http@1.5.0",
              "pkg:cargo/toml@1.2.1+spec-1.1.0",
              "pkg:generic/glibc@2.36",
              "pkg:generic/rust-std@1.95.0"
            ],
            "ref": "app-v2"
          },
          {
            "ref": "pkg:cargo/bytes@1.12.2"
          },
          {
            "ref": "pkg:cargo/fnv@1.0.7"
          },
          {
            "dependsOn": [
              "pkg:cargo/bytes@1.12.2"
            ],
            "ref": "pkg:cargo/http@1.5.0"
          },
          {
            "ref": "pkg:cargo/toml@1.2.1+spec-1.1.0"
          }
        ]
        "#);
    }

    #[test]
    fn it_says_what_it_is_about_and_neither_when_nor_where_it_was_made() {
        let made = json_of(made());
        assert_eq!((&made["bomFormat"], &made["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        assert_eq!(made["metadata"]["component"]["name"], "app-v2");
        assert_eq!(made["metadata"]["properties"][0]["value"], "x86_64-unknown-linux-gnu");
        assert!(made["metadata"]["timestamp"].is_null() && made["serialNumber"].is_null());
        assert!(!made.to_string().contains("/home/"), "{made}");
    }

    #[test]
    fn it_is_what_the_specification_asks_for() {
        let result = made().validate();
        assert!(result.passed(), "{result:?}");
    }
}
