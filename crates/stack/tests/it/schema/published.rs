//! The schemas that cfn-lint contains.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// The schemas by resource type.
pub struct Published {
    folder: PathBuf,
    names: BTreeMap<String, String>,
}

impl Published {
    /// The schemas; `None` only if `BLUEGREEN_NO_PYTHON` says not to use the Python tools.
    pub fn find() -> Option<Self> {
        let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
        let folder = std::fs::read_dir(&venv).ok().and_then(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|entry| entry.path().join("site-packages/cfnlint/data/schemas"))
                .find(|folder| folder.is_dir())
        });
        let Some(folder) = folder else {
            let allowed = std::env::var_os("BLUEGREEN_NO_PYTHON").is_some();
            assert!(allowed, "no resource schemas in {}: run make setup, or set BLUEGREEN_NO_PYTHON=1", venv.display());
            return None;
        };
        let names = std::fs::read(folder.join("providers/us-east-1.json")).unwrap();
        Some(Self { folder, names: serde_json::from_slice(&names).unwrap() })
    }

    /// The schema of a resource type.
    pub fn schema(&self, resource_type: &str) -> Value {
        let name = self.names.get(resource_type).unwrap_or_else(|| panic!("AWS knows no type {resource_type}"));
        let text = std::fs::read(self.folder.join("resources").join(format!("{name}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// Every resource type that is declared in `crates/cfn-kit/src/resources`.
pub fn written_types() -> Vec<String> {
    fn visit(folder: PathBuf, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let types = text.split("const TYPE: &'static str = \"").skip(1);
                found.extend(types.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    visit(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../cfn-kit/src/resources"), &mut found);
    found.sort();
    assert!(found.len() > 20, "this test does not find the resource types: {found:?}");
    found
}
