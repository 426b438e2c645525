//! Percent-encoding of paths, queries and forms.

use percent_encoding::percent_decode_str;

/// Decodes the path of a URL (`%41`).
pub(crate) fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The pairs of a query or a form, in order.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_queries_are_decoded() {
        assert_eq!(decode_path("host/repo%40sha256:ab+c"), "host/repo@sha256:ab+c");
        assert_eq!(decode_path("100%"), "100%");
        let pairs: Vec<_> = pairs("fromImage=a%2Fb&tag=sha256%3A12&x&y=a+b").collect();
        let expected = [("fromImage", "a/b"), ("tag", "sha256:12"), ("x", ""), ("y", "a b")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
