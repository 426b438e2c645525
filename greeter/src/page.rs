//! The greeting as an HTML page. Must not know the source of the name; it escapes every name.

use std::borrow::Cow;

use crate::Version;

/// Characters with a special meaning in an element or a quoted attribute.
const MARKUP: [char; 5] = ['&', '<', '>', '"', '\''];

/// The page of a version, written once except for the greeting. It loads nothing: the style is inline, and the icon is
/// a dot in the color of the version.
#[derive(Debug, Clone)]
pub struct Page {
    /// Up to the greeting in the title.
    head: String,
    /// Between the two greetings.
    middle: String,
    /// From the greeting in the body to the end.
    tail: &'static str,
}

impl Page {
    /// Writes the page of a version.
    pub fn of(version: &Version) -> Self {
        let Version { language, background, style, .. } = version;
        let icon_colour = background.replace('#', "%23");
        let head = format!(
            r#"<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="theme-color" content="{background}">
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 2 2'%3E%3Ccircle cx='1' cy='1' r='1' fill='{icon_colour}'/%3E%3C/svg%3E">
<title>"#
        );
        let middle = format!("</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>");
        Self { head, middle, tail: "</h1>\n</body>\n</html>\n" }
    }

    /// The whole page with this greeting.
    pub fn with(&self, greeting: &str) -> String {
        let greeting = &*escape(greeting);
        [&self.head, greeting, &self.middle, greeting, self.tail].concat()
    }
}

/// Escapes text for an element or a quoted attribute.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(MARKUP) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(2 * text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_is_escaped() {
        assert_eq!(escape(r#"<b a="1" c='2'>&amp;"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    }
}
