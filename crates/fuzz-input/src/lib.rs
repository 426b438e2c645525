//! Inputs of the fuzz targets: valid examples with random changes, because random bytes alone are refused at once. Must not
//! know what reads them.
//!
//! Each target is a test, which runs for a second. Without an end, and guided by coverage, it runs with `cargo bolero test`
//! (<https://camshaft.github.io/bolero/>).

use bolero::TypeGenerator;

/// A change of an example. Positions are taken modulo the length.
#[derive(Clone, Debug, TypeGenerator)]
pub enum Change {
    /// Sets a byte.
    Set(u16, u8),
    /// Inserts bytes.
    Insert(u16, Vec<u8>),
    /// Removes bytes from a position on.
    Remove(u16, u8),
    /// Repeats bytes from a position on.
    Repeat(u16, u8, u8),
    /// Cuts off the rest.
    Cut(u16),
}

/// One of the examples, with some changes.
#[derive(Clone, Debug, TypeGenerator)]
pub struct Input {
    example: u8,
    changes: Vec<Change>,
}

impl Input {
    /// The bytes, made of one of these examples; none if there are no examples.
    pub fn of(&self, examples: &[&[u8]]) -> Vec<u8> {
        let example = examples.get(usize::from(self.example) % examples.len().max(1));
        let mut bytes = example.map(|example| example.to_vec()).unwrap_or_default();
        for change in &self.changes {
            change.apply(&mut bytes);
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u16| usize::from(at) % (bytes.len() + 1);
        match self {
            Self::Set(at, value) => {
                let at = place(*at);
                bytes.get_mut(at..).and_then(<[u8]>::first_mut).into_iter().for_each(|byte| *byte = *value);
            }
            Self::Insert(at, new) => drop(bytes.splice(place(*at)..place(*at), new.iter().copied())),
            Self::Remove(at, count) => {
                let (from, count) = (place(*at), usize::from(*count));
                bytes.drain(from..(from + count).min(bytes.len()));
            }
            Self::Repeat(at, count, times) => {
                let (from, count) = (place(*at), usize::from(*count));
                let part = bytes[from..(from + count).min(bytes.len())].repeat(usize::from(*times));
                bytes.splice(from..from, part);
            }
            Self::Cut(at) => bytes.truncate(place(*at)),
        }
    }
}

/// The HTTP request in these bytes: a line with method and target, headers, an empty line, and the body. `None` if a server
/// would refuse it at once.
pub fn request(bytes: &[u8]) -> Option<http::Request<Vec<u8>>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let mut first = lines.next()?.split(|byte| *byte == b' ');
    let mut request = http::Request::builder().method(first.next()?).uri(first.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(bytes.get(end + 2..).unwrap_or_default().to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_its_bytes() {
        let read = request(b"POST /a?b HTTP/1.1\nhost: x\na: 1\n\nbody").unwrap();
        assert_eq!((read.method().as_str(), read.uri().path()), ("POST", "/a"));
        assert_eq!(
            (read.headers().len(), &read.headers()["host"], read.body().as_slice()),
            (2, &"x".parse().unwrap(), &b"body"[..])
        );
        for refused in [&b""[..], b"GET", b"GET /\nno colon", b"G T /\n", b"GET /\nb\x00d: 1"] {
            assert!(request(refused).is_none(), "{refused:?}");
        }
    }

    #[test]
    fn every_change_is_possible_everywhere() {
        let changes = [
            Change::Set(3, b'x'),
            Change::Insert(9, vec![b'y']),
            Change::Remove(1, 200),
            Change::Repeat(0, 200, 2),
            Change::Cut(2),
        ];
        for change in &changes {
            for example in [&b""[..], b"ab", b"abcd"] {
                Input { example: 0, changes: vec![change.clone()] }.of(&[example]);
            }
        }
        let input = Input { example: 5, changes: changes[..2].to_vec() };
        assert_eq!(input.of(&[b"", b"abcd"]), b"abcxy");
        assert_eq!(Input { example: 5, changes: Vec::new() }.of(&[]), b"");
    }
}
