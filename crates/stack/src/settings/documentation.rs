//! Describes the tables of `bluegreen.toml`. The description of a key is written once, at its declaration.

use serde::Serialize;
use serde_json::Value;

use super::scope::scope;

/// A key of a table: its name, its default as TOML, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its default, as in `bluegreen.toml`; `None` if the key has none.
    pub default: Option<String>,
    /// Its meaning.
    pub meaning: String,
}

/// A table of `bluegreen.toml`.
pub trait Table: Default {
    /// The description of the table.
    const ABOUT: &'static str;

    /// Its keys in the order of their declaration.
    fn keys() -> Vec<Key>;
}

/// Declares a table: the struct, its defaults, and its description.
macro_rules! table {
    (
        #[doc = $about:literal]
        pub struct $name:ident {
            $( $(#[doc = $meaning:literal])+ $key:ident: $type:ty = $default:expr ),+ $(,)?
        }
    ) => {
        #[doc = $about]
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $meaning])+ pub $key: $type ),+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default ),+ }
            }
        }

        impl $crate::settings::documentation::Table for $name {
            const ABOUT: &'static str = $about;

            fn keys() -> Vec<$crate::settings::documentation::Key> {
                let defaults = Self::default();
                vec![
                    $( $crate::settings::documentation::key(
                        stringify!($key),
                        &defaults.$key,
                        &[$($meaning),+],
                    ) ),+
                ]
            }
        }
    };
}
pub(super) use table;

/// A key from its declaration.
pub(super) fn key(name: &'static str, default: &impl Serialize, meaning: &[&str]) -> Key {
    let words: Vec<&str> = meaning.iter().map(|line| line.trim()).collect();
    Key { name, default: toml_of(&serde_json::to_value(default).unwrap_or_default()), meaning: words.join(" ") }
}

/// A value as in `bluegreen.toml`; the JSON of every value here is also valid TOML.
fn toml_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(toml_of).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        value => Some(value.to_string()),
    }
}

/// The scope of a key, as text.
pub(super) fn changes(key: &str) -> String {
    scope(key).map_or_else(|| "–".to_owned(), |scope| scope.to_string())
}

/// The keys of one table as rows of a Markdown table.
pub(super) fn rows(table: &str, keys: &[Key]) -> String {
    let row = |key: &Key| {
        let path = if table.is_empty() { key.name.to_owned() } else { format!("{table}.{}", key.name) };
        let default = key.default.as_ref().map_or_else(|| "–".to_owned(), |default| format!("`{default}`"));
        format!("| `{path}` | {} | {default} | {} |\n", changes(&path), key.meaning)
    };
    keys.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    table! {
        /// A table.
        pub struct Sample {
            /// A number.
            /// Of things.
            number: u8 = 3,
            /// A list.
            list: Vec<String> = vec!["a".to_owned()],
            /// Not there.
            nothing: Option<u8> = None,
        }
    }

    #[test]
    fn a_table_describes_itself() {
        assert_eq!(
            rows("sample", &Sample::keys()),
            "| `sample.number` | – | `3` | A number. Of things. |\n| `sample.list` | – | `[\"a\"]` | A list. |\n\
             | `sample.nothing` | – | – | Not there. |\n"
        );
    }
}
