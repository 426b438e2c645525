//! Percent-encoding of paths, queries and forms.

/// Decodes `%41` and, in queries, `+`.
pub(crate) fn decode(text: &str, query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (byte, after) = match (first, hex) {
            (b'%', Some(byte)) => (byte, &tail[2..]),
            (b'+', _) if query => (b' ', tail),
            (byte, _) => (*byte, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The pairs of a query or a form, in order.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name, true), decode(value, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_queries_are_decoded() {
        assert_eq!(decode("host/repo%40sha256:ab", false), "host/repo@sha256:ab");
        assert_eq!(decode("100%", false), "100%");
        let pairs: Vec<_> = pairs("fromImage=a%2Fb&tag=sha256%3A12&x&y=a+b").collect();
        let expected = [("fromImage", "a/b"), ("tag", "sha256:12"), ("x", ""), ("y", "a b")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
