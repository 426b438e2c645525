//! Texts in policies: a single text or a list, and patterns with `*`.

use serde_json::Value;

/// The texts of a field with one or several texts.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        other => other.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect(),
    }
}

/// Whether a text matches a pattern in which `*` matches any text.
pub fn like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|skip| text.is_char_boundary(skip) && like(&text[skip..], rest))),
    }
}
