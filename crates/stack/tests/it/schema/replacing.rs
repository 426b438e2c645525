//! The table of create-only properties matches the schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::schema::published::{Published, written_types};

const HEAD: &str = "//! Generated from AWS's resource schemas: see `crates/stack/tests/it/schema`. Do not edit.

use super::Type;

/// Ordered by name.
pub(super) const TYPES: &[Type] = &[
";

fn top_level(schema: &Value, list: &str, nested: bool) -> BTreeSet<String> {
    let paths = schema[list].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names = paths.filter_map(|path| {
        let name = path.strip_prefix("/properties/")?;
        match name.split_once('/') {
            None if !nested => Some(name.to_owned()),
            Some((top, _)) if nested => Some(top.to_owned()),
            _ => None,
        }
    });
    names.collect()
}

fn line(name: &str, schema: &Value) -> String {
    let list = |names: &BTreeSet<String>| {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("&[{}]", quoted.join(", "))
    };
    let always = top_level(schema, "createOnlyProperties", false);
    let mut sometimes = top_level(schema, "createOnlyProperties", true);
    sometimes.extend(top_level(schema, "conditionalCreateOnlyProperties", false));
    sometimes.extend(top_level(schema, "conditionalCreateOnlyProperties", true));
    let sometimes = sometimes.difference(&always).cloned().collect();
    format!("Type {{ name: {name:?}, always: {}, sometimes: {} }}", list(&always), list(&sometimes))
}

fn words(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace() && *character != ',').collect()
}

#[test]
fn the_table_of_replacing_properties_says_what_the_schemas_say() {
    let Some(published) = Published::find() else { return };
    let types: BTreeSet<String> =
        written_types().into_iter().chain(cfn_kit::resources::schema::types().map(str::to_owned)).collect();
    let lines: BTreeMap<String, String> =
        types.iter().map(|name| (name.clone(), line(name, &published.schema(name)))).collect();
    let body: Vec<String> = lines.values().map(|line| format!("    {line},\n")).collect();
    let expected = format!("{HEAD}{}];\n", body.concat());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../cfn-kit/src/resources/schema/replacing.rs");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    // Compared without white space: the formatter breaks long lines.
    let written = words(&std::fs::read_to_string(&path).unwrap());
    for (name, line) in &lines {
        assert!(
            written.contains(&words(line)),
            "{name} in {} is not what AWS's schema says: {line}\n\
             UPDATE_SCHEMA=1 cargo nextest run --workspace -E 'test(schema::)' writes it anew, then cargo fmt",
            path.display()
        );
    }
    assert_eq!(written, words(&expected), "the table has more than it should");
}
