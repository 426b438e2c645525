//! The texts and styles of the two versions of the app. Must not know how a request arrives.

/// The format of the message of `/api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiFormat {
    /// The bare message, `text/plain`.
    Text,
    /// The message as one JSON string, `application/json`.
    Json,
}

/// One version of the app.
#[derive(Debug)]
pub struct Version {
    /// The value of the `x-app-version` header.
    pub number: &'static str,
    /// The word before the name.
    pub salutation: &'static str,
    /// The language of the page (BCP 47).
    pub language: &'static str,
    /// The background color in CSS.
    pub background: &'static str,
    /// The style sheet of the page.
    pub style: &'static str,
    /// The `content-security-policy`: it allows only the icon of the page, and the style by the base64 SHA-256 of
    /// `style`.
    pub content_security_policy: &'static str,
    /// The format of `/api`.
    pub api: ApiFormat,
}

/// The style sheet; only the background differs. White has a low contrast on these backgrounds, so the letters are
/// heavy and have a soft dark edge.
macro_rules! style {
    ($background:literal) => {
        concat!(
            "html{height:100%;background:",
            $background,
            "}",
            "body{margin:0;min-height:100%;display:grid;place-items:center}",
            "h1{box-sizing:border-box;max-width:100%;margin:0;padding:1.5rem;color:#fff;",
            "font:700 clamp(2.5rem,11vmin,7.5rem)/1.15 system-ui,-apple-system,\"Segoe UI\",Roboto,",
            "\"Helvetica Neue\",Arial,sans-serif;",
            "text-align:center;text-wrap:balance;overflow-wrap:anywhere;",
            "text-shadow:0 0 .04em rgb(0 40 50/.45),0 .03em .2em rgb(0 40 50/.35)}"
        )
    };
}

/// The policy that allows a style sheet by its hash.
macro_rules! policy {
    ($style_sha256:literal) => {
        concat!(
            "default-src 'none'; style-src 'sha256-",
            $style_sha256,
            "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    };
}

/// "Hello": green, `/api` in plain text.
pub static V1: Version = Version {
    number: "1",
    salutation: "Hello",
    language: "en",
    background: "#14DB95",
    style: style!("#14DB95"),
    content_security_policy: policy!("cJdP57EaXumdOpbo6Pss0Rv8TnXs4rmtO3hgMbY+hHw="),
    api: ApiFormat::Text,
};

/// "Bonjour": blue, `/api` in JSON.
pub static V2: Version = Version {
    number: "2",
    salutation: "Bonjour",
    language: "fr",
    background: "#09BBE8",
    style: style!("#09BBE8"),
    content_security_policy: policy!("8xkwepuWhddgdDZGKkHPrF6S1jBF6JZyBHfz0T8KjYg="),
    api: ApiFormat::Json,
};

impl Version {
    /// The greeting for a name, not escaped for any format.
    pub fn greeting(&self, name: &crate::Name) -> String {
        [self.salutation, " ", name.as_str(), "!"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_policy_allows_exactly_the_style_that_the_page_has() {
        for version in [&V1, &V2] {
            let hash = BASE64_STANDARD.encode(Sha256::digest(version.style));
            let allowed = version.content_security_policy.split("style-src 'sha256-").nth(1).unwrap();
            assert_eq!(allowed.split_once("';").unwrap().0, hash, "version {}", version.number);
        }
    }
}
