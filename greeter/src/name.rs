//! The name to greet, made safe to repeat: short, printable, never empty. Must not know about HTML or JSON, which
//! escape it themselves.

use actix_web::web::Query;

/// The maximum length of a name in characters; a longer name is cut.
pub const MAX_NAME_CHARS: usize = 64;

const DEFAULT: &str = "World";

/// A name to greet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The first `name` of a query string, even if the rest is invalid: bytes that are not UTF-8 become replacement
    /// characters, and a `%` without digits stays a `%`.
    pub fn from_query(query: &str) -> Self {
        if query.is_empty() {
            return Self(DEFAULT.to_owned());
        }
        let pairs = Query::<Vec<(String, String)>>::from_query(query).map_or_else(|_| Vec::new(), Query::into_inner);
        let name = pairs.into_iter().find_map(|(key, value)| (key == "name").then_some(value));
        Self::new(&name.unwrap_or_default())
    }

    /// Cleans a name: no control characters, no surrounding blanks, at most [`MAX_NAME_CHARS`]; `World` if the result
    /// is empty.
    pub fn new(raw: &str) -> Self {
        let printable: String = raw.chars().filter(|c| !c.is_control() && !is_direction_control(*c)).collect();
        let short: String = printable.trim().chars().take(MAX_NAME_CHARS).collect();
        match short.trim_end() {
            "" => Self(DEFAULT.to_owned()),
            name => Self(name.to_owned()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Invisible characters that reorder the text after them, and would affect text after the name.
fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(query: &str) -> String {
        Name::from_query(query).as_str().to_owned()
    }

    #[test]
    fn without_a_name_the_world_is_greeted() {
        for query in ["", "name", "name=", "name=%20%09", "other=Ada", "=&&&=", "name=%00%0a"] {
            assert_eq!(name(query), "World", "query {query:?}");
        }
    }

    #[test]
    fn the_first_of_several_names_wins() {
        assert_eq!(name("a=b&name=Ada&name=Grace"), "Ada");
        assert_eq!(name("name=&name=Grace"), "World");
    }

    #[test]
    fn percent_and_plus_are_decoded() {
        assert_eq!(name("name=Ada+Lovelace"), "Ada Lovelace");
        assert_eq!(name("name=Zo%C3%AB%2B1"), "Zoë+1");
        assert_eq!(name("n%61me=Ada"), "Ada");
    }

    #[test]
    fn broken_encodings_are_kept_as_well_as_can_be() {
        assert_eq!(name("name=100%"), "100%");
        assert_eq!(name("name=%zz"), "%zz");
        assert_eq!(name("name=a%ffb"), "a\u{FFFD}b");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(Name::new(&"é".repeat(500)).as_str(), "é".repeat(64));
        assert_eq!(Name::new(&format!("{} b", "a".repeat(63))).as_str(), "a".repeat(63));
    }

    #[test]
    fn control_characters_vanish() {
        assert_eq!(Name::new("A\0d\x1b[a\r\n\u{202E}").as_str(), "Ad[a");
    }
}
