//! The greeting as a page for people. Must not know where the name came from; it escapes whatever it is given.

use crate::{Name, Version};

/// The whole page. It loads nothing: the style is inline, the icon a dot in the version's colour.
pub fn render(version: &Version, name: &Name) -> String {
    let Version { language, background, style, .. } = version;
    let greeting = escape(&version.greeting(name));
    let icon_colour = background.replace('#', "%23");
    format!(
        r#"<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="theme-color" content="{background}">
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 2 2'%3E%3Ccircle cx='1' cy='1' r='1' fill='{icon_colour}'/%3E%3C/svg%3E">
<title>{greeting}</title>
<style>{style}</style>
</head>
<body>
<h1>{greeting}</h1>
</body>
</html>
"#
    )
}

/// Escapes text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
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
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_is_escaped() {
        assert_eq!(escape(r#"<b a="1" c='2'>&amp;"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    }
}
